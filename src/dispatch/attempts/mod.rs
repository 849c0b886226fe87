//! Attempts: starts, events, ends, cancels, recovery.

pub(in crate::dispatch) mod absent;
pub(in crate::dispatch) mod cancels;
pub(in crate::dispatch) mod ends;
pub(in crate::dispatch) mod events;
pub(in crate::dispatch) mod lanes;
pub(in crate::dispatch) mod lost_after;
pub(in crate::dispatch) mod machines;
pub(in crate::dispatch) mod outcomes;
pub(in crate::dispatch) mod recover;
pub(in crate::dispatch) mod refusals;
pub(in crate::dispatch) mod restored;
pub(in crate::dispatch) mod retries;
pub(in crate::dispatch) mod starts;
pub(in crate::dispatch) mod suspects;
#[cfg(test)]
mod suspects_test;
pub(in crate::dispatch) mod unsent;

use super::settings::Settings;
use crate::model::id::{AttemptId, ServerId, TaskId};
use lanes::Lanes;
use retries::Retries;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;
use suspects::Suspects;

/// Attempts on servers, and what is remembered of them.
#[derive(Debug)]
pub(in crate::dispatch) struct Attempts {
    pub(in crate::dispatch) lanes: Lanes,
    pub(in crate::dispatch) settings: Settings,
    /// Reserved lane numbers that are not used yet.
    pub(in crate::dispatch) lane_numbers: Range<i64>,
    /// Servers that refused to start a task, as the database has them.
    pub(in crate::dispatch) barred: BTreeMap<TaskId, BTreeSet<ServerId>>,
    /// Failed members that wait for another server.
    pub(in crate::dispatch) retries: Retries,
    /// Servers on which attempts fail that live elsewhere.
    pub(in crate::dispatch) suspects: Suspects,
    /// Attempts whose cancel was sent in this epoch.
    pub(in crate::dispatch) cancelling: BTreeSet<AttemptId>,
    /// When the next attempt has been out of reach for its `--lost-after`.
    pub(in crate::dispatch) lose_at: Option<Instant>,
}

impl Attempts {
    /// No attempts. Attempts out of reach are checked at `now`.
    pub(in crate::dispatch) fn new(now: Instant) -> Self {
        Self {
            lanes: Lanes::default(),
            settings: Settings::default(),
            lane_numbers: 0..0,
            barred: BTreeMap::new(),
            retries: Retries::default(),
            suspects: Suspects::default(),
            cancelling: BTreeSet::new(),
            lose_at: Some(now),
        }
    }

    /// When something is due by its time alone.
    pub(in crate::dispatch) fn due_at(&self) -> Option<Instant> {
        [self.lose_at, self.retries.due_at(), self.suspects.due_at()].into_iter().flatten().min()
    }
}
