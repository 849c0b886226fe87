//! `explain`, as a report.

use super::{Remote, ServerVerdict, TierSearch, in_words};
use crate::model::task::State;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// `explain`, and `submit --dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// None in a dry run.
    pub task: Option<String>,
    pub state: Option<State>,
    /// The distributor that has it, where that is another home's, or one of several of this home, and no server is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<String>,
    /// Why it waits or is held.
    pub reason: Option<String>,
    /// When the members of both tiers gave these answers. None: just now, or the search has not ended.
    #[serde(default)]
    pub searched_at: Option<Timestamp>,
    /// The answers of the members of both tiers at the last search.
    pub tiers: Vec<TierSearch>,
    /// Every server of the members that were asked.
    pub servers: Vec<ServerVerdict>,
    /// Servers of another home that are left out: too many for one answer to a dry run.
    #[serde(default)]
    pub left_out: usize,
    pub chosen: Option<String>,
    /// When the servers were judged.
    pub judged_at: Option<Timestamp>,
    /// Each single requirement of a waiting task that would give a match if it were relaxed.
    pub relaxed: Vec<String>,
    /// Single steps: held, released, refused by a server.
    pub steps: Vec<(Timestamp, String)>,
    /// The task in the home that holds it, if that is another home.
    #[serde(default)]
    pub remote: Option<Remote>,
    /// Another distributor, which could start the waiting task now.
    #[serde(default)]
    pub elsewhere: Option<String>,
}

impl Explained {
    /// ` in lab-x`.
    pub fn in_words(&self) -> String {
        in_words(self.waits_in.as_ref())
    }
}
