//! `grid cancel`: recorded at once, carried out by the dispatcher.

use super::moving::HAS_JUST_MOVED;
use super::remote::change::Split;
use super::remote::owner::{self, SendError};
use super::remote::states::refresh;
use super::report::TaskChange;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, member_state, remote};
use crate::dispatch::client::start::Connection;
use crate::distributor::owner::unknown_there;
use crate::model::id::TaskId;
use crate::model::task::{EndState, Phase, State};
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::ledger::Ledger;
use crate::store::{Durability, Log, StoreError};
use std::time::Duration;

/// Records the cancels, with `grace` between TERM and KILL. Members that are on no server end at once. Gives one change for each choice.
pub fn cancel(grid: &mut Grid, what: &[Chosen], grace: Duration) -> Result<Vec<TaskChange>, OpsError> {
    let mut split = Split::default();
    for chosen in what {
        let Some(away) = remote::away(grid, *chosen)? else {
            split.ours.push(*chosen);
            continue;
        };
        if let Some(change) = cancel_unasked(grid, *chosen)? {
            split.theirs.insert(*chosen, change);
            continue;
        }
        let change = match owner::cancel(grid, &away, *chosen, grace) {
            Err(error) => record_for_later(grid, *chosen, grace, error)?,
            Ok(change) => change,
        };
        refresh(grid, &[away])?;
        split.theirs.insert(*chosen, change);
    }
    let ours = cancel_here(grid, &split.ours, grace)?;
    dispatcher::wake(grid)?;
    Ok(split.merge(what, ours))
}

/// Ends a task that waits in this home until a distributor takes it. None: another home may have it.
fn cancel_unasked(grid: &mut Grid, chosen: Chosen) -> Result<Option<TaskChange>, OpsError> {
    if chosen.index.is_some() || !grid.store.view().is_nowhere(chosen.task)? {
        return Ok(None);
    }
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        // A search may have begun meanwhile.
        let Some(row) = tx.task(chosen.task)?.filter(|row| !row.state().ended()) else { return Ok(None) };
        if !tx.is_nowhere(chosen.task)? {
            return Ok(None);
        }
        tx.cancelled_away(chosen.task, now)?;
        tx.trace(chosen.task, now, "cancelled")?;
        let changed = row.counts.unended();
        Ok(Some(TaskChange { id: chosen.to_string(), state: State::Cancelled, changed, note: None }))
    })
}

/// The cancel has not reached the owner: it is recorded, and sent as soon as the owner answers.
pub(super) fn record_for_later(
    grid: &mut Grid,
    chosen: Chosen,
    grace: Duration,
    error: SendError,
) -> Result<TaskChange, OpsError> {
    let row = grid.store.view().task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.to_string(), []))?;
    let state = row.state();
    if chosen.index.is_some() || state.ended() {
        return Err(error.into());
    }
    let why = match &error {
        SendError::Moving(_) => {
            "it is being moved to another home: the cancel is sent to the home that has it then".into()
        }
        SendError::Left(_) => "it has just left that home: the cancel is sent to the home that has it now".into(),
        SendError::Unconfirmed(_) => {
            "no home has confirmed yet that it holds the task: the cancel is sent to the one that does".into()
        }
        SendError::Unasked(_) => "it waits in this home, which ends it at its next search".into(),
        SendError::Denied { summary, .. } => {
            format!("its home does not take it now ({summary}), and gets the cancel as soon as it does")
        }
        SendError::Silent(..) => "its home does not answer now, and gets the cancel as soon as it does".into(),
        SendError::Other(error) => format!("its home has not confirmed it ({error}), and is asked again"),
        SendError::Unknown { task, .. } => {
            // It can't be cancelled there, and no other home is asked for it.
            let note = Some(unknown_there(*task, state.ended()));
            return Ok(TaskChange { id: chosen.to_string(), state, changed: 0, note });
        }
    };
    let here = grid.store.write::<_, OpsError>(Durability::Full, |tx| {
        // The way of its move may have led back to this home.
        let here = tx.away(chosen.task)?.is_none();
        if !here {
            tx.cancel_away(chosen.task, grace)?;
            tx.trace(chosen.task, Timestamp::now(), "cancel asked")?;
        }
        Ok(here)
    })?;
    if here {
        return cancel_here(grid, &[chosen], grace)?.pop().ok_or_else(|| error.into());
    }
    let note = Some(format!("cancel asked; {why}; {}", remedy_if_lost(chosen.task)));
    Ok(TaskChange { id: chosen.to_string(), state, changed: row.size, note })
}

/// The remedy for a task whose home does not answer.
pub(super) fn remedy_if_lost(task: TaskId) -> String {
    format!("if that home is lost for good, `grid cancel --forget {task}` gives the task up")
}

/// Gives up tasks that another home holds, or may hold: no message about them is sent any more. They may start, or keep running, there.
pub fn forget(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<TaskChange>, OpsError> {
    let now = Timestamp::now();
    let mut changes = Vec::with_capacity(what.len());
    for chosen in what {
        let Some(away) = remote::away(grid, *chosen)? else {
            return Err(OpsError::Usage(format!(
                "task {chosen}: --forget is for tasks in other homes; this one is here"
            )));
        };
        if member_state(&grid.store.view(), Chosen { task: away.task, index: None })?.ended() {
            return Err(OpsError::Usage(format!("task {chosen} has ended: there is nothing to give up")));
        }
        grid.store.write(Durability::Full, |tx| {
            tx.cancelled_away(away.task, now)?;
            tx.trace(away.task, now, "given up by `grid cancel --forget`: it may have run, or run still")
        })?;
        let note = Some(format!("given up; it may still run where {} placed it", away.asked));
        changes.push(TaskChange { id: chosen.to_string(), state: State::Cancelled, changed: 1, note });
    }
    Ok(changes)
}

/// Most tasks in one transaction: other writers wait for one transaction at most.
const BATCH: usize = 2_000;

fn cancel_here(grid: &mut Grid, what: &[Chosen], grace: Duration) -> Result<Vec<TaskChange>, OpsError> {
    let mut changes = Vec::with_capacity(what.len());
    for batch in what.chunks(BATCH) {
        changes.extend(cancel_batch(grid, batch, grace)?);
    }
    Ok(changes)
}

fn cancel_batch(grid: &mut Grid, what: &[Chosen], grace: Duration) -> Result<Vec<TaskChange>, OpsError> {
    match record(grid, what, grace) {
        Err(OpsError::Store(error)) if error.is_full(grid.store.home()) => {
            cancel_on_full_disk(grid, what, grace, error)
        }
        other => other,
    }
}

/// Cancels on a full disk, which the task itself may have filled. The dispatcher ends it at once and records the cancel when there is room; if it
/// can't be asked, the reserve of the home makes room for the record.
fn cancel_on_full_disk(
    grid: &mut Grid,
    what: &[Chosen],
    grace: Duration,
    error: StoreError,
) -> Result<Vec<TaskChange>, OpsError> {
    if let Some(changes) = by_dispatcher(grid, what, grace)? {
        return Ok(changes);
    }
    // After a checkpoint the log starts over in the blocks that it has.
    if grid.store.checkpoint(Log::Stays).is_ok()
        && let Ok(changes) = record(grid, what, grace)
    {
        return Ok(changes);
    }
    if grid.store.home().give_up_reserve() { record(grid, what, grace) } else { Err(error.into()) }
}

/// Sends the cancels to the dispatcher; None if none accepts them.
fn by_dispatcher(grid: &Grid, what: &[Chosen], grace: Duration) -> Result<Option<Vec<TaskChange>>, OpsError> {
    let Ok(Some(mut open)) = Connection::open(grid.store.home()) else { return Ok(None) };
    let mut changes = Vec::with_capacity(what.len());
    for chosen in what {
        let (id, state) = (chosen.to_string(), member_state(&grid.store.view(), *chosen)?);
        if state.ended() {
            let note = Some(format!("has already ended: {state}"));
            changes.push(TaskChange { id, state, changed: 0, note });
            continue;
        }
        let word = ToDispatcher::Cancel { task: chosen.task, index: chosen.index, grace };
        if open.send(&word).is_err() || !matches!(open.receive(), Ok(Some(FromDispatcher::CancelTaken))) {
            return Ok(None);
        }
        let row = grid.store.view().task(chosen.task)?;
        let changed = if chosen.index.is_some() { 1 } else { row.map_or(0, |row| row.counts.unended()) };
        let note = Some("cancel asked; the disk is full: it is recorded when there is space".to_owned());
        changes.push(TaskChange { id, state, changed, note });
    }
    Ok(Some(changes))
}

/// Records cancels of tasks of this home.
pub(super) fn record(grid: &mut Grid, what: &[Chosen], grace: Duration) -> Result<Vec<TaskChange>, OpsError> {
    let now = Timestamp::now();
    let changes = grid.store.write(Durability::Full, |tx| {
        let mut asked = Vec::with_capacity(what.len());
        for chosen in what {
            let before = member_state(tx, *chosen)?;
            if before.ended() {
                asked.push((*chosen, 0, Some(format!("has already ended: {before}"))));
                continue;
            }
            if tx.away(chosen.task)?.is_some() {
                // The cancel is sent to its new home.
                let change = match chosen.index {
                    Some(_) => (*chosen, 0, Some(HAS_JUST_MOVED.to_owned())),
                    None => {
                        tx.cancel_away(chosen.task, grace)?;
                        tx.trace(chosen.task, now, "cancel asked")?;
                        let unended = tx.task(chosen.task)?.map_or(0, |row| row.counts.unended());
                        (*chosen, unended, Some("cancel asked".to_owned()))
                    }
                };
                asked.push(change);
                continue;
            }
            let mut ledger = Ledger::open(tx, now);
            let mut changed = 0;
            for from in [Phase::Waiting, Phase::Held] {
                changed += ledger.shift(chosen.task, chosen.index, from, Phase::Ended(EndState::Cancelled))?;
            }
            ledger.close()?;
            let live =
                tx.live_of(chosen.task)?.into_iter().filter(|l| chosen.index.is_none_or(|i| i == l.index)).count();
            let mut note = None;
            if live > 0 {
                tx.ask_cancel(chosen.task, chosen.index, grace, now)?;
                changed += u32::try_from(live).unwrap_or(u32::MAX);
                note = Some("cancel asked".to_owned());
            }
            tx.trace(chosen.task, now, "cancel asked")?;
            asked.push((*chosen, changed, note));
        }
        let mut changes = Vec::with_capacity(asked.len());
        for (chosen, changed, note) in asked {
            changes.push(TaskChange { id: chosen.to_string(), state: member_state(tx, chosen)?, changed, note });
        }
        Ok::<_, OpsError>(changes)
    })?;
    Ok(changes)
}
