//! The states of tasks in other homes, as the rows of this home cache them: refreshed, watched, recorded with their age.

use super::owner::{OwnerHome, ask, ask_by};
use crate::dispatch::client::relay::{Relay, Stop};
use crate::distributor::members::words_of;
use crate::distributor::owner::{confirm, unknown_there};
use crate::distributor::peers::silently;
use crate::distributor::snapshot;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, TaskId, TaskUuid};
use crate::model::time::{Timestamp, short};
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::{Answer, HeardEnd, Question, Snapshot};
use crate::store::Durability;
use crate::store::away::{Away, AwayState};
use crate::store::tasks::TaskReason;
use std::collections::{BTreeMap, BTreeSet};

/// Why a task in another home waits.
pub fn why_waiting(reason: Option<&TaskReason>) -> &str {
    reason.map_or("no home has accepted it yet", TaskReason::words)
}

/// Tasks of one question.
const BATCH: usize = 1_000;

/// Refreshes the states of tasks in other homes; each owner is asked once. A task whose owner can't be asked keeps its last state.
/// Gives the tasks that their owners do not know any more.
pub fn refresh(grid: &mut Grid, tasks: &[Away]) -> Result<Vec<TaskId>, OpsError> {
    let mut lost = Vec::new();
    let mut by_owner: BTreeMap<(HomeId, Endpoint), Vec<&Away>> = BTreeMap::new();
    for task in tasks {
        if let AwayState::By { home, .. } = task.held {
            by_owner.entry((home, task.asked.clone())).or_default().push(task);
        }
    }
    for ((owner, asked), tasks) in by_owner {
        for batch in tasks.chunks(BATCH) {
            let uuids = batch.iter().map(|t| t.uuid).collect();
            let question = Question::States { owner, user: None, uuids };
            match ask(grid, OwnerHome { home: owner, asked: &asked }, &question, &mut silently) {
                Ok(Answer::States(all)) => {
                    let ends = record_states(grid, batch, &all)?;
                    let mut peers = Relay::new(grid.store.home(), &grid.login);
                    confirm(&mut grid.store, &mut peers, OwnerHome { home: owner, asked: &asked }, ends)?;
                    let said: BTreeSet<_> = all.iter().map(|said| said.uuid).collect();
                    let unknown: Vec<&Away> = batch.iter().copied().filter(|t| !said.contains(&t.uuid)).collect();
                    lost.extend(record_unknown(grid, &unknown)?);
                }
                _ => record_silence(grid, &batch.iter().map(|t| t.task).collect::<Vec<_>>())?,
            }
        }
    }
    Ok(lost)
}

/// What came of a watch.
#[derive(Debug)]
pub enum WatchOutcome {
    Heard,
    /// No distributor answered, for this reason: asked again later.
    Silent(String),
    /// The answer is a refusal, in these words: asked again later.
    Denied(String),
    /// The task has left that home: it moves to another one.
    Moved,
    /// The owner does not know the task any more, and why.
    Gone(String),
}

/// Waits until the first task has ended, as far as its owner answers, or until `stop` is due. Then the states of all are fresh.
pub fn watch(grid: &mut Grid, first: &Away, others: &[Away], stop: &Stop) -> Result<WatchOutcome, OpsError> {
    let AwayState::By { home, .. } = first.held else { return Ok(WatchOutcome::Heard) };
    let same =
        |task: &&Away| matches!(task.held, AwayState::By { home: h, .. } if h == home) && task.task != first.task;
    let asked: Vec<&Away> = std::iter::once(first).chain(others.iter().filter(same)).take(BATCH).collect();
    let question = Question::Watch { owner: home, user: None, uuids: asked.iter().map(|t| t.uuid).collect() };
    let mut peers = Relay::new(grid.store.home(), &grid.login).until(stop.clone());
    match ask_by(grid, &mut peers, OwnerHome { home, asked: &first.asked }, &question, &mut silently) {
        Ok(Answer::States(all)) => {
            let ends = record_states(grid, &asked, &all)?;
            // What withdraws the question does not withdraw this.
            let mut peers = Relay::new(grid.store.home(), &grid.login);
            confirm(&mut grid.store, &mut peers, OwnerHome { home, asked: &first.asked }, ends)?;
            Ok(WatchOutcome::Heard)
        }
        Ok(Answer::Unknown(_)) => Ok(match record_unknown(grid, &[first])?.is_empty() {
            true => WatchOutcome::Moved,
            false => WatchOutcome::Gone(unknown_there(first.task, false)),
        }),
        Ok(other) => Ok(WatchOutcome::Denied(words_of(other))),
        Err(OpsError::Denied { summary, .. }) => Ok(WatchOutcome::Denied(summary)),
        Err(why) => Ok(WatchOutcome::Silent(why.to_string())),
    }
}

/// Records the states that an owner gave of the tasks it was asked about. States of other tasks are ignored. Gives the ends that
/// are not confirmed yet.
pub(super) fn record_states(grid: &mut Grid, asked: &[&Away], all: &[Snapshot]) -> Result<Vec<HeardEnd>, OpsError> {
    let now = Timestamp::now();
    let asked: BTreeSet<TaskUuid> = asked.iter().map(|away| away.uuid).collect();
    grid.store.write(Durability::Full, |tx| {
        let mut ends = Vec::new();
        for said in all.iter().filter(|said| asked.contains(&said.uuid)) {
            if let (_, Some(task)) = tx.held_by_uuid(said.uuid)? {
                ends.extend(snapshot::hear(tx, task, said, now)?);
            }
        }
        Ok(ends)
    })
}

/// Records that the owner did not answer.
pub(super) fn record_silence(grid: &mut Grid, tasks: &[TaskId]) -> Result<(), OpsError> {
    let now = Timestamp::now();
    grid.store.write(Durability::Normal, |tx| {
        for task in tasks {
            tx.unheard_away(*task, now)?;
        }
        Ok(())
    })
}

/// Records that the owner answered and does not know these tasks. Gives those that have not moved since.
pub(super) fn record_unknown(grid: &mut Grid, tasks: &[&Away]) -> Result<Vec<TaskId>, OpsError> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    grid.store.write(Durability::Normal, |tx| {
        let mut lost = Vec::new();
        for asked in tasks {
            // Its old home does not know a task that has moved since, and rightly so.
            if tx.away(asked.task)?.is_some_and(|now| now.held == asked.held) {
                let has_ended = tx.task(asked.task)?.is_some_and(|row| row.state().ended());
                tx.set_away_reason(asked.task, &unknown_there(asked.task, has_ended))?;
                lost.push(asked.task);
            }
        }
        Ok(lost)
    })
}

/// Is another home asked for this task since the row was read, or is it this home's own by now?
pub fn has_moved(grid: &Grid, asked: &Away) -> Result<bool, OpsError> {
    Ok(grid.store.view().away(asked.task)?.is_none_or(|now| now.held != asked.held))
}

/// How long the owner has been silent, for a person; None: its state is fresh.
pub fn silence(away: &Away, member: &str, now: Timestamp) -> Option<String> {
    let (AwayState::By { .. }, Some(_), Some(heard)) = (&away.held, away.tried_at, away.answered_at) else {
        return None;
    };
    Some(format!("no answer from {member} for {}", short(heard.age_at(now))))
}
