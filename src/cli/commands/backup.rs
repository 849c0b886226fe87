//! `grid backup` and `grid restore`.

use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::backup::{self, BackupContent};
use std::path::Path;

pub fn backup(file: &Path, no_env: bool, out: &mut Out) -> CommandResult {
    let content = if no_env { BackupContent::WithoutEnvironments } else { BackupContent::All };
    with_grid(out, |grid, _| {
        backup::backup(grid, file, content)?;
        Ok(Code::OK)
    })
}

pub fn restore(file: &Path, out: &mut Out) -> CommandResult {
    backup::restore(&caller::places(), file)?;
    // Opening it does the rest, and says so.
    with_grid(out, |_, _| Ok(Code::OK))
}
