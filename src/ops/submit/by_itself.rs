//! Submits by the command itself: with files, with many lines, into other homes, or if no dispatcher answers.

use super::inheritance::{EnvironmentRule, Inheritance};
use super::pack::{self, SentWorkplace};
use super::request::{SubmitRequest, completed, envelope, profile};
use super::submitted::{shown, shown_by_uuid};
use super::venv;
use crate::dispatch::client::relay::Relay;
use crate::distributor::context::TierContext;
use crate::distributor::dry;
use crate::distributor::front::{SERIES, series_end};
use crate::distributor::place::{PlacementRequest, SearchOutcome, place};
use crate::distributor::principal::Principal;
use crate::distributor::refusal::SearchRefusal;
use crate::distributor::tier2::TierError;
use crate::model::ambient::System;
use crate::model::failpoint::failpoint;
use crate::model::feature::{Feature, options};
use crate::model::id::{TaskId, TaskUuid};
use crate::model::inherited::Submitter;
use crate::model::task::Request;
use crate::model::time::Timestamp;
use crate::ops::draft::Draft;
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError, cancel, explain, remote, report};
use crate::store::tombstones::Refuses;
use crate::store::{Durability, Tx};
use std::path::Path;
use std::time::Duration;

/// Packs the files of a task into the spool, before anything else is written. It may take a while.
pub fn take_in(grid: &mut Grid, asked: &SubmitRequest) -> Result<SentWorkplace, OpsError> {
    pack::take(grid, Path::new(asked.draft.cwd.as_os()), &asked.draft.files)
}

/// Submits a task with its packed files; it is on the disk when this returns. [`OpsError::NoMatch`] if no server could ever run it,
/// [`OpsError::Denied`] if no home runs it for this user.
pub fn submit(
    grid: &mut Grid,
    asked: SubmitRequest,
    taken: SentWorkplace,
    submitter: &Submitter,
) -> Result<report::Submitted, OpsError> {
    let SubmitRequest { uuid, draft, open, .. } = asked;
    let (mut request, inheritance) = inheriting(grid, draft, submitter)?;
    (request.launch.workplace, request.launch.fetch) = (taken.workplace, taken.fetch);
    let environment =
        grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(inheritance.keep(tx, Timestamp::now())?))?;
    let principal = Principal::resident(grid.me.clone()).with(Some(environment));
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut order = PlacementRequest::new(envelope(uuid, &request)?, &request, &principal);
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
    let outcome = place(&mut context, &mut order).map_err(refusal)?;
    failpoint("client-committed");
    if request.launch.fetch.is_some() {
        pack::part_from_later_changes();
    }
    let (id, why) = match outcome {
        SearchOutcome::Here(id) => (id, None),
        SearchOutcome::Away(id) => {
            send_files(grid, id)?;
            (id, None)
        }
        SearchOutcome::Open { task, why } => (task, Some(why)),
        SearchOutcome::Refused(refused) => {
            let refused = no_member(refused, &request);
            // A dispatcher that did not answer may have accepted it, which counts; if not, the tombstone keeps it from accepting it later.
            let now = Timestamp::now();
            let taken = !open || grid.store.write(Durability::Full, |tx| tombstoned(tx, uuid, now))?;
            return if taken { Err(refused) } else { shown_by_uuid(&grid.store.view(), uuid) };
        }
    };
    let mut report = shown(&grid.store.view(), id)?;
    report.notes.extend(venv::note(&grid.store.view(), id, &request.launch.env)?);
    report.reason = report.reason.or(why);
    Ok(report)
}

/// The request of a draft, and what it inherits.
fn inheriting(grid: &Grid, mut draft: Draft, submitter: &Submitter) -> Result<(Request, Inheritance), OpsError> {
    let view = grid.store.view();
    let profile = profile(&view, &draft)?;
    let inheritance = Inheritance::new(submitter, &EnvironmentRule::of(&view, &draft, profile.as_ref())?)?;
    draft.env = inheritance.travelling.clone().with(draft.env);
    let request = completed(&view, draft, profile.as_ref(), grid.client.clone(), &grid.me)?;
    Ok((request, inheritance))
}

/// Sends the files of a task to the home that accepted it. If that fails the task is cancelled, so that it does not wait for them for ever.
fn send_files(grid: &mut Grid, task: TaskId) -> Result<(), OpsError> {
    let Some(away) = grid.store.view().away(task)? else { return Ok(()) };
    let Err(error) = remote::files::send(grid, &away) else { return Ok(()) };
    let cancelled = cancel::cancel(grid, &[Chosen { task, index: None }], Duration::from_secs(10));
    let and = if cancelled.is_ok() { "it is cancelled" } else { "`grid cancel` it" };
    Err(OpsError::Refused(format!("task {task}: its files could not be sent, {and}: {error}")))
}

/// Where the task would go now, and why. Nothing is written, here or in other homes.
pub fn dry_run(grid: &mut Grid, draft: Draft, submitter: &Submitter) -> Result<report::Explained, OpsError> {
    let (request, _) = inheriting(grid, draft, submitter)?;
    let principal = Principal::resident(grid.me.clone());
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut envelope = envelope(TaskUuid::new(), &request)?;
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
    let found = dry::search(&mut context, &mut envelope, &request, &principal).map_err(refusal)?;
    if let Some(why) = found.refused.as_ref().and_then(|refused| refused.waits_for.clone()) {
        return Ok(report::Explained { reason: Some(why), ..explain::of_search(found, Timestamp::now()) });
    }
    if let Some(refused) = found.refused {
        return Err(no_member(refused, &request));
    }
    Ok(explain::of_search(found, Timestamp::now()))
}

/// The error if no member accepts a task: no server could run it, no member answers, or none serves this user.
fn no_member(refusal: SearchRefusal, request: &Request) -> OpsError {
    let SearchRefusal { cause, mut reasons, denied, .. } = refusal;
    let summary = cause.into();
    let needed: Vec<&str> = request.features().map(Feature::name).collect();
    if denied && !needed.is_empty() {
        // An older grid can't name the feature itself.
        reasons.push(format!("an older grid refuses a task with {}: bring it up to date", options(&needed)));
    }
    if denied { OpsError::Denied { summary, reasons } } else { OpsError::NoMatch { summary, reasons } }
}

/// An error of the tiers as an error of verbs.
pub(in crate::ops) fn refusal(error: TierError) -> OpsError {
    match error {
        TierError::Store(error) => error.into(),
        TierError::Expression(error) => OpsError::Usage(error.to_string()),
        TierError::Denied(why) => OpsError::Refused(why),
    }
}

/// Refuses a uuid for good; false if a task has it.
fn tombstoned(tx: &Tx<'_>, uuid: TaskUuid, now: Timestamp) -> Result<bool, OpsError> {
    if tx.held_by_uuid(uuid)?.0.is_some() {
        return Ok(false);
    }
    tx.add_tombstone(uuid, series_end(SERIES), Refuses::Everybody, now)?;
    Ok(true)
}
