//! Names of servers, users, profiles, clients and distributors.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}` and no `..`: safe on a command line, in a path and on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a name can't be empty")]
    Empty,
    #[error("name {0:?}… is too long: 63 characters at most")]
    TooLong(String),
    #[error("name {0:?} must begin with a letter or a digit")]
    Start(String),
    #[error("name {name:?} holds {found:?}: letters, digits, '.', '_' and '-' only")]
    Character { name: String, found: char },
    #[error("name {0:?} holds '..'")]
    Dots(String),
}

impl Name {
    /// A placeholder for a name that can't be read.
    pub fn unreadable() -> Self {
        Self("unreadable".into())
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first = text.chars().next().ok_or(BadName::Empty)?;
        if text.len() > 63 {
            return Err(BadName::TooLong(text.chars().take(20).collect()));
        }
        if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
            return Err(BadName::Character { name: text.to_owned(), found });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(BadName::Start(text.to_owned()));
        }
        if text.contains("..") {
            return Err(BadName::Dots(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn name_that_parses_is_safe_in_a_path_and_on_a_command_line(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert!(!name.as_str().starts_with(['-', '.']));
                prop_assert!(!name.as_str().contains(['/', '\0', '\n', ' ']));
                prop_assert!(!name.as_str().contains(".."));
                prop_assert!((1..=63).contains(&name.as_str().len()));
            }
        }
    }

    #[test]
    fn hostile_name_error_says_what_is_wrong() {
        for bad in ["", "-oProxyCommand=x", "a/b", "..", "a..b", "a\nb", "a\u{202e}b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("gpu-1.lab_x".parse::<Name>().is_ok());
    }
}
