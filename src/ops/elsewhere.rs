//! Tasks that another home holds: asked there, through the first tier that placed them or any other member that knows the
//! owner's home. Whoever does not answer is unreachable, never ended: the row shows what was heard last, and how old that is.

use super::report::TaskChange;
use super::selecting::Chosen;
use super::{Grid, OpsError};
use crate::dispatch::client::relay::{Relay, Stop};
use crate::distributor::members::words_of;
use crate::distributor::peers::{Peers, silently};
use crate::distributor::search::skipped;
use crate::distributor::snapshot;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::time::{Timestamp, short};
use crate::protocol::distributor::{Answer, Question, ServerOrder, Snapshot, Verb};
use crate::store::away::{Away, AwayState};
use crate::store::{Durability, View};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Is this task held by another home, or by nobody for certain yet?
pub fn away(grid: &Grid, what: Chosen) -> Result<Option<Away>, OpsError> {
    Ok(grid.store.view().away(what.task)?)
}

/// Tasks of one question.
const BATCH: usize = 1_000;

/// The way to an owner: its own endpoint where this home knows it, else through the first tier that was asked, else through
/// any other. Those that are known to be silent come last.
fn ways(view: &View<'_>, owner: HomeId, asked: &Endpoint, insist: bool) -> Result<Vec<Endpoint>, OpsError> {
    let mut ways: Vec<(bool, Endpoint)> = Vec::new();
    let mut add = |silent: bool, endpoint: &Endpoint| {
        if endpoint.is_elsewhere() && !ways.iter().any(|(_, known)| known == endpoint) {
            ways.push((silent, endpoint.clone()));
        }
    };
    for member in view.distributors(Tier::Second)?.iter().filter(|m| m.home == Some(owner)) {
        add(member.silent_since.is_some() && !member.due, &member.endpoint);
    }
    let fronts = view.distributors(Tier::First)?;
    let silent =
        |endpoint: &Endpoint| fronts.iter().any(|m| m.endpoint == *endpoint && m.silent_since.is_some() && !m.due);
    add(silent(asked), asked);
    for front in &fronts {
        add(skipped(front).is_some(), &front.endpoint);
    }
    ways.sort_by_key(|(silent, _)| *silent);
    // One that is known to be silent is asked only where somebody wants to know right now.
    Ok(ways.into_iter().filter(|(silent, _)| insist || !silent).map(|(_, endpoint)| endpoint).collect())
}

/// Asks the owner. The last answer that is one; an error says who was asked and why there is none: [`OpsError::Denied`] where all
/// have answered, and tell nothing.
pub(super) fn ask(
    grid: &Grid,
    owner: HomeId,
    asked: &Endpoint,
    question: &Question,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    ask_by(grid, &mut peers, (owner, asked), question, each)
}

fn ask_by(
    grid: &Grid,
    peers: &mut Relay,
    (owner, asked): (HomeId, &Endpoint),
    question: &Question,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let mut failures = Vec::new();
    let mut denied = true;
    let insist = !matches!(question, Question::States { .. });
    for endpoint in ways(&grid.store.view(), owner, asked, insist)? {
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

/// Asks the owner of a task for something. A cancel that it has not heard yet goes before it: whatever wakes its home could start
/// the task, or a release could.
pub fn verb(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    verb_until(grid, away, verb, Stop::default(), each)
}

/// The same, until that is due. That nobody listened then is no silence of the owner's.
pub fn verb_until(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    until: Stop,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    if !matches!(verb, Verb::Cancel { .. }) {
        tell_cancel(grid, away)?;
    }
    say(grid, away, verb, until, each)
}

/// Tells the owner a cancel that it has not heard yet, if there is one.
fn tell_cancel(grid: &mut Grid, away: &Away) -> Result<(), OpsError> {
    let Some(grace) = away.cancel else { return Ok(()) };
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    say(grid, away, Verb::Cancel { index: None, grace_ms }, Stop::default(), &mut silently)?;
    grid.store.write(Durability::Full, |tx| Ok(tx.cancel_told(away.task, grace)?))
}

fn say(
    grid: &mut Grid,
    away: &Away,
    verb: Verb,
    until: Stop,
    each: &mut dyn FnMut(Answer) -> bool,
) -> Result<Answer, OpsError> {
    let AwayState::By { home, .. } = away.held else {
        return Err(OpsError::Refused(format!(
            "task {}: nobody has said yet that it holds it; it is asked again by itself (`grid cancel --forget {}` gives it up)",
            away.task, away.task
        )));
    };
    let question = Question::Task { owner: home, user: None, uuid: away.uuid, verb };
    let mut peers = Relay::new(grid.store.home(), &grid.login).until(until);
    match ask_by(grid, &mut peers, (home, &away.asked), &question, each) {
        Err(error) if peers.is_stopped() => Err(error),
        Ok(Answer::Unknown(_)) => {
            gone(grid, &[away])?;
            Err(OpsError::Refused(format!("task {}: {}", away.task, why_gone(away.task))))
        }
        Ok(answer) => Ok(answer),
        Err(OpsError::Denied { summary, reasons }) => {
            unheard(grid, &[away.task])?;
            let summary = format!("task {}: refused where it is: {summary}", away.task);
            Err(OpsError::Denied { summary, reasons })
        }
        Err(error) => {
            unheard(grid, &[away.task])?;
            Err(OpsError::Refused(format!("task {}: no answer from where it is: {error}", away.task)))
        }
    }
}

/// Their home was reached and does not know these tasks: that is kept with them, until they are heard of again.
fn gone(grid: &mut Grid, tasks: &[&Away]) -> Result<(), OpsError> {
    if tasks.is_empty() {
        return Ok(());
    }
    grid.store.write(Durability::Normal, |tx| {
        tasks.iter().try_for_each(|away| Ok(tx.set_away_reason(away.task, &why_gone(away.task))?))
    })
}

fn why_gone(task: TaskId) -> String {
    format!(
        "its home does not know it any more: it was removed there, or that home was set back; `grid cancel --forget {task}` gives it up, `grid remove {task}` \
         drops one that has ended"
    )
}

/// A report of the owner, as this home's own would be.
pub fn report<T: DeserializeOwned>(grid: &mut Grid, away: &Away, what: Verb) -> Result<T, OpsError> {
    match verb(grid, away, what, &mut silently)? {
        Answer::Report(text) => serde_json::from_str(&text)
            .map_err(|error| OpsError::Grid(format!("task {}: its home's report can't be read: {error}", away.task))),
        other => Err(OpsError::Grid(words_of(other))),
    }
}

/// Hears how tasks elsewhere stand, each owner asked once. Those that can't be asked keep what was heard last.
pub fn refresh(grid: &mut Grid, tasks: &[Away]) -> Result<(), OpsError> {
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
            match ask(grid, owner, &asked, &question, &mut silently) {
                Ok(Answer::States(all)) => {
                    hear(grid, batch, &all)?;
                    let said: BTreeSet<_> = all.iter().map(|said| said.uuid).collect();
                    let unknown: Vec<&Away> = batch.iter().copied().filter(|t| !said.contains(&t.uuid)).collect();
                    gone(grid, &unknown)?;
                }
                _ => unheard(grid, &batch.iter().map(|t| t.task).collect::<Vec<_>>())?,
            }
        }
    }
    Ok(())
}

/// What came of a watch.
#[derive(Debug)]
pub enum WatchOutcome {
    Heard,
    /// Nobody answered, for this reason: asked again later.
    Silent(String),
    /// Whoever answered tells nothing of it, in these words: asked again later.
    Denied(String),
    /// Nothing will ever be told, and why.
    Gone(String),
}

/// Waits until the first of these has ended, as far as its owner tells; then all of them are as fresh. Or until `stop` is due.
pub fn watch(grid: &mut Grid, first: &Away, others: &[Away], stop: &Stop) -> Result<WatchOutcome, OpsError> {
    let AwayState::By { home, .. } = first.held else { return Ok(WatchOutcome::Heard) };
    let same =
        |task: &&Away| matches!(task.held, AwayState::By { home: h, .. } if h == home) && task.task != first.task;
    let asked: Vec<&Away> = std::iter::once(first).chain(others.iter().filter(same)).take(BATCH).collect();
    let question = Question::Watch { owner: home, user: None, uuids: asked.iter().map(|t| t.uuid).collect() };
    let mut peers = Relay::new(grid.store.home(), &grid.login).until(stop.clone());
    match ask_by(grid, &mut peers, (home, &first.asked), &question, &mut silently) {
        Ok(Answer::States(all)) => hear(grid, &asked, &all).map(|()| WatchOutcome::Heard),
        Ok(Answer::Unknown(_)) => {
            gone(grid, &[first])?;
            Ok(WatchOutcome::Gone(why_gone(first.task)))
        }
        Ok(other) => Ok(WatchOutcome::Denied(words_of(other))),
        Err(OpsError::Denied { summary, .. }) => Ok(WatchOutcome::Denied(summary)),
        Err(why) => Ok(WatchOutcome::Silent(why.to_string())),
    }
}

/// Takes in what an owner said of the tasks that it was asked about. What it says of others is not its to say.
fn hear(grid: &mut Grid, asked: &[&Away], all: &[Snapshot]) -> Result<(), OpsError> {
    let now = Timestamp::now();
    let asked: BTreeSet<TaskUuid> = asked.iter().map(|away| away.uuid).collect();
    grid.store.write(Durability::Full, |tx| {
        for said in all.iter().filter(|said| asked.contains(&said.uuid)) {
            if let (_, Some(task)) = tx.held_by_uuid(said.uuid)? {
                snapshot::hear(tx, task, said, now)?;
            }
        }
        Ok(())
    })
}

fn unheard(grid: &mut Grid, tasks: &[TaskId]) -> Result<(), OpsError> {
    let now = Timestamp::now();
    grid.store.write(Durability::Normal, |tx| {
        for task in tasks {
            tx.unheard_away(*task, now)?;
        }
        Ok(())
    })
}

/// What a person should know of the age of a state that was heard.
pub fn age(away: &Away, member: &str, now: Timestamp) -> Option<String> {
    let (AwayState::By { .. }, Some(_), Some(heard)) = (&away.held, away.tried_at, away.answered_at) else {
        return None;
    };
    Some(format!("no answer from {member} for {}", short(heard.age_at(now))))
}

/// Changes tasks of this home.
pub type Here<'f> = dyn FnMut(&mut Grid, &[Chosen]) -> Result<Vec<TaskChange>, OpsError> + 'f;
/// What is said of a task whose home does not answer, for this reason.
pub type Unheard<'f> = dyn FnMut(&mut Grid, &Away, Chosen, OpsError) -> Result<TaskChange, OpsError> + 'f;

/// Changes tasks: those of this home by `here`, those elsewhere by asking their homes. In the order in which they were chosen.
pub fn change(
    grid: &mut Grid,
    what: &[Chosen],
    verb_of: &dyn Fn(Chosen) -> Verb,
    here: &mut Here<'_>,
    unheard: &mut Unheard<'_>,
) -> Result<Vec<TaskChange>, OpsError> {
    let mut ours = Vec::new();
    let mut theirs = BTreeMap::new();
    for chosen in what {
        match away(grid, *chosen)? {
            None => ours.push(*chosen),
            Some(away) => {
                theirs.insert(
                    *chosen,
                    match report(grid, &away, verb_of(*chosen)) {
                        Ok(change) => TaskChange { id: chosen.to_string(), ..change },
                        Err(error) => unheard(grid, &away, *chosen, error)?,
                    },
                );
                refresh(grid, &[away])?;
            }
        }
    }
    let mut done = here(grid, &ours)?.into_iter();
    let of = |chosen: &Chosen| theirs.remove(chosen).or_else(|| done.next());
    Ok(what.iter().filter_map(of).collect())
}

/// A change that only the owner can make waits for nobody: it is told that it was not made.
pub fn not_made(_: &mut Grid, _: &Away, _: Chosen, error: OpsError) -> Result<TaskChange, OpsError> {
    Err(error)
}

/// Drains (with a reason) or resumes a server of a distributor in another home: asked there, or through any first tier that
/// knows the distributor.
pub fn manage(grid: &Grid, at: &Name, server: &Name, reason: Option<&str>) -> Result<(), OpsError> {
    let order = reason.map_or(ServerOrder::Resume, |reason| ServerOrder::Drain { reason: reason.to_owned() });
    let question = |at| Question::Manage { user: None, at, server: server.clone(), order: order.clone() };
    let (second, fronts) =
        (grid.store.view().distributors(Tier::Second)?, grid.store.view().distributors(Tier::First)?);
    let mut ways: Vec<(Endpoint, Question)> = Vec::new();
    ways.extend(second.into_iter().filter(|m| m.name == *at).map(|m| (m.endpoint, question(m.there))));
    ways.extend(fronts.into_iter().map(|m| (m.endpoint, question(Some(at.clone())))));
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut failures = Vec::new();
    for (endpoint, question) in ways.into_iter().filter(|(endpoint, _)| endpoint.is_elsewhere()) {
        match peers.ask(&endpoint, &question, &mut silently) {
            Ok(Answer::Done) => return Ok(()),
            Ok(other) => failures.push(format!("{endpoint}: {}", words_of(other))),
            Err(error) => failures.push(format!("{endpoint}: {error}")),
        }
    }
    if failures.is_empty() {
        return Err(OpsError::unknown("distributor", at.as_str(), []));
    }
    Err(OpsError::Refused(format!("{at}/{server}: {}", failures.join("; "))))
}

#[cfg(test)]
mod tests;
