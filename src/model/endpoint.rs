//! Endpoints of distributors: this home, another home of this host, or a home over SSH.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a distributor is reached. Written `local`, `/path/of/a/home`, `ssh:HOST` or `ssh:HOST:/path/of/a/home`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// In this home.
    Local,
    /// Another home on this host, by its absolute path.
    Path(PathBuf),
    /// A home on another host; None: the default one of the account there.
    Ssh { host: String, home: Option<String> },
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    #[error("endpoint {0:?}: write a path of a home on this host, or ssh:HOST or ssh:HOST:/PATH")]
    Form(String),
    #[error("endpoint {0:?}: the path must be absolute and hold no control characters")]
    Path(String),
    #[error("endpoint {0:?}: a host as ssh knows it: it can't begin with '-' nor hold blanks or quotes")]
    Host(String),
}

impl Endpoint {
    /// True if it is another home, which needs a link.
    pub const fn is_elsewhere(&self) -> bool {
        !matches!(self, Self::Local)
    }
}

/// The error for a path without a home, for a caller from elsewhere.
pub fn no_home(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "{dir}: there is no home (no grid.db): was it moved? The first `grid` command that is typed there makes a new one"
    )
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let path_is_good =
            |path: &str| path.starts_with('/') && path.len() <= 4096 && !path.chars().any(char::is_control);
        let Some(rest) = text.strip_prefix("ssh:") else {
            if text.starts_with('/') && path_is_good(text) {
                return Ok(Self::Path(PathBuf::from(text)));
            }
            let error = if text.contains('/') { BadEndpoint::Path } else { BadEndpoint::Form };
            return Err(error(text.to_owned()));
        };
        // The host may be an IPv6 address in brackets, as everywhere where a path follows.
        let (host, home) = match rest.split_once(":/") {
            Some((host, path)) => (host, Some(format!("/{path}"))),
            None => (rest, None),
        };
        // Characters that a shell interprets, or that would begin an option, are refused.
        let odd = |c: char| c.is_whitespace() || c.is_control() || "'\"\\$`;|&<>(){}*?!#/".contains(c);
        if host.is_empty() || host.len() > 253 || host.starts_with('-') || host.chars().any(odd) {
            return Err(BadEndpoint::Host(text.to_owned()));
        }
        match &home {
            Some(path) if !path_is_good(path) => Err(BadEndpoint::Path(text.to_owned())),
            _ => Ok(Self::Ssh { host: host.to_owned(), home }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.pad("local"),
            Self::Path(path) => f.pad(&path.to_string_lossy()),
            Self::Ssh { host, home: None } => write!(f, "ssh:{host}"),
            Self::Ssh { host, home: Some(home) } => write!(f, "ssh:{host}:{home}"),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = BadEndpoint;

    fn try_from(text: String) -> Result<Self, BadEndpoint> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_parse_as_people_write_them() {
        let ssh = |host: &str, home: Option<&str>| Endpoint::Ssh { host: host.into(), home: home.map(Into::into) };
        for (text, expected) in [
            ("local", Endpoint::Local),
            ("/home/me/g", Endpoint::Path("/home/me/g".into())),
            ("ssh:front-a", ssh("front-a", None)),
            ("ssh:me@front-a", ssh("me@front-a", None)),
            ("ssh:front-a:/srv/grid", ssh("front-a", Some("/srv/grid"))),
            ("ssh:[::1]:/srv/grid", ssh("[::1]", Some("/srv/grid"))),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        for bad in ["", "front-a", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a;b", "ssh:$(x)", "../x", "ssh:a/b"]
        {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn endpoint_that_parses_is_no_option_and_is_shown_as_written(text in "(ssh:)?\\PC{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string(), text);
                if let Endpoint::Ssh { host, .. } = endpoint {
                    prop_assert!(!host.starts_with('-') && !host.contains([' ', '\n', '\'', '"', '$', '`']));
                }
            }
        }
    }
}
