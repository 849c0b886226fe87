//! Whether there is something to do, and for how long there was nothing.

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
    /// It was told to leave.
    pub leave: bool,
}
