//! The owner of a task: the home that holds it, and the ways to it.

use super::states::{has_moved, record_silence, record_unknown, unknown_there};
use crate::dispatch::client::relay::{Relay, Stop};
use crate::distributor::members::words_of;
pub use crate::distributor::owner::OwnerHome;
use crate::distributor::owner::ways;
use crate::distributor::peers::{Peers, silently};
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::{Answer, Question, Verb};
use crate::store::Durability;
use crate::store::away::{Away, AwayState};
use serde::de::DeserializeOwned;

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
    send(grid, away, verb, stop, each)
}

/// Sends a cancel that the owner has not heard yet, if there is one.
fn send_pending_cancel(grid: &mut Grid, away: &Away) -> Result<(), OpsError> {
    let Some(grace) = away.cancel else { return Ok(()) };
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    send(grid, away, Verb::Cancel { index: None, grace_ms }, Stop::default(), &mut silently)?;
    grid.store.write(Durability::Full, |tx| Ok(tx.cancel_told(away.task, grace)?))
}

fn send(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    stop: Stop,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let AwayState::By { home, .. } = away.held else {
        let state = match away.held {
            AwayState::Moving { .. } => "it is being moved to another home; try again",
            _ => "no home has confirmed yet that it holds the task; grid asks again",
        };
        return Err(OpsError::Refused(format!(
            "task {}: {state} (`grid cancel --forget {}` gives the task up)",
            away.task, away.task
        )));
    };
    let question = Question::Task { owner: home, user: None, uuid: away.uuid, verb };
    let mut peers = Relay::new(grid.store.home(), &grid.login).until(stop);
    match ask_by(grid, &mut peers, OwnerHome { home, asked: &away.asked }, &question, each) {
        Err(error) if peers.is_stopped() => Err(error),
        Ok(Answer::Unknown(_)) => {
            if has_moved(grid, away)? {
                return Err(OpsError::Refused(format!("task {}: it has left that home; try again", away.task)));
            }
            record_unknown(grid, &[away])?;
            Err(OpsError::Refused(format!("task {}: {}", away.task, unknown_there(away.task))))
        }
        Ok(answer) => Ok(answer),
        Err(OpsError::Denied { summary, reasons }) => {
            record_silence(grid, &[away.task])?;
            let summary = format!("task {}: refused where it is: {summary}", away.task);
            Err(OpsError::Denied { summary, reasons })
        }
        Err(error) => {
            record_silence(grid, &[away.task])?;
            Err(OpsError::Refused(format!("task {}: no answer from where it is: {error}", away.task)))
        }
    }
}

/// A report of the owner, in the form of this home's own.
pub fn report<T: DeserializeOwned>(grid: &mut Grid, away: &Away, verb: Verb) -> Result<T, OpsError> {
    match send_verb(grid, away, verb, &mut silently)? {
        Answer::Report(text) => serde_json::from_str(&text)
            .map_err(|error| OpsError::Grid(format!("task {}: its home's report can't be read: {error}", away.task))),
        other => Err(OpsError::Grid(words_of(other))),
    }
}
