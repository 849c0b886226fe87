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
    /// register, change, event, period or push.
    pub why: String,
}
