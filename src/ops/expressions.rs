//! Checks expressions when they are typed, not when they first match.

use super::OpsError;
pub use crate::matching::ExpressionRole;

/// Refuses an expression that could never be evaluated, with a caret under the place.
pub fn check(text: &str, role: ExpressionRole) -> Result<(), OpsError> {
    crate::matching::check(text, role).map_err(|error| OpsError::Usage(error.to_string()))
}

/// A line for each requirement of these expressions that orders versions as texts.
pub fn remarks(typed: &[(&Option<String>, ExpressionRole)]) -> Vec<String> {
    let texts = typed.iter().filter_map(|(text, role)| Some((text.as_deref()?, *role)));
    texts.flat_map(|(text, role)| crate::matching::remarks(text, role)).collect()
}

/// [`check`] if there is an expression.
pub fn check_some(text: Option<&str>, role: ExpressionRole) -> Result<(), OpsError> {
    text.map_or(Ok(()), |text| check(text, role))
}
