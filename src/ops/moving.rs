//! `grid move`: a task that waits in one home goes to another one that could start it now.

use super::remote::{files, states};
use super::report::TaskChange;
use super::selecting::Chosen;
use super::submit::{refusal, travelling};
use super::{Grid, OpsError, member_state};
use crate::dispatch::client::relay::Relay;
use crate::distributor::context::TierContext;
use crate::distributor::dry::{self, DryRun};
use crate::distributor::front::SERIES;
use crate::distributor::moving::{self, MoveOutcome};
use crate::distributor::owner::unknown_there;
use crate::distributor::principal::Principal;
use crate::distributor::reconcile::Reconciled;
use crate::model::ambient::System;
use crate::model::distributor::Tier;
use crate::model::id::{TaskId, TaskUuid};
use crate::model::task::{Request, State};
use crate::model::time::Timestamp;
use crate::protocol::envelope::{Envelope, Sealed};
use crate::protocol::seal;
use crate::store::View;
use crate::store::away::{Away, AwayState};
use crate::store::tasks::TaskRow;

/// Keeps the choices that wait for a server, and those that are held: they are named.
pub fn retain_waiting(grid: &Grid, what: &mut Vec<Chosen>) -> Result<(), OpsError> {
    let view = grid.store.view();
    let states = what.iter().map(|chosen| member_state(&view, *chosen)).collect::<Result<Vec<_>, _>>()?;
    let mut states = states.into_iter();
    what.retain(|_| matches!(states.next(), Some(State::Pending | State::Held)));
    Ok(())
}

/// Moves tasks, one after the other. A task that stays is not changed; its note says why.
pub fn move_tasks(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<TaskChange>, OpsError> {
    if let Some(member) = what.iter().find(|chosen| chosen.index.is_some()) {
        let task = member.task;
        return Err(OpsError::Usage(format!("{member}: a member moves with its task only: grid move {task}")));
    }
    what.iter().map(|chosen| move_one(grid, *chosen)).collect()
}

/// The note on a task that went to another home between the look at it and the change.
pub(super) const HAS_JUST_MOVED: &str = "it has just moved to another home: try again";

fn move_one(grid: &mut Grid, chosen: Chosen) -> Result<TaskChange, OpsError> {
    let (changed, note) = match attempt(grid, chosen.task)? {
        Ok(gave_up) => {
            let row = row_of(grid, chosen)?;
            let placed = gave_up.reconciled == Reconciled::Placed && !row.tier2.is_empty();
            let is_there = placed && row.tier2 != gave_up.from;
            (if is_there { row.size } else { 0 }, moved(grid, &row, &gave_up)?)
        }
        Err(why) => (0, why),
    };
    let state = member_state(&grid.store.view(), chosen)?;
    Ok(TaskChange { id: chosen.to_string(), state, changed, note: Some(note) })
}

/// A task that its home gave up.
struct GaveUp {
    /// The distributor that it waited in.
    from: String,
    reconciled: Reconciled,
}

/// Moves a task; an error is the reason why it stays. What it is itself comes first (ended, begun, held), then whose it is, then
/// whether it would help.
fn attempt(grid: &mut Grid, task: TaskId) -> Result<Result<GaveUp, String>, OpsError> {
    let stays = |why: String| Ok(Err(format!("not moved: {why}")));
    let known = grid.store.view().away(task)?;
    if let Some(away @ Away { held: AwayState::By { .. }, .. }) = known
        && !states::refresh(grid, &[away])?.is_empty()
    {
        let row = grid.store.view().task(task)?;
        let holder = row.as_ref().map_or("its home", TaskRow::holder);
        return stays(format!("{holder}: {}", unknown_there(task, false)));
    }
    // As its owner told it just now, and both of one moment: a task that is given up meanwhile waits nowhere.
    let (away, row) = grid.store.read(|view| {
        let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
        Ok::<_, OpsError>((view.away(task)?, row))
    })?;
    if row.state().ended() {
        return stays(format!("it has ended: {}", row.state()));
    }
    if away.as_ref().is_some_and(|away| !matches!(away.held, AwayState::By { .. })) {
        return stays("no home has confirmed yet that it holds it".to_owned());
    }
    let from = row.tier2.clone();
    if let Some(silence) = away.as_ref().and_then(|away| states::silence(away, &from, Timestamp::now())) {
        return stays(format!("{silence}; nothing has changed"));
    }
    let view = grid.store.view();
    let why = match &away {
        Some(_) => row.why_stays(),
        None => view.why_stays(task)?,
    };
    if let Some(why) = why {
        return stays(why.to_string());
    }
    if away.is_none() && view.is_foreign(task)? {
        return stays("it was submitted in another home, which alone can move it".to_owned());
    }
    if let Some(sent) = view.files_of(task)?.0.sent()
        && !view.has_bundle(sent.bundle)?
    {
        return stays("what was sent with it is gone from this home".to_owned());
    }
    let Some(request) = request_of(grid, &row, away.as_ref())? else {
        return stays("what was submitted can't be read".to_owned());
    };
    let found = search(grid, &request)?;
    match found.now {
        Some(member) if member == from => return stays(format!("{from} could start it now itself")),
        Some(_) => {}
        None => {
            let others = match found.partial {
                true => "no other distributor that answers could start it now, and some give no answer",
                false => "no other distributor could start it now",
            };
            return stays(format!("{others}{}; it waits in {from}", answers(&found, &from)));
        }
    }
    let principal = Principal::resident(grid.me.clone());
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
    let outcome = match away {
        Some(_) => moving::move_away(&mut context, row.id, &principal),
        None => moving::move_own(&mut context, row.id, &request, &principal),
    };
    match outcome.map_err(refusal)? {
        MoveOutcome::GivenUp(reconciled) => Ok(Ok(GaveUp { from, reconciled })),
        MoveOutcome::Stays(why) => stays(format!("{from}: {why}")),
        MoveOutcome::Unsure(why) => Ok(Err(format!("{from} has not answered yet: {why}"))),
    }
}

/// What became of a task that its home gave up.
fn moved(grid: &mut Grid, row: &TaskRow, GaveUp { from, reconciled }: &GaveUp) -> Result<String, OpsError> {
    if row.state() == State::Cancelled {
        return Ok(format!("not moved: {from} gave it up, and it was cancelled meanwhile"));
    }
    if *reconciled != Reconciled::Placed || row.tier2.is_empty() {
        let why = row.reason.as_ref().map_or("it is searched for again", |reason| reason.words());
        return Ok(format!("{from} gave it up; {why}"));
    }
    let moved = match row.tier2.as_str() {
        to if to == from => {
            format!(
                "not moved: {from} gave it up, no other distributor took it, and {from} has it again, at the end of its queue: {}",
                row.state()
            )
        }
        to => format!("moved from {from} to {to}"),
    };
    let Some(away) = grid.store.view().away(row.id)? else { return Ok(moved) };
    Ok(match files::send(grid, &away) {
        Ok(()) => moved,
        Err(error) => format!("{moved}; its files are not there yet, `grid wait {}` sends them: {error}", row.id),
    })
}

fn row_of(grid: &Grid, chosen: Chosen) -> Result<TaskRow, OpsError> {
    grid.store.view().task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.to_string(), []))
}

/// A distributor to which a task could move: not the one that it waits in, and one that could start it now. An extra of other
/// answers: None if the others can't be asked.
pub(super) fn destination(grid: &mut Grid, row: &TaskRow, away: Option<&Away>) -> Option<String> {
    could_start_now(grid, row, away).unwrap_or_else(|error| {
        tracing::warn!("task {}: other distributors were not asked: {error}", row.id);
        None
    })
}

fn could_start_now(grid: &mut Grid, row: &TaskRow, away: Option<&Away>) -> Result<Option<String>, OpsError> {
    let view = grid.store.view();
    let stays = match away {
        // Its owner decides; of a task of which a part runs or is held, it is known that it stays.
        Some(_) => row.why_stays().is_some(),
        None => !has_others(&view)? || view.is_foreign(row.id)? || view.why_stays(row.id)?.is_some(),
    };
    if stays {
        return Ok(None);
    }
    let Some(request) = request_of(grid, row, away)? else { return Ok(None) };
    Ok(search(grid, &request)?.now.filter(|member| *member != row.tier2))
}

/// Does this home know another distributor than one that takes tasks here?
fn has_others(view: &View<'_>) -> Result<bool, OpsError> {
    Ok(view.reaches_elsewhere()? || view.distributors(Tier::Second)?.len() > 1)
}

/// A task as it is offered to others; None: it can't be read.
fn request_of(grid: &Grid, row: &TaskRow, away: Option<&Away>) -> Result<Option<Request>, OpsError> {
    let view = grid.store.view();
    if away.is_some() {
        let Some(kept) = view.sealed(row.id)? else { return Ok(None) };
        return Ok(seal::open(&Sealed::from_bytes(kept.sealed)).ok());
    }
    let Some(request) = view.request_of(row)? else { return Ok(None) };
    // A task of another user stays among the distributors of this home.
    let user = Some(row.user.clone()).filter(|user| *user != grid.me);
    travelling(&view, Request { user, ..request }, &grid.me).map(Some)
}

/// Searches, taking nothing. Under a uuid of its own: the task itself is known where it waits.
fn search(grid: &mut Grid, request: &Request) -> Result<DryRun, OpsError> {
    let (sealed, _) = seal::seal(request).map_err(|error| OpsError::Usage(error.to_string()))?;
    let uuid = TaskUuid::new();
    let mut envelope = Envelope { version: 1, uuid, round: SERIES, user: None, hops: 0, sealed, list: None };
    let principal = Principal::resident(grid.me.clone());
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
    dry::search(&mut context, &mut envelope, request, &principal).map_err(refusal)
}

/// What the others answered: ` (lab-y: could run it later: ..)`.
fn answers(found: &DryRun, from: &str) -> String {
    let searched = found.trace.tiers[1].searched.iter().filter(|searched| searched.distributor != from);
    let all: Vec<String> = searched.map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
}
