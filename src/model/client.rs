//! The host that submits.

use super::attribute::Attributes;
use super::id::ClientId;

/// A client row with what matching needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    pub id: ClientId,
    pub host: String,
    pub user: String,
    pub os: String,
    pub arch: String,
    /// Declared open attributes.
    pub attributes: Attributes,
}
