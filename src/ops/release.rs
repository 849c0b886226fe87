//! `grid release`: lets held members start.

use super::moving::HAS_JUST_MOVED;
use super::remote::change::ask_owners;
use super::report::TaskChange;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, member_state};
use crate::model::id::TaskId;
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use crate::protocol::distributor::Verb;
use crate::store::ledger::Ledger;
use crate::store::{Durability, View};

/// Releases held members; a note names those that are not held.
pub fn release(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<TaskChange>, OpsError> {
    let split = ask_owners(grid, what, |chosen| Verb::Release { index: chosen.index })?;
    let ours = record(grid, &split.ours)?;
    dispatcher::wake(grid)?;
    Ok(split.merge(what, ours))
}

/// Releases members of this home.
pub(super) fn record(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<TaskChange>, OpsError> {
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        let mut changes = Vec::with_capacity(what.len());
        for chosen in what {
            let before = member_state(tx, *chosen)?;
            if tx.away(chosen.task)?.is_some() {
                let note = Some(HAS_JUST_MOVED.to_owned());
                changes.push(TaskChange { id: chosen.to_string(), state: before, changed: 0, note });
                continue;
            }
            if tx.awaits_files(chosen.task)? {
                let note = "waits for its files from where it was submitted".to_owned();
                changes.push(TaskChange { id: chosen.to_string(), state: before, changed: 0, note: Some(note) });
                continue;
            }
            let mut ledger = Ledger::open(tx, now);
            let changed = ledger.shift(chosen.task, chosen.index, Phase::Held, Phase::Waiting)?;
            ledger.close()?;
            if changed > 0 {
                tx.clear_unmatched(chosen.task)?;
                tx.trace(chosen.task, now, "released")?;
            }
            let note = match changed {
                0 => Some(format!("is not held: {before}")),
                _ => may_have_run(tx, chosen.task)?,
            };
            changes.push(TaskChange { id: chosen.to_string(), state: member_state(tx, *chosen)?, changed, note });
        }
        Ok(changes)
    })
}

/// The note on a task from before a backup: the backed-up home may have run or cancelled it since.
fn may_have_run(view: &View<'_>, task: TaskId) -> Result<Option<String>, OpsError> {
    let (Some((from, made_of)), Some(row)) = (view.made_of()?, view.task(task)?) else { return Ok(None) };
    let known = row.submitted_at <= from;
    Ok(known.then(|| format!("released; it may have run already, or been cancelled since: this home was {made_of}")))
}
