//! Questions about tasks: answered where the task lives, passed on by a first tier that knows its home.

use super::identity::Identity;
use super::{ServeSession, files};
use crate::dispatch::client::relay::Relay;
use crate::distributor::peers::Peers;
use crate::distributor::snapshot;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, Index, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::user::Role;
use crate::ops::follow::{self, FollowEvent, NEVER_STARTED, WAITS};
use crate::ops::logs::{self, LogRequest};
use crate::ops::reader::Follower;
use crate::ops::remove::{self, Removal};
use crate::ops::selecting::Chosen;
use crate::ops::{
    Grid, OpsError, cancel, dispatcher, explain, hold, member_state, release, retry, shell_code, show, wait,
};
use crate::protocol::distributor::{
    Answer, HEARD_SINCE, HeardEnd, PIECE_MAX, Question, SILENCE_SINCE, Snapshot, Ticket, Verb,
};
use crate::store::{Durability, StoreError, View};
use serde::Serialize;
use std::time::Duration;

/// A question under way: its session, its ticket, and who asks.
pub struct OpenQuestion<'s> {
    pub session: &'s ServeSession,
    pub ticket: Ticket,
    pub identity: Identity,
}

impl OpenQuestion<'_> {
    fn is_dropped(&self) -> bool {
        self.session.is_dropped(self.ticket)
    }

    pub fn user(&self) -> Option<Name> {
        self.identity.name().cloned()
    }
}

/// Answers [`Question::Task`].
pub fn task(
    asked: &OpenQuestion<'_>,
    grid: &mut Grid,
    owner: HomeId,
    uuid: TaskUuid,
    verb: Verb,
) -> Result<Answer, OpsError> {
    if owner != grid.store.view().home_row()?.id {
        let question = Question::Task { owner, user: asked.user(), uuid, verb };
        return relayed(asked, grid, owner, &question);
    }
    let what = chosen(grid, uuid, index_of(&verb))?;
    permit(grid, &asked.identity, what, uuid, needed(&verb))?;
    if matches!(verb, Verb::Remove { .. }) {
        own(grid, &asked.identity, what)?;
    }
    let theirs = is_theirs(grid, &asked.identity, what.task)?;
    here(asked, grid, what, verb, theirs)
}

/// Answers [`Question::Watch`] once the first task has ended.
pub fn watch(
    asked: &OpenQuestion<'_>,
    grid: &mut Grid,
    owner: HomeId,
    uuids: Vec<TaskUuid>,
) -> Result<Answer, OpsError> {
    if owner != grid.store.view().home_row()?.id {
        return states_there(asked, grid, owner, &Question::Watch { owner, user: asked.user(), uuids });
    }
    if let Some(first) = uuids.first() {
        let what = chosen(grid, *first, None)?;
        permit(grid, &asked.identity, what, *first, Role::SeeAll)?;
        wait::wait(grid, &[what], &mut |_| !asked.is_dropped())?;
    }
    states_here(asked, grid, uuids)
}

/// Answers [`Question::States`].
pub fn states(
    asked: &OpenQuestion<'_>,
    grid: &mut Grid,
    owner: HomeId,
    uuids: Vec<TaskUuid>,
) -> Result<Answer, OpsError> {
    if owner != grid.store.view().home_row()?.id {
        return states_there(asked, grid, owner, &Question::States { owner, user: asked.user(), uuids });
    }
    states_here(asked, grid, uuids)
}

/// Answers [`Question::Heard`]. An end counts as heard when its client has recorded it: a client that dies with the answer asks again.
pub fn confirmed(
    asked: &OpenQuestion<'_>,
    grid: &mut Grid,
    owner: HomeId,
    ends: Vec<HeardEnd>,
) -> Result<Answer, OpsError> {
    if owner != grid.store.view().home_row()?.id {
        return pass_on(asked, grid, owner, &Question::Heard { owner, user: asked.user(), ends });
    }
    let mut known = Vec::with_capacity(ends.len());
    for end in ends {
        if let Some(task) = grid.store.view().held_by_uuid(end.uuid)?.0
            && is_theirs(grid, &asked.identity, task)?
        {
            known.push((task, end));
        }
    }
    heard(grid, &known)?;
    Ok(Answer::Done)
}

/// States from another home. A caller that can't confirm ends has heard what it was sent.
fn states_there(asked: &OpenQuestion<'_>, grid: &Grid, owner: HomeId, question: &Question) -> Result<Answer, OpsError> {
    let answer = relayed(asked, grid, owner, question)?;
    if let Answer::States(all) = &answer
        && asked.session.version < HEARD_SINCE
    {
        let ends: Vec<HeardEnd> = all.iter().filter_map(Snapshot::end).collect();
        if !ends.is_empty() {
            // Lost, it keeps the tasks at their owner until someone discards them.
            let _ = pass_on(asked, grid, owner, &Question::Heard { owner, user: asked.user(), ends });
        }
    }
    Ok(answer)
}

fn states_here(asked: &OpenQuestion<'_>, grid: &mut Grid, uuids: Vec<TaskUuid>) -> Result<Answer, OpsError> {
    let mut all = Vec::with_capacity(uuids.len());
    let mut told = Vec::with_capacity(uuids.len());
    for uuid in uuids {
        let Some(task) = grid.store.view().held_by_uuid(uuid)?.0 else { continue };
        if permit(grid, &asked.identity, Chosen { task, index: None }, uuid, Role::SeeAll).is_ok() {
            let state = snapshot::of(&grid.store.view(), task)?;
            if let Some(end) = state.end()
                && is_theirs(grid, &asked.identity, task)?
            {
                told.push((task, end));
            }
            all.push(state);
        }
    }
    if asked.session.version < HEARD_SINCE {
        heard(grid, &told)?;
    }
    // As each command of this home does: its dispatcher may have been killed.
    if all.iter().any(|state| state.end().is_none())
        && let Err(error) = dispatcher::wake(grid)
    {
        tracing::warn!("the dispatcher was not woken: {error}");
    }
    Ok(Answer::States(all))
}

/// Passes a question on. That its home does not answer is no refusal; an older caller is told in the words of one.
fn relayed(asked: &OpenQuestion<'_>, grid: &Grid, owner: HomeId, question: &Question) -> Result<Answer, OpsError> {
    match pass_on(asked, grid, owner, question) {
        Err(error) if asked.session.version >= SILENCE_SINCE => Ok(Answer::No { why: error.to_string() }),
        other => other,
    }
}

/// Passes a question on to another home that this one knows.
pub fn pass_on(asked: &OpenQuestion<'_>, grid: &Grid, owner: HomeId, question: &Question) -> Result<Answer, OpsError> {
    let OpenQuestion { session, ticket, .. } = asked;
    let known = grid.store.view().distributors(Tier::Second)?;
    let endpoint: Option<Endpoint> =
        known.into_iter().find(|m| m.endpoint.is_elsewhere() && m.home == Some(owner)).map(|m| m.endpoint);
    let Some(endpoint) = endpoint else {
        return Ok(Answer::Denied(format!("the home {owner} is not known here")));
    };
    let mut each = |word| {
        session.pour(*ticket, word);
        !asked.is_dropped()
    };
    // The other end hears that we are here, whatever becomes of the question.
    session.say(*ticket, Answer::Working, false);
    Relay::new(grid.store.home(), &grid.login)
        .ask(&endpoint, question, &mut each)
        .map_err(|error| OpsError::Refused(format!("{endpoint}: {error}")))
}

fn chosen(grid: &Grid, uuid: TaskUuid, index: Option<Index>) -> Result<Chosen, OpsError> {
    let task = grid.store.view().held_by_uuid(uuid)?.0;
    task.map(|task| Chosen { task, index }).ok_or_else(|| unknown(uuid))
}

fn unknown(uuid: TaskUuid) -> OpsError {
    OpsError::unknown("task", &uuid.to_string(), [])
}

/// One's own tasks need no role.
fn permit(grid: &Grid, identity: &Identity, what: Chosen, uuid: TaskUuid, needed: Role) -> Result<(), OpsError> {
    if identity.may(needed) || is_theirs(grid, identity, what.task)? {
        return Ok(());
    }
    // The answer does not tell that the task exists.
    Err(unknown(uuid))
}

/// Only its user and the owner of the home remove a task, whatever role another user has.
fn own(grid: &Grid, identity: &Identity, what: Chosen) -> Result<(), OpsError> {
    if is_theirs(grid, identity, what.task)? {
        return Ok(());
    }
    Err(OpsError::Refused(format!("task {what} is another user's: only that user, or the owner here, may remove it")))
}

/// Does this caller stand for the client of a task: its user, or the owner of this home? Other users with a role may look at it; what
/// they read does not count as read by its client.
fn is_theirs(grid: &Grid, identity: &Identity, task: TaskId) -> Result<bool, OpsError> {
    let Some(name) = identity.name() else { return Ok(true) };
    Ok(grid.store.view().task(task)?.is_some_and(|row| row.user == *name))
}

/// Records that the client of these tasks has heard of their ends.
fn heard(grid: &mut Grid, ends: &[(TaskId, HeardEnd)]) -> Result<(), OpsError> {
    let is_news = |view: &View<'_>, (task, end): (TaskId, HeardEnd)| {
        let row = if view.is_unheard(task)? { view.task(task)? } else { None };
        Ok::<_, StoreError>(row.is_some_and(|row| row.counts.unended() == 0 && row.ended_at == end.ended_at))
    };
    let view = grid.store.view();
    let mut news = Vec::new();
    for end in ends {
        if is_news(&view, *end)? {
            news.push(*end);
        }
    }
    if news.is_empty() {
        return Ok(());
    }
    grid.store.write(Durability::Normal, |tx| {
        for (task, end) in news {
            // It may have been started again meanwhile.
            if is_news(tx, (task, end))? {
                tx.mark_heard(task)?;
            }
        }
        Ok(())
    })
}

const fn index_of(verb: &Verb) -> Option<Index> {
    match verb {
        Verb::Show { index }
        | Verb::Explain { index }
        | Verb::Cancel { index, .. }
        | Verb::Hold { index }
        | Verb::Release { index }
        | Verb::Retry { index, .. }
        | Verb::Wait { index }
        | Verb::Logs { index, .. }
        | Verb::Follow { index, .. }
        | Verb::Fetched { index } => *index,
        Verb::Fetch { .. } | Verb::Send { .. } | Verb::Remove { .. } => None,
    }
}

const fn needed(verb: &Verb) -> Role {
    match verb {
        Verb::Show { .. }
        | Verb::Explain { .. }
        | Verb::Wait { .. }
        | Verb::Logs { .. }
        | Verb::Follow { .. }
        | Verb::Fetched { .. }
        | Verb::Fetch { .. } => Role::SeeAll,
        Verb::Cancel { .. }
        | Verb::Hold { .. }
        | Verb::Release { .. }
        | Verb::Retry { .. }
        | Verb::Send { .. }
        | Verb::Remove { .. } => Role::Operate,
    }
}

/// Carries out a verb on a task of this home. `theirs`: the caller stands for the task's client.
fn here(asked: &OpenQuestion<'_>, grid: &mut Grid, what: Chosen, verb: Verb, theirs: bool) -> Result<Answer, OpsError> {
    let &OpenQuestion { session, ticket, .. } = asked;
    match verb {
        Verb::Send { offset, bytes } => files::take(grid, what, offset, &bytes),
        Verb::Remove { discard } => session.at_work(ticket, || {
            let how = Removal { discard, all_or_none: true, by_client: true, ..Removal::default() };
            report(Some(remove::remove(grid, &[what], how)?))
        }),
        Verb::Fetched { .. } => files::list(grid, what),
        Verb::Fetch { index, offset } => {
            files::give(asked, grid, files::Rest { task: what.task, index, offset }, theirs)
        }
        Verb::Show { .. } => report(show::show(grid, &[what])?.pop()),
        Verb::Explain { .. } => session.at_work(ticket, || report(Some(explain::explain(grid, what)?))),
        Verb::Cancel { grace_ms, .. } => {
            let cancelled = cancel::cancel(grid, &[what], Duration::from_millis(grace_ms))?.pop();
            if let Some(sent) = grid.store.view().files_of(what.task)?.0.sent() {
                files::drop_part(grid, sent)?;
            }
            report(cancelled)
        }
        Verb::Hold { .. } => report(hold::hold(grid, &[what])?.pop()),
        Verb::Release { .. } => report(release::release(grid, &[what])?.pop()),
        Verb::Retry { failed_only, .. } => report(retry::retry(grid, &[what], failed_only, None)?.pop()),
        Verb::Wait { .. } => {
            wait::wait(grid, &[what], &mut |_| !asked.is_dropped())?;
            let view = grid.store.view();
            let (code, exit_code) = shell_code(&view, what)?;
            Ok(Answer::Ended { state: member_state(&view, what)?, code, exit_code })
        }
        Verb::Logs { streams, attempt, .. } => {
            logs::logs(grid, what, &LogRequest { streams, attempt }, &mut |event| pour(asked, event))?;
            Ok(Answer::Done)
        }
        Verb::Follow { streams, .. } => {
            let follower = &mut Follower::default();
            let ending = follow::follow(grid, what, &streams, follower, &mut |event| pour(asked, event))?;
            let (_, exit_code) = shell_code(&grid.store.view(), what)?;
            Ok(Answer::Ended { state: ending.state, code: ending.code, exit_code })
        }
    }
}

fn report<T: Serialize>(report: Option<T>) -> Result<Answer, OpsError> {
    let text = serde_json::to_string(&report).map_err(|error| OpsError::Grid(error.to_string()))?;
    Ok(Answer::Report(text))
}

/// Sends outputs in pieces. An error: the caller has dropped the question.
fn pour(asked: &OpenQuestion<'_>, event: FollowEvent<'_>) -> std::io::Result<()> {
    let &OpenQuestion { session, ticket, .. } = asked;
    if asked.is_dropped() {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    }
    match event {
        FollowEvent::Output { index, stream, bytes } => {
            for piece in bytes.chunks(PIECE_MAX) {
                session.pour(ticket, Answer::Output { index, stream, bytes: piece.to_vec() });
            }
        }
        FollowEvent::Member(_, index) => session.say(ticket, Answer::Member(index), false),
        FollowEvent::Note(text) => session.say(ticket, Answer::Note(text.to_owned()), false),
        FollowEvent::Waits { reason, .. } => session.say(ticket, Answer::Note(format!("{WAITS}{reason}")), false),
        FollowEvent::NeverStarted { state, .. } => {
            session.say(ticket, Answer::Note(format!("{NEVER_STARTED}{state}")), false);
        }
        FollowEvent::Still => {}
    }
    Ok(())
}
