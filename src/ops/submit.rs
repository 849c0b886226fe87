//! Submit: client's first-tier set -> redirect -> second-tier set -> match -> store -> wake the dispatcher.

use super::desk::Sheet;
use super::draft::Draft;
use super::selecting::Chosen;
use super::sending::SentWorkplace;
use super::{Grid, OpsError, cancel, files_elsewhere, report, sending};
use crate::dispatch::client::relay::Relay;
use crate::distributor::dry;
use crate::distributor::fleets::Fleets;
use crate::distributor::front::{SERIES, series_end};
use crate::distributor::guest::Guest;
use crate::distributor::place::{PlacementRequest, SearchOutcome, place};
use crate::distributor::tier2::TierError;
use crate::distributor::walk::SearchRefusal;
use crate::distributor::within;
use crate::model::failpoint::failpoint;
use crate::model::feature::{Feature, options};
use crate::model::id::{Index, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::task::{ClientFacts, Request};
use crate::model::time::Timestamp;
use crate::protocol::envelope::Envelope;
use crate::protocol::seal;
use crate::store::tasks::Shape;
use crate::store::tombstones::Refuses;
use crate::store::{Durability, StoreError, Tx, View};
use std::path::Path;
use std::time::Duration;

/// Takes in what is sent with a task: it lies in the spool before anything else is written. It may take a while.
pub fn take_in(grid: &mut Grid, sheet: &Sheet) -> Result<SentWorkplace, OpsError> {
    sending::take(grid, Path::new(sheet.draft.cwd.as_os()), &sheet.draft.files)
}

/// Submits a task with what was taken in for it; it is on the disk when this returns. [`OpsError::NoMatch`] where nothing could ever run it,
/// [`OpsError::Denied`] where nobody runs it for this user.
pub fn submit(grid: &mut Grid, sheet: Sheet, taken: SentWorkplace) -> Result<report::Submitted, OpsError> {
    let Sheet { uuid, draft, open, .. } = sheet;
    let mut request = completed(&grid.store.view(), draft, grid.client.clone(), &grid.me)?;
    (request.launch.workplace, request.launch.fetch) = (taken.workplace, taken.fetch);
    let guest = Guest::resident(grid.me.clone());
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut order = PlacementRequest::new(envelope(uuid, &request)?, &request, &guest);
    let outcome = place(&mut grid.store, &mut peers, &mut order).map_err(refusal)?;
    failpoint("client-committed");
    if request.launch.fetch.is_some() {
        sending::part_from_later_changes();
    }
    let (id, why) = match outcome {
        SearchOutcome::Here(id) => (id, None),
        SearchOutcome::Away(id) => {
            send_files(grid, id)?;
            (id, None)
        }
        SearchOutcome::Open { task, why } => (task, Some(why)),
        SearchOutcome::Refused(refused) => {
            let refused = nobody(refused, &request);
            // A dispatcher that was asked before and did not answer may still come to it: if it took it, that counts, else never.
            let now = Timestamp::now();
            let taken = !open || grid.store.write(Durability::Full, |tx| buried(tx, uuid, now))?;
            return if taken { Err(refused) } else { shown_by_uuid(&grid.store.view(), uuid) };
        }
    };
    let mut report = shown(&grid.store.view(), id)?;
    report.reason = report.reason.or(why);
    Ok(report)
}

/// The same within a transaction of the dispatcher, for a task that stays in this home; None: the command has to do it by itself.
pub fn within(tx: &Tx<'_>, fleets: &mut Fleets, sheet: Sheet) -> Result<Option<report::Submitted>, OpsError> {
    if let (Some(task), _) = tx.held_by_uuid(sheet.uuid)? {
        return shown(tx, task).map(Some);
    }
    let request = completed(tx, sheet.draft, sheet.client, &sheet.me)?;
    let guest = Guest::resident(sheet.me);
    let placed = within::place(tx, fleets, envelope(sheet.uuid, &request)?, &guest).map_err(refusal)?;
    placed.map(|task| shown(tx, task)).transpose()
}

/// What was submitted with a task follows it to the home that took it. Where that fails the task must not wait for it for ever.
fn send_files(grid: &mut Grid, task: TaskId) -> Result<(), OpsError> {
    let Some(away) = grid.store.view().away(task)? else { return Ok(()) };
    let Err(error) = files_elsewhere::send(grid, &away) else { return Ok(()) };
    let cancelled = cancel::cancel(grid, &[Chosen { task, index: None }], Duration::from_secs(10));
    let and = if cancelled.is_ok() { "it is cancelled" } else { "`grid cancel` it" };
    Err(OpsError::Refused(format!("task {task}: its files did not get through, {and}: {error}")))
}

/// Where the task would go now and why; nothing is written, and no other home takes anything.
pub fn dry_run(grid: &mut Grid, draft: Draft) -> Result<report::Explained, OpsError> {
    let request = completed(&grid.store.view(), draft, grid.client.clone(), &grid.me)?;
    let guest = Guest::resident(grid.me.clone());
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut envelope = envelope(TaskUuid::new(), &request)?;
    let found = dry::search(&mut grid.store, &mut peers, &mut envelope, &request, &guest).map_err(refusal)?;
    if let Some(refused) = found.refused {
        return Err(nobody(refused, &request));
    }
    Ok(super::explain::of_search(found, Timestamp::now()))
}

/// What was typed, with its profile merged in, by a user whom this home knows.
fn completed(view: &View<'_>, draft: Draft, host: ClientFacts, me: &Name) -> Result<Request, OpsError> {
    let request = match draft.profile.clone() {
        None => draft.into_request(None, host)?,
        Some(name) => {
            let profile = view.profile(name.as_str())?;
            if profile.is_none() {
                let known = view.profiles()?;
                return Err(OpsError::unknown("profile", name.as_str(), known.iter().map(|p| p.name.as_str())));
            }
            draft.into_request(profile.as_ref(), host)?
        }
    };
    let name = request.user.as_ref().unwrap_or(me);
    if !view.knows_user(name.as_str())? {
        let known = view.users()?;
        return Err(OpsError::unknown("user", name.as_str(), known.iter().map(|u| u.name.as_str())));
    }
    travelling(view, request, me)
}

/// Where the task may leave this home, what this home knows of its user goes with it: the requirement is and-ed, the
/// preference fills in where the task has none.
fn travelling(view: &View<'_>, mut request: Request, me: &Name) -> Result<Request, OpsError> {
    // A task of another user does not leave.
    if request.user.is_none()
        && view.reaches_elsewhere()?
        && let Some(user) = view.user(me.as_str())?
    {
        let own = request.demand.constraint.take();
        request.demand.constraint = match (own, user.constraint) {
            (Some(own), Some(his)) => Some(format!("({own}) && ({his})").into()),
            (own, his) => own.or(his.map(Into::into)),
        };
        request.demand.prefer = request.demand.prefer.take().or(user.prefer.map(Into::into));
    }
    Ok(request)
}

fn envelope(uuid: TaskUuid, request: &Request) -> Result<Envelope, OpsError> {
    let (sealed, list) = seal::seal(request).map_err(|e| OpsError::Usage(e.to_string()))?;
    Ok(Envelope { version: 1, uuid, round: SERIES, user: None, hops: 0, sealed, list })
}

/// Nobody takes it: there is nothing that could run it, nobody there, or nobody who does it for this user.
fn nobody(refusal: SearchRefusal, request: &Request) -> OpsError {
    let SearchRefusal { summary, mut reasons, denied, .. } = refusal;
    let needed: Vec<&str> = request.features().map(Feature::name).collect();
    if denied && !needed.is_empty() {
        // An older grid can't say this itself.
        reasons.push(format!("an older grid refuses a task with {}: bring it up to date", options(&needed)));
    }
    if denied { OpsError::Denied { summary, reasons } } else { OpsError::NoMatch { summary, reasons } }
}

pub(super) fn refusal(error: TierError) -> OpsError {
    match error {
        TierError::Store(error) => error.into(),
        TierError::Expression(error) => OpsError::Usage(error.to_string()),
        TierError::Denied(why) => OpsError::Refused(why),
    }
}

/// Refuses a uuid for good; false if a task has it.
fn buried(tx: &Tx<'_>, uuid: TaskUuid, now: Timestamp) -> Result<bool, OpsError> {
    if tx.held_by_uuid(uuid)?.0.is_some() {
        return Ok(false);
    }
    tx.bury(uuid, series_end(SERIES), Refuses::Everybody, now)?;
    Ok(true)
}

/// The task that was just submitted, as this home knows it. Where the home was replaced since, the id is another task's, or nobody's.
pub fn chosen(grid: &Grid, report: &report::Submitted) -> Result<Chosen, OpsError> {
    let uuid = uuid::Uuid::parse_str(&report.uuid).ok().map(TaskUuid);
    match uuid.map(|uuid| grid.store.view().held_by_uuid(uuid)).transpose()? {
        Some((Some(task), _) | (None, Some(task))) => Ok(Chosen { task, index: None }),
        _ => Err(StoreError::Gone { home: grid.store.home().dir().to_owned() }.into()),
    }
}

fn shown_by_uuid(view: &View<'_>, uuid: TaskUuid) -> Result<report::Submitted, OpsError> {
    let (task, _) = view.held_by_uuid(uuid)?;
    shown(view, task.ok_or_else(|| OpsError::unknown("task", &uuid.to_string(), []))?)
}

fn shown(view: &View<'_>, task: TaskId) -> Result<report::Submitted, OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    Ok(report_of(view, &row))
}

/// The head of every report about a task.
pub(super) fn report_of(view: &View<'_>, row: &crate::store::tasks::TaskRow) -> report::Submitted {
    let member = if row.shape == Shape::Single { view.member(row.id, Index(0)).ok().flatten() } else { None };
    let server = member.and_then(|m| m.server).and_then(|id| view.server_name(id).ok().flatten());
    report::Submitted {
        id: row.id.to_string(),
        uuid: row.uuid.to_string(),
        state: row.state(),
        reason: row.reason_in(row.state()).filter(|_| !row.state().ended()),
        server: server.map(|name| name.to_string()),
        route: vec![row.tier1.clone(), row.tier2.clone()],
        size: (row.shape != Shape::Single).then_some(row.size),
    }
}
