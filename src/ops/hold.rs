//! `grid hold`: waiting members do not start until they are released.

use super::moving::HAS_JUST_MOVED;
use super::remote::change::ask_owners;
use super::report::TaskChange;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, member_state};
use crate::model::task::{HELD_BY_USER, Phase};
use crate::model::time::Timestamp;
use crate::protocol::distributor::Verb;
use crate::store::Durability;
use crate::store::ledger::Ledger;

/// Holds waiting members; a note names those that run or have ended.
pub fn hold(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<TaskChange>, OpsError> {
    let split = ask_owners(grid, what, |chosen| Verb::Hold { index: chosen.index })?;
    let ours = record(grid, &split.ours)?;
    dispatcher::wake(grid)?;
    Ok(split.merge(what, ours))
}

/// Holds members of this home.
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
            let mut ledger = Ledger::open(tx, now);
            let mut changed = ledger.shift(chosen.task, chosen.index, Phase::Waiting, Phase::Held)?;
            ledger.close()?;
            if chosen.index.is_none() && tx.is_unmatched(chosen.task)? {
                // Held for the lack of a server until now: from here on also if one comes.
                changed = tx.task(chosen.task)?.filter(|row| !row.is_held_by_user()).map_or(0, |row| row.counts.held);
            }
            if changed > 0 {
                // Other members may wait for other reasons.
                if tx.task(chosen.task)?.is_none_or(|row| row.counts.waiting == 0) {
                    tx.set_reason(chosen.task, Some(HELD_BY_USER))?;
                }
                tx.trace(chosen.task, now, "held")?;
            }
            let note = (changed == 0).then(|| format!("no member waits: {before}"));
            changes.push(TaskChange { id: chosen.to_string(), state: member_state(tx, *chosen)?, changed, note });
        }
        Ok(changes)
    })
}
