//! `grid backup` and `grid restore`.

use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::backup;
use std::path::Path;

pub fn backup(file: &Path, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, _| {
        backup::backup(grid, file)?;
        Ok(Code::OK)
    })
}

pub fn restore(file: &Path, out: &mut Out) -> CommandResult {
    backup::restore(&caller::places(), file)?;
    // Opening it does the rest, and says so.
    with_grid(out, |_, _| Ok(Code::OK))
}
