//! `grid cancel`: recorded at once, carried out by the dispatcher.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError};
use std::time::Duration;

/// Records the cancels; `grace` lies between TERM and KILL. One change for each that was chosen.
pub fn cancel(_grid: &mut Grid, _what: &[Chosen], _grace: Duration) -> Result<Vec<Change>, OpsError> {
    Err(OpsError::Grid("cancel is not built yet".to_owned()))
}
