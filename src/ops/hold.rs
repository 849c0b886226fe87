//! `grid hold`: what waits does not start until it is released.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError};

/// Holds what waits; what runs or has ended is noted.
pub fn hold(_grid: &mut Grid, _what: &[Chosen]) -> Result<Vec<Change>, OpsError> {
    Err(OpsError::Grid("hold is not built yet".to_owned()))
}
