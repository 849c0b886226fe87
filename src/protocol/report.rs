//! What a second-tier distributor tells first tiers of itself.

use crate::model::distributor::Load;
use crate::model::id::HomeId;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};

/// What a second-tier distributor reports of itself. Ordered by (home, incarnation, sequence), never by a clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// As the first tier is to call it.
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
