//! `grid submit`: the way of one task, from the client's first-tier set to the row in the second tier's database.

use super::draft::Draft;
use super::report::{Explained, Submitted};
use super::{Grid, OpsError};

/// Takes a task in, durably. [`OpsError::NoMatch`] where nothing could ever run it.
pub fn submit(_grid: &mut Grid, _draft: Draft) -> Result<Submitted, OpsError> {
    Err(OpsError::Grid("submit is not built yet".to_owned()))
}

/// Where the task would go now and why; nothing is written.
pub fn dry_run(_grid: &mut Grid, _draft: Draft) -> Result<Explained, OpsError> {
    Err(OpsError::Grid("submit --dry-run is not built yet".to_owned()))
}
