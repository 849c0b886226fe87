//! Tasks that live in other homes.
//!
//! ```text
//!                  ┌─ ours ────────────▶ the verb, in this home ─┐
//! what was asked ──┤                                             ├──▶ merged, in the order of the question
//!                  └─ theirs ──▶ owner ──▶ the verb, there ──────┘
//! ```
//!
//! `change` asks the owners of theirs, leaves ours to the verb, and merges the changes. `owner` asks a task's owner: by its own endpoint,
//! or through a first tier that knows it. `states` refreshes and watches the states that the rows here cache. `follow` and
//! `files` bring outputs and files. An owner that does not answer is unreachable, and its tasks are not ended: their rows keep the
//! last state and its age.

pub mod change;
pub mod files;
pub(in crate::ops) mod follow;
pub mod owner;
pub mod servers;
pub mod states;

use super::selecting::Chosen;
use super::{Grid, OpsError};
use crate::store::away::Away;

/// The row of a task that another home holds, or that is offered to other homes now. None: a task of this home.
pub fn away(grid: &Grid, what: Chosen) -> Result<Option<Away>, OpsError> {
    Ok(grid.store.view().away(what.task)?)
}

#[cfg(test)]
mod tests;
