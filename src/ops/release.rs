//! `grid release`: held tasks may start.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError};

/// Releases what is held; what is not held is noted.
pub fn release(_grid: &mut Grid, _what: &[Chosen]) -> Result<Vec<Change>, OpsError> {
    Err(OpsError::Grid("release is not built yet".to_owned()))
}
