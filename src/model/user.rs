//! The user who submits.

use super::attribute::Attributes;
use super::id::UserId;
use super::name::Name;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

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

/// The rights of a user in a home, from another home. Each role includes those before it. They are a security boundary only if tasks run under
/// separate accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Submit, and see and change one's own tasks.
    #[default]
    Submit,
    /// See all tasks.
    SeeAll,
    /// Change all tasks.
    Operate,
    /// Drain and resume servers; no user's bounds.
    Administer,
}

impl Role {
    /// All roles, with their words.
    pub const ALL: [(&'static str, Self); 4] = [
        ("submit", Self::Submit),
        ("see-all", Self::SeeAll),
        ("operate", Self::Operate),
        ("administer", Self::Administer),
    ];

    /// The word that the command line and the database use.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, role)| *role == self).map_or("submit", |(word, _)| word)
    }
}

/// A word that is no role.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no role: submit, see-all, operate or administer")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|(word, _)| *word == text)
            .map(|(_, role)| role)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
