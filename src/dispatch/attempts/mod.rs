//! What became of attempts: starts, events, ends, recovery.

pub(in crate::dispatch) mod cancels;
pub(in crate::dispatch) mod ends;
pub(in crate::dispatch) mod events;
pub(in crate::dispatch) mod lanes;
pub(in crate::dispatch) mod lost_after;
pub(in crate::dispatch) mod machines;
pub(in crate::dispatch) mod recover;
pub(in crate::dispatch) mod refusals;
pub(in crate::dispatch) mod restored;
pub(in crate::dispatch) mod starts;
pub(in crate::dispatch) mod unsent;

use super::settings::Settings;
use crate::model::id::{AttemptId, ServerId, TaskId};
use lanes::Lanes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

/// What lies with servers, and what is remembered of it.
#[derive(Debug)]
pub(in crate::dispatch) struct Attempts {
    pub(in crate::dispatch) lanes: Lanes,
    pub(in crate::dispatch) settings: Settings,
    /// Numbers of lanes that are reserved and not given out yet.
    pub(in crate::dispatch) lane_numbers: Range<i64>,
    /// Servers that a task can't start on: no working directory there, an output that can't be opened.
    pub(in crate::dispatch) barred: BTreeMap<TaskId, Vec<(ServerId, String)>>,
    /// Servers that failed a task last: its next attempt goes elsewhere if it can.
    pub(in crate::dispatch) avoided: BTreeMap<TaskId, ServerId>,
    /// Cancels that were passed on in this epoch.
    pub(in crate::dispatch) cancelling: BTreeSet<AttemptId>,
    /// When the next attempt is out of reach for as long as its `--lost-after` says.
    pub(in crate::dispatch) lose_at: Option<Instant>,
}

impl Attempts {
    /// Nothing lies with a server. What is out of reach is looked at once, at `now`.
    pub(in crate::dispatch) fn new(now: Instant) -> Self {
        Self {
            lanes: Lanes::default(),
            settings: Settings::default(),
            lane_numbers: 0..0,
            barred: BTreeMap::new(),
            avoided: BTreeMap::new(),
            cancelling: BTreeSet::new(),
            lose_at: Some(now),
        }
    }
}
