//! Whether the dispatcher has work, and since when it has had none.

use crate::model::clock::Moment;
use std::time::{Duration, Instant};

/// The activity of a dispatcher.
#[derive(Debug)]
pub struct Activity {
    /// The database has changed, or may have: the next turn reads it.
    pub dirty: bool,
    /// The store's `data_version` when it was last checked.
    pub data_version: i64,
    pub idle_since: Instant,
    /// The dispatcher exits after this long without work.
    pub idle_exit: Duration,
    /// Both clocks when they were last compared.
    pub clock: Moment,
    /// The dispatcher was asked to exit.
    pub leave: bool,
}
