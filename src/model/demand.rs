//! The part of a task that the matcher sees. Tasks with the same demand, user and client form a class.

use super::attribute::Value;
use super::name::{BadName, Name};
use super::resources::Needs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The parts of a task that decide where it may run, in a canonical order: their JSON names the class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Demand {
    #[serde(flatten)]
    pub needs: Needs,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppNeed>,
    /// CEL over `server`, `task`, `user`, `client`; must be true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Box<str>>,
    /// CEL; the higher the better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Box<str>>,
    /// The only server that may run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Target>,
    /// Servers that must not run it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Target>,
    /// `task.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// `task.profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// `task.priority`.
    pub priority: i32,
    /// For a user who is not the owner: only servers where the owner allows others' tasks to run under the home's own account.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared_account: bool,
    /// `client.NAME`, as the client's home declares them, of a task of another home. Its own expressions see them; what this home
    /// requires sees those of a client that is trusted like its owner. What this home declares of the client itself goes first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub client: BTreeMap<Box<str>, Value>,
    /// `task.labels` and, under their own names, attributes of the profile.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Box<str>, Value>,
}

impl Demand {
    /// True if one of its own expressions may look at an attribute that its client's home declares.
    pub fn looks_at_client(&self) -> bool {
        let mut expressions = [&self.constraint, &self.prefer].into_iter().flatten();
        !self.client.is_empty() && expressions.any(|text| text.contains("client"))
    }
}

/// A server by name, or by distributor and name: `fast`, `lab-b/n1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    pub distributor: Option<Name>,
    pub server: Name,
    /// True if the distributor is in another home, whatever its name: no server of this home is meant.
    pub elsewhere: bool,
}

/// Prefix of a stored target of another home; it can't be typed.
const ELSEWHERE: char = '/';

impl FromStr for Target {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (distributor, server) = match text.split_once('/') {
            Some((distributor, server)) => (Some(distributor.parse()?), server),
            None => (None, text),
        };
        Ok(Self { distributor, server: server.parse()?, elsewhere: false })
    }
}

impl TryFrom<String> for Target {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        match text.strip_prefix(ELSEWHERE) {
            Some(text) => Ok(Self { elsewhere: true, ..text.parse()? }),
            None => text.parse(),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        if target.elsewhere { format!("{ELSEWHERE}{target}") } else { target.to_string() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.distributor {
            Some(distributor) => write!(f, "{distributor}/{}", self.server),
            None => self.server.fmt(f),
        }
    }
}

/// An application that the server must have: `blender`, `blender>=4.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppNeed {
    pub name: Name,
    pub version: Option<(Compare, Version)>,
}

/// How a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compare {
    Less,
    LessOrEqual,
    Equal,
    AtLeast,
    More,
}

impl Compare {
    const ALL: [(&'static str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::LessOrEqual),
        ("==", Self::Equal),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    /// True if `found` has this relation to `wanted`.
    pub fn holds(self, found: &Version, wanted: &Version) -> bool {
        let order = found.cmp_parts(wanted);
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::AtLeast => order.is_ge(),
            Self::More => order.is_gt(),
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }
}

/// A version such as `4.1` or `2024a`; numbers compare as numbers, `4.1` equals `4.1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub Box<str>);

impl Version {
    /// A version as it is kept: without the `v` of `v4.1`.
    pub fn new(text: &str) -> Self {
        Self(numbered(text).into())
    }

    /// Runs of digits and runs of letters, in order.
    fn parts(&self) -> Vec<VersionPart<'_>> {
        let text = numbered(&self.0);
        let bytes = text.as_bytes();
        let mut parts = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let kind = |b: u8| (b.is_ascii_digit(), b.is_ascii_alphabetic());
            let mut to = from + 1;
            while to < bytes.len() && kind(bytes[to]) == kind(bytes[from]) {
                to += 1;
            }
            let run = &text[from..to];
            match kind(bytes[from]) {
                (true, _) => parts.push(VersionPart::Number(run.parse().unwrap_or(u64::MAX))),
                (_, true) if PRE_RELEASES.iter().any(|word| run.eq_ignore_ascii_case(word)) => {
                    parts.push(VersionPart::PreRelease(run));
                }
                (_, true) => parts.push(VersionPart::Word(run)),
                _ => {}
            }
            from = to;
        }
        parts
    }

    /// The order of two versions: `4.1rc1` comes before `4.1`, which is `4.1.0`; `4.1a` comes after it.
    pub fn cmp_parts(&self, other: &Self) -> std::cmp::Ordering {
        let (ours, theirs) = (self.parts(), other.parts());
        let at = |parts: &[_], at: usize| parts.get(at).copied().unwrap_or(VersionPart::Number(0)).rank();
        let differs = (0..ours.len().max(theirs.len())).map(|i| at(&ours, i).cmp(&at(&theirs, i)));
        differs.into_iter().find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    }
}

/// The text without a `v` before its first digit.
fn numbered(text: &str) -> &str {
    text.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text)
}

/// Words that make a version one before the release.
const PRE_RELEASES: [&str; 7] = ["alpha", "beta", "rc", "pre", "preview", "dev", "snapshot"];

#[derive(Debug, Clone, Copy)]
enum VersionPart<'a> {
    PreRelease(&'a str),
    Word(&'a str),
    Number(u64),
}

impl<'a> VersionPart<'a> {
    /// The order of parts in one place. What is not there counts as 0.
    const fn rank(self) -> (u8, u64, &'a str) {
        match self {
            Self::PreRelease(word) => (0, 0, word),
            Self::Number(0) => (1, 0, ""),
            Self::Word(word) => (2, 0, word),
            Self::Number(number) => (3, number, ""),
        }
    }
}

/// A text that names no application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadApp {
    #[error("application: {0}")]
    Name(#[from] BadName),
    #[error("{0:?} has no version after the sign: write 'blender>=4.1'")]
    NoVersion(String),
    #[error("version {0:?} may hold letters, digits, '.', '-', '_' and '+' only")]
    Version(String),
}

impl FromStr for AppNeed {
    type Err = BadApp;

    fn from_str(text: &str) -> Result<Self, BadApp> {
        let Some(at) = text.find(['<', '>', '=']) else {
            return Ok(Self { name: text.parse()?, version: None });
        };
        let (name, rest) = text.split_at(at);
        let (sign, compare) =
            Compare::ALL.into_iter().find(|(sign, _)| rest.starts_with(sign)).unwrap_or(("=", Compare::Equal));
        let version = rest[sign.len()..].trim();
        if version.is_empty() {
            return Err(BadApp::NoVersion(text.to_owned()));
        }
        if !version.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+".contains(c)) {
            return Err(BadApp::Version(version.to_owned()));
        }
        Ok(Self { name: name.trim().parse()?, version: Some((compare, Version(version.into()))) })
    }
}

impl TryFrom<String> for AppNeed {
    type Error = BadApp;

    fn try_from(text: String) -> Result<Self, BadApp> {
        text.parse()
    }
}

impl From<AppNeed> for String {
    fn from(app: AppNeed) -> Self {
        app.to_string()
    }
}

impl fmt::Display for AppNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some((compare, version)) => write!(f, "{}{}{}", self.name, compare.sign(), version.0),
            None => self.name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_people_mean_them() {
        let at_least = |found: &str, wanted: &str| {
            let need: AppNeed = format!("a>={wanted}").parse().unwrap();
            let (compare, version) = need.version.unwrap();
            compare.holds(&Version(found.into()), &version)
        };
        assert!(at_least("4.10", "4.9"));
        assert!(at_least("4.1.0", "4.1"));
        assert!(at_least("4.1", "4.1.0"));
        assert!(at_least("2024b", "2024a"));
        assert!(!at_least("3.9", "4"));
        assert!(!at_least("1.7.0-rc1", "1.7") && !at_least("1.7RC1", "1.7.0") && at_least("1.7.0-rc1", "1.6.9"));
        assert!(at_least("1.7-rc2", "1.7-rc1") && at_least("1.7rc1", "1.7-beta2") && at_least("1.1.1k", "1.1.1"));
        assert!(at_least("6.1.0-13-amd64", "6.1") && !at_least("6.1", "6.1.0-13-amd64") && at_least("0", "0.0.0"));
        assert!(at_least("v0.10.2", "0.9") && at_least("0.10.2", "v0.9") && !at_least("v0.9", "0.10.2"));
    }

    #[test]
    fn a_server_of_another_home_is_kept_as_one_and_can_not_be_typed() {
        let typed: Target = "lab-q/n1".parse().unwrap();
        let other = Target { elsewhere: true, ..typed.clone() };
        let json = serde_json::to_string(&other).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), other);
        assert_eq!((other.to_string(), typed.to_string()), ("lab-q/n1".to_owned(), "lab-q/n1".to_owned()));
        assert!("/lab-q/n1".parse::<Target>().is_err());
    }

    #[test]
    fn equal_demands_have_one_text() {
        let demand = Demand { apps: vec!["blender>=4.1".parse().unwrap()], ..Demand::default() };
        let json = serde_json::to_string(&demand).unwrap();
        assert_eq!(json, r#"{"cpus":1,"mem":null,"apps":["blender>=4.1"],"priority":0}"#);
        assert_eq!(serde_json::from_str::<Demand>(&json).unwrap(), demand);
    }
}
