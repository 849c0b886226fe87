//! The dispatcher from outside: woken, started, asked, told to leave; and becoming it.

use super::report::DispatcherStatus;
use super::{Grid, OpsError};

/// After a change: wakes the dispatcher; starts one where there is work and none. Every command that opened the home ends with this.
pub fn wake(_grid: &mut Grid) -> Result<(), OpsError> {
    Ok(())
}

/// Does it run, and what does it follow?
pub fn status(_grid: &mut Grid) -> Result<DispatcherStatus, OpsError> {
    Err(OpsError::Grid("dispatcher status is not built yet".to_owned()))
}

/// Starts it; gives the state that it then has.
pub fn start(_grid: &mut Grid) -> Result<DispatcherStatus, OpsError> {
    Err(OpsError::Grid("dispatcher start is not built yet".to_owned()))
}

/// Lets it leave and waits until it has; false if none ran.
pub fn stop(_grid: &mut Grid) -> Result<bool, OpsError> {
    Err(OpsError::Grid("dispatcher stop is not built yet".to_owned()))
}

/// Becomes the dispatcher of the home, until it is idle.
pub fn serve(_grid: Grid) -> Result<(), OpsError> {
    Err(OpsError::Grid("dispatcher is not built yet".to_owned()))
}
