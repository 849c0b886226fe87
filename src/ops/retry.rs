//! `grid retry`: puts ended members back into the queue.

use super::remote::change::ask_owners;
use super::report::TaskChange;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, member_state};
use crate::model::task::{EndState, State};
use crate::model::time::Timestamp;
use crate::protocol::distributor::Verb;
use crate::store::Durability;
use crate::store::ledger::Ledger;

/// Retries members that did not complete; with `failed_only` only those that FAILED. Earlier attempts are kept.
pub fn retry(grid: &mut Grid, what: &[Chosen], failed_only: bool) -> Result<Vec<TaskChange>, OpsError> {
    let split = ask_owners(grid, what, |chosen| Verb::Retry { index: chosen.index, failed_only })?;
    let ours = retry_here(grid, &split.ours, failed_only)?;
    Ok(split.merge(what, ours))
}

fn retry_here(grid: &mut Grid, what: &[Chosen], failed_only: bool) -> Result<Vec<TaskChange>, OpsError> {
    const NOT_COMPLETED: [EndState; 6] = [
        EndState::Failed,
        EndState::Timeout,
        EndState::OutOfMemory,
        EndState::Cancelled,
        EndState::Skipped,
        EndState::Lost,
    ];
    let states = if failed_only { &NOT_COMPLETED[..1] } else { &NOT_COMPLETED[..] };
    let now = Timestamp::now();
    let changes = grid.store.write(Durability::Full, |tx| {
        let mut changes = Vec::with_capacity(what.len());
        for chosen in what {
            let before = member_state(tx, *chosen)?;
            if let Some(sent) = tx.files_of(chosen.task)?.0.sent()
                && before != State::Completed
                && !tx.has_bundle(sent.bundle)?
            {
                return Err(OpsError::Refused(format!(
                    "{chosen}: what was sent with it is gone (`keep_outputs`): submit it again"
                )));
            }
            let mut ledger = Ledger::open(tx, now);
            let changed = ledger.again(chosen.task, chosen.index, states)?;
            ledger.close()?;
            let note = match (changed, before) {
                (0, before) if !before.ended() => Some(format!("has not ended: {before}")),
                (0, before) => Some(format!("nothing to retry: {before}")),
                (_, State::Lost) => Some("was LOST: it may run twice".to_owned()),
                _ => None,
            };
            if changed > 0 {
                tx.mark_unheard(chosen.task)?;
                tx.trace(chosen.task, now, "started again by `grid retry`")?;
            }
            changes.push(TaskChange { id: chosen.to_string(), state: member_state(tx, *chosen)?, changed, note });
        }
        Ok::<_, OpsError>(changes)
    })?;
    dispatcher::wake(grid)?;
    Ok(changes)
}
