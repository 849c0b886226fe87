//! Results that are not unpacked: `status` gives notice a week before `gc` removes them.

use super::settings::read;
use super::{Grid, OpsError};
use crate::model::id::MemberKey;
use crate::model::resources::Bytes;
use crate::model::settings::KEEP_OUTPUTS;
use crate::model::time::Timestamp;
use crate::store::{Durability, View};
use serde::Serialize;
use std::time::Duration;

/// Time between the notice and the removal.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most tasks that a notice names.
const NAMED: u32 = 10;

/// Results that are not unpacked, and that `gc` removes soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Their tasks, at most ten.
    pub tasks: Vec<String>,
    /// How many tasks there are.
    pub count: u64,
    pub bytes: Bytes,
    /// The earliest time at which the first of them are removed.
    pub goes_at: Timestamp,
}

/// The notice in `status` on results that are removed soon.
pub fn of(view: &View<'_>) -> Result<Option<Notice>, OpsError> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4);
    let found = view.noticed(millis(read(view, &KEEP_OUTPUTS)?), millis(NOTICE), NAMED)?;
    Ok(found.map(|noticed| Notice {
        tasks: noticed.tasks.iter().map(ToString::to_string).collect(),
        count: noticed.count,
        bytes: noticed.bytes,
        goes_at: noticed.goes_at,
    }))
}

/// Gives notice of results that would be removed within a week. A lowered setting, or a `gc` that did not run for long, does not shorten
/// the notice: its time starts here.
pub fn give(grid: &mut Grid, keep: Duration, now: Timestamp) -> Result<(), OpsError> {
    let soon = now.minus(keep.saturating_sub(NOTICE));
    let unnoticed = grid.store.view().unnoticed_before(soon)?;
    if unnoticed.is_empty() {
        return Ok(());
    }
    let home = grid.store.home().clone();
    grid.store.write(Durability::Normal, |tx| {
        for MemberKey { task, index } in unnoticed {
            if home.fetched_file(task, index).exists() {
                tx.give_notice(task, index, now)?;
            } else {
                tx.mark_dropped(task, index, now)?;
            }
        }
        Ok(())
    })
}

/// May the archive of this result not go yet?
pub fn protects(view: &View<'_>, result: MemberKey, now: Timestamp) -> Result<bool, OpsError> {
    Ok(view.awaits_notice(result.task, result.index, now.minus(NOTICE))?)
}

/// These archives are gone.
pub fn dropped(grid: &mut Grid, results: &[MemberKey], now: Timestamp) -> Result<(), OpsError> {
    if results.is_empty() {
        return Ok(());
    }
    grid.store.write(Durability::Normal, |tx| {
        results.iter().try_for_each(|result| Ok(tx.mark_dropped(result.task, result.index, now)?))
    })
}
