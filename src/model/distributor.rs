//! Members of the two tiers.

pub use super::endpoint::Endpoint;
use super::id::{DistributorId, HomeId};
use super::name::Name;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A first-tier distributor only redirects; a second-tier one has servers and allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Tier {
    First,
    Second,
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::First => 1,
            Tier::Second => 2,
        }
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: Option<u8> = text.parse().ok();
        number.and_then(|n| Self::try_from(n).ok()).ok_or_else(|| format!("there is no tier {text:?}: 1 or 2"))
    }
}

impl TryFrom<u8> for Tier {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::First),
            2 => Ok(Self::Second),
            other => Err(format!("there is no tier {other}: 1 or 2")),
        }
    }
}

/// How the members of a set are searched. Sequentially in every case: the policy sets the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The order in which they stand.
    #[default]
    InOrder,
    /// The search starts one member further for each task, and wraps.
    RoundRobin,
    /// By the records: most idle cpus for each running or waiting task first.
    LeastLoaded,
}

impl Policy {
    /// All, with their words.
    pub const ALL: [(&'static str, Self); 3] =
        [("in-order", Self::InOrder), ("round-robin", Self::RoundRobin), ("least-loaded", Self::LeastLoaded)];

    /// The word that the command line and the database use.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, p)| *p == self).map_or("in-order", |(word, _)| word)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that is no policy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no way to search: in-order, round-robin or least-loaded")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|(word, _)| *word == text)
            .map(|(_, p)| p)
            .ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

/// What is known of a member: the redirect is a function of this, the policy and the cursor alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: DistributorId,
    pub name: Name,
    pub tier: Tier,
    pub endpoint: Endpoint,
    /// The home that it lives in; None: this one, or it never said hello.
    pub home: Option<HomeId>,
    /// Its name over there; None: the first one of its tier.
    pub there: Option<Name>,
    /// As a caller from another home calls it, while that asks.
    pub called: Option<Name>,
    /// False: it registered itself, and the owner has not allowed it yet.
    pub allowed: bool,
    /// Drained, with the reason (may be empty).
    pub drained: Option<String>,
    /// None: it answers; else since when it does not.
    pub silent_since: Option<Timestamp>,
    /// Silent, but so long not tried that it is to be asked again.
    pub due: bool,
    /// Read where its tier is searched by it.
    pub load: Option<Load>,
}

/// What a second-tier distributor reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Load {
    pub servers: u32,
    pub slots: u32,
    pub running: u32,
    pub waiting: u32,
    pub idle_cpus: f64,
    pub power: f64,
}
