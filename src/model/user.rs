//! Who submits.

use super::attribute::Attributes;
use super::id::UserId;
use super::name::Name;

/// A user row with what matching needs.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub id: UserId,
    pub name: Name,
    pub groups: Vec<Name>,
    /// Stored and shown; not used yet.
    pub share: i64,
    /// CEL: breaks ties of the task's own preference.
    pub prefer: Option<String>,
    /// CEL: must be true for every task of the user.
    pub constraint: Option<String>,
    /// Declared open attributes.
    pub attributes: Attributes,
}
