//! Members of the two tiers.

pub use super::endpoint::Endpoint;
use super::id::{DistributorId, HomeId};
use super::name::Name;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The tier of a distributor: the first only redirects, the second has servers and places tasks.
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

/// The order in which the members of a set are searched, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The declared order.
    #[default]
    InOrder,
    /// The search starts one member further for each task, and wraps.
    RoundRobin,
    /// By the records: most idle cpus for each running or waiting task first.
    LeastLoaded,
}

impl Policy {
    /// All policies, with their words.
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

/// The record of a member: the redirect is a function of the records, the policy and the cursor alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: DistributorId,
    pub name: Name,
    pub tier: Tier,
    pub endpoint: Endpoint,
    /// The home that it is in; None: this one, or it never answered.
    pub home: Option<HomeId>,
    /// Its name in that home; None: the first one of its tier there.
    pub there: Option<Name>,
    /// Its name at a caller from another home, during that caller's request.
    pub called: Option<Name>,
    /// False: it registered itself, and the owner has not allowed it yet.
    pub allowed: bool,
    /// Drained, with the reason (may be empty).
    pub drained: Option<String>,
    /// None: it answers; else since when it does not.
    pub silent_since: Option<Timestamp>,
    /// True if it is silent, but due to be tried again.
    pub due: bool,
    /// When it unregistered. It gets no tasks until it registers again, or its owner here allows it.
    pub left_at: Option<Timestamp>,
    /// Its load, if its tier is searched by load.
    pub load: Option<Load>,
}

/// A report may come this much later than it was announced.
const GRACE: Duration = Duration::from_secs(60);
/// The age limit of a report whose sender did not say how often it reports.
const UNANNOUNCED: Duration = Duration::from_secs(24 * 3600);

/// The age at which a report does not count any more. `period`: how often its sender reports, as it says itself.
pub fn stale_after(period: Option<Duration>) -> Duration {
    period.unwrap_or(UNANNOUNCED).saturating_add(GRACE)
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
