//! `grid backup` and `grid restore`: the whole database in one file, and a home made of it.

use super::home::HomeVariables;
use super::{Grid, OpsError};
use crate::model::time::Timestamp;
use crate::store::{Home, Store};
use std::path::Path;

/// Writes the file, which must not be there yet.
pub fn backup(grid: &Grid, file: &Path) -> Result<(), OpsError> {
    if file.symlink_metadata().is_ok() {
        return Err(OpsError::Refused(format!("{}: is there already; a backup replaces nothing", file.display())));
    }
    Ok(grid.store.backup(file, Timestamp::now())?)
}

/// Puts a backup where there is no home yet. The first command that opens it makes a new incarnation of it.
pub fn restore(places: &HomeVariables, file: &Path) -> Result<(), OpsError> {
    let home = Home::locate(places)?.home;
    let _founding = home.found()?;
    if home.exists() {
        return Err(OpsError::Refused(format!(
            "there is a home in {} already: set GRID_HOME to another directory, or move it away",
            home.dir().display()
        )));
    }
    Ok(Store::place_backup(&home, file)?)
}
