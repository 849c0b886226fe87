//! `grid backup` and `grid restore`: copies the database to one file, and makes a home from such a file.

use super::home::HomeVariables;
use super::{Grid, OpsError};
use crate::model::time::Timestamp;
use crate::store::{Home, Store};
use std::path::Path;

pub use crate::store::backup::BackupContent;

/// Writes a backup to a file that does not exist yet.
pub fn backup(grid: &Grid, file: &Path, content: BackupContent) -> Result<(), OpsError> {
    if file.symlink_metadata().is_ok() {
        return Err(OpsError::Refused(format!("{}: exists already; a backup never overwrites a file", file.display())));
    }
    Ok(grid.store.backup(file, content, Timestamp::now())?)
}

/// Makes a home from a backup, if there is none yet. The first command that opens it makes it a new incarnation.
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
