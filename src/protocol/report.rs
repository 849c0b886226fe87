//! The report of a second-tier distributor to first tiers.

use crate::model::distributor::Load;
use crate::model::id::HomeId;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};

/// The report of a second-tier distributor. Reports are ordered by (home, incarnation, sequence), never by a clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its name at the first tier.
    pub name: Name,
    /// Its name at home.
    pub there: Name,
    pub home: HomeId,
    pub incarnation: u64,
    pub sequence: u64,
    pub load: Load,
    pub apps: Vec<String>,
    pub health: String,
    pub release: String,
    /// register, change, event, period, push or unregister.
    pub why: String,
    /// It reports at least this often. None: it does not say, or only when something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
}

/// The health in the last report of a distributor that unregisters: a farewell. Older first tiers show the word.
pub const LEFT: &str = "LEFT";

impl Report {
    /// True if its sender unregisters.
    pub fn is_farewell(&self) -> bool {
        self.health == LEFT
    }
}
