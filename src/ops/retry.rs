//! `grid retry`: ended members wait again.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError};

/// Starts again what did not complete; with `failed_only` only what FAILED.
pub fn retry(_grid: &mut Grid, _what: &[Chosen], _failed_only: bool) -> Result<Vec<Change>, OpsError> {
    Err(OpsError::Grid("retry is not built yet".to_owned()))
}
