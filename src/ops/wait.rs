//! `grid wait`: until tasks have ended.

use super::report::Waited;
use super::selecting::Chosen;
use super::{Grid, OpsError};

/// How far the waiting is, in members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub ended: u64,
    pub running: u64,
    pub size: u64,
}

/// Returns when all have ended, durably. Starts the dispatcher if needed.
pub fn wait(_grid: &mut Grid, _what: &[Chosen], _told: &mut dyn FnMut(Progress)) -> Result<Waited, OpsError> {
    Err(OpsError::Grid("wait is not built yet".to_owned()))
}
