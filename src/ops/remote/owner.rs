//! The owner of a task: the home that holds it, and the ways to it.

use super::states::{record_silence, record_unknown};
use crate::dispatch::client::relay::{Relay, Stop};
use crate::distributor::members::words_of;
pub use crate::distributor::owner::OwnerHome;
use crate::distributor::owner::{unknown_there, ways};
use crate::distributor::peers::{Peers, silently};
use crate::model::id::TaskId;
use crate::ops::report::TaskChange;
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::{Answer, Question, Verb};
use crate::store::Durability;
use crate::store::away::{Away, AwayState};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Asks an owner, by each way until one answers. An error names the ways and why there is no answer: [`OpsError::Denied`] if all
/// have answered and refuse.
pub fn ask(
    grid: &Grid,
    owner: OwnerHome<'_>,
    question: &Question,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    ask_by(grid, &mut peers, owner, question, each)
}

pub(super) fn ask_by(
    grid: &Grid,
    peers: &mut Relay,
    owner: OwnerHome<'_>,
    question: &Question,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let mut failures = Vec::new();
    let mut denied = true;
    // A refresh does not wait for a distributor that is known to be silent.
    let insist = !matches!(question, Question::States { .. });
    for endpoint in ways(&grid.store.view(), owner, insist)? {
        match peers.ask(&endpoint, question, each) {
            Ok(Answer::Denied(why)) => failures.push(format!("{endpoint}: {why}")),
            // It could not pass the question on, or is too old for it.
            Ok(Answer::No { why }) => {
                denied = false;
                failures.push(format!("{endpoint}: {why}"));
            }
            Ok(answer) => return Ok(answer),
            Err(error) => {
                denied = false;
                failures.push(format!("{endpoint}: {error}"));
                if peers.is_stopped() {
                    break;
                }
            }
        }
    }
    if failures.is_empty() {
        return Err(OpsError::Refused("no distributor that answers leads there".to_owned()));
    }
    let summary = failures.join("; ");
    Err(if denied { OpsError::Denied { summary, reasons: Vec::new() } } else { OpsError::Refused(summary) })
}

/// Why an owner has not carried out a verb.
#[derive(Debug)]
pub enum SendError {
    /// No home has confirmed yet that it holds the task.
    Unconfirmed(TaskId),
    /// No home was asked to take the task, or each has refused: it waits in this home.
    Unasked(TaskId),
    /// The task is being moved to another home.
    Moving(TaskId),
    /// The task has left the home that was asked.
    Left(TaskId),
    /// The home that was asked does not know the task any more.
    Unknown {
        task: TaskId,
        has_ended: bool,
    },
    /// All ways have answered, and refuse.
    Denied {
        task: TaskId,
        summary: String,
        reasons: Vec<String>,
    },
    /// No way leads to an answer, for this reason.
    Silent(TaskId, String),
    Other(OpsError),
}

impl From<OpsError> for SendError {
    fn from(error: OpsError) -> Self {
        Self::Other(error)
    }
}

impl From<SendError> for OpsError {
    fn from(error: SendError) -> Self {
        let forget = |task, what: &str| {
            Self::Refused(format!("task {task}: {what} (`grid cancel --forget {task}` gives the task up)"))
        };
        match error {
            SendError::Unconfirmed(task) => {
                forget(task, "no home has confirmed yet that it holds the task; grid asks again")
            }
            SendError::Unasked(task) => Self::Refused(format!(
                "task {task}: it waits in this home until a distributor takes it; until then only `grid cancel {task}` changes it"
            )),
            SendError::Moving(task) => forget(task, "it is being moved to another home; try again"),
            SendError::Left(task) => Self::Refused(format!("task {task}: it has left that home; try again")),
            SendError::Unknown { task, has_ended } => {
                Self::Refused(format!("task {task}: {}", unknown_there(task, has_ended)))
            }
            SendError::Denied { task, summary, reasons } => {
                Self::Denied { summary: format!("task {task}: refused where it is: {summary}"), reasons }
            }
            SendError::Silent(task, why) => Self::Refused(format!("task {task}: no answer from where it is: {why}")),
            SendError::Other(error) => error,
        }
    }
}

/// Asks the owner of a task to carry out a verb. A cancel that the owner has not heard yet goes first: a connection to its home, or a
/// release, could start the task.
pub fn send_verb(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    send_verb_until(grid, away, verb, Stop::default(), each)
}

/// The same, until `stop` is due. An answer that was not waited for does not count as silence of the owner.
pub fn send_verb_until(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    stop: Stop,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    if !matches!(verb, Verb::Cancel { .. }) {
        send_pending_cancel(grid, away)?;
    }
    Ok(send(grid, away, verb, stop, each)?)
}

/// Sends a cancel that the owner has not heard yet, if there is one.
fn send_pending_cancel(grid: &mut Grid, away: &Away) -> Result<(), OpsError> {
    let Some(grace) = away.cancel else { return Ok(()) };
    cancel(grid, away, Chosen { task: away.task, index: None }, grace)?;
    grid.store.write(Durability::Full, |tx| Ok(tx.cancel_told(away.task, grace)?))
}

/// Asks the owner of a task to cancel it.
pub fn cancel(grid: &mut Grid, away: &Away, chosen: Chosen, grace: Duration) -> Result<TaskChange, SendError> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let verb = Verb::Cancel { index: chosen.index, grace_ms };
    let said = send(grid, away, verb, Stop::default(), &mut silently)?;
    let change: TaskChange = read_report(away, said)?;
    Ok(TaskChange { id: chosen.to_string(), ..change })
}

fn send(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    stop: Stop,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, SendError> {
    let task = away.task;
    let home = match away.held {
        AwayState::By { home, .. } => home,
        AwayState::Moving { .. } => return Err(SendError::Moving(task)),
        AwayState::Open { .. } if away.is_unasked() => return Err(SendError::Unasked(task)),
        AwayState::Open { .. } => return Err(SendError::Unconfirmed(task)),
    };
    let question = Question::Task { owner: home, user: None, uuid: away.uuid, verb };
    let mut peers = Relay::new(grid.store.home(), &grid.login).until(stop);
    match ask_by(grid, &mut peers, OwnerHome { home, asked: &away.asked }, &question, each) {
        Err(error) if peers.is_stopped() => Err(error.into()),
        Ok(Answer::Unknown(_)) => match record_unknown(grid, &[away])?.is_empty() {
            true => Err(SendError::Left(task)),
            false => {
                let row = grid.store.view().task(task).map_err(OpsError::from)?;
                let has_ended = row.is_some_and(|row| row.state().ended());
                Err(SendError::Unknown { task, has_ended })
            }
        },
        Ok(answer) => Ok(answer),
        Err(OpsError::Denied { summary, reasons }) => {
            record_silence(grid, &[task])?;
            Err(SendError::Denied { task, summary, reasons })
        }
        Err(error) => {
            record_silence(grid, &[task])?;
            Err(SendError::Silent(task, error.to_string()))
        }
    }
}

/// A report of the owner, in the form of this home's own.
pub fn report<T: DeserializeOwned>(grid: &mut Grid, away: &Away, verb: Verb) -> Result<T, OpsError> {
    let said = send_verb(grid, away, verb, &mut silently)?;
    read_report(away, said)
}

fn read_report<T: DeserializeOwned>(away: &Away, said: Answer) -> Result<T, OpsError> {
    match said {
        Answer::Report(text) => serde_json::from_str(&text)
            .map_err(|error| OpsError::Grid(format!("task {}: its home's report can't be read: {error}", away.task))),
        other => Err(OpsError::Grid(words_of(other))),
    }
}
