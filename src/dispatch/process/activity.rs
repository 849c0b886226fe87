//! Whether there is something to do, and for how long there was nothing.

use crate::model::clock::Moment;
use std::time::{Duration, Instant};

/// What keeps a dispatcher awake.
#[derive(Debug)]
pub struct Activity {
    /// The database is to be looked at.
    pub dirty: bool,
    /// The store's `data_version` at the last look.
    pub data_version: i64,
    pub idle_since: Instant,
    /// It leaves after so long without anything to do.
    pub idle_exit: Duration,
    /// Both clocks at the last look whether the wall clock was set.
    pub clock: Moment,
    /// It was told to leave.
    pub leave: bool,
}
