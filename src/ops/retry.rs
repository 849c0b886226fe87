//! `grid retry`: puts ended members back into the queue.

use super::remote::change::ask_owners;
use super::report::TaskChange;
use super::selecting::Chosen;
use super::submit::keep_environment;
use super::{Grid, OpsError, dispatcher, member_state};
use crate::model::inherited::Submitter;
use crate::model::task::{EndState, State};
use crate::model::time::Timestamp;
use crate::protocol::distributor::Verb;
use crate::store::Durability;
use crate::store::ledger::Ledger;

/// Retries members that did not complete; with `failed_only` only those that FAILED. Earlier attempts are kept. A task whose
/// environment is erased gets that of the caller.
pub fn retry(
    grid: &mut Grid,
    what: &[Chosen],
    failed_only: bool,
    caller: Option<&Submitter>,
) -> Result<Vec<TaskChange>, OpsError> {
    let split = ask_owners(grid, what, |chosen| Verb::Retry { index: chosen.index, failed_only })?;
    let ours = retry_here(grid, &split.ours, failed_only, caller)?;
    Ok(split.merge(what, ours))
}

fn retry_here(
    grid: &mut Grid,
    what: &[Chosen],
    failed_only: bool,
    caller: Option<&Submitter>,
) -> Result<Vec<TaskChange>, OpsError> {
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
            // A search for its distributor is not begun anew.
            let unplaced = tx.task(chosen.task)?.is_some_and(|row| row.tier2.is_empty());
            let mut ledger = Ledger::open(tx, now);
            let changed = if unplaced { 0 } else { ledger.again(chosen.task, chosen.index, states)? };
            ledger.close()?;
            let erased = changed > 0 && tx.environment_of(chosen.task)?.is_some_and(|kept| kept.erased);
            if erased && let Some(caller) = caller {
                tx.set_environment(chosen.task, keep_environment(tx, caller, now)?)?;
            }
            let mut notes = Vec::new();
            match (changed, before) {
                (0, before) if !before.ended() => notes.push(format!("has not ended: {before}")),
                (0, _) if unplaced => notes.push("no distributor had taken it: submit it again".to_owned()),
                (0, before) => notes.push(format!("nothing to retry: {before}")),
                (_, State::Lost) => notes.push("was LOST: it may run twice".to_owned()),
                _ => {}
            }
            if erased {
                let gets = if caller.is_some() { "that of this shell" } else { "that of a login" };
                notes.push(format!("its environment was erased (`keep_env`): it gets {gets}"));
            }
            let note = (!notes.is_empty()).then(|| notes.join("; "));
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
