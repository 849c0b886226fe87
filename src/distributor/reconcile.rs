//! Searches that were left open: a distributor that was asked to take a task is asked again until it has said yes or no. After a
//! no of every home that could hold the task, the search is resumed.

use super::context::TierContext;
use super::front::{self, Sought, next_series, series_end};
use super::moving;
use super::owner::{self, OwnerHome, unknown_there};
use super::peers::{PeerError, silently};
use super::place::{PlacementRequest, SearchOutcome, place};
use super::principal::Principal;
use super::search_lock::SearchLock;
use super::snapshot;
use super::tier2::TierError;
use crate::model::bounds;
use crate::model::distributor::{Endpoint, Tier};
use crate::model::id::HomeId;
use crate::protocol::distributor::{Answer, Question, Verb};
use crate::protocol::envelope::{Envelope, Sealed};
use crate::protocol::seal;
use crate::store::away::{Away, AwayState, KeptEnvelope};
use crate::store::{Durability, StoreError};
use std::time::Duration;

/// What came of asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// A home holds it.
    Placed,
    /// No home takes it now; the search is resumed later.
    Nobody,
    /// A home that may hold it does not answer.
    Open,
    /// A command is still at it.
    GoingOn,
}

/// Asks the distributor that was asked last, within the search.
pub fn ask(
    context: &mut TierContext<'_>,
    order: &PlacementRequest<'_>,
    endpoint: &Endpoint,
    among: &[HomeId],
) -> Result<Result<Answer, PeerError>, StoreError> {
    let asked_at = order.client.row.map_or(Ok(None), |row| context.store.view().away(row))?.map(|away| away.asked_at);
    let now = context.now();
    let sought = Sought {
        uuid: order.envelope.uuid,
        round: series_end(order.envelope.round),
        onward: true,
        age: asked_at.map_or(Duration::MAX, |at| at.age_at(now)),
        among: (!among.is_empty()).then(|| among.to_vec()),
    };
    Ok(context.peers.ask(endpoint, &front::question(&sought), &mut silently))
}

/// Asks again. If no home holds the task, the search is resumed.
pub fn reconcile(context: &mut TierContext<'_>, known: &Away, principal: &Principal) -> Result<Reconciled, TierError> {
    if SearchLock::is_going_on(context.store.home(), known.uuid) {
        return Ok(Reconciled::GoingOn);
    }
    // Its command may have asked others, and placed it, between the reading of the row and its leaving.
    let Some(away) = &context.store.view().away(known.task)? else { return Ok(Reconciled::Placed) };
    let (onward, among) = match &away.held {
        AwayState::Open { onward, among } => (onward, among),
        AwayState::By { .. } => return tell_cancel(context, away),
        AwayState::Moving { .. } => return moving::reconcile(context, away, principal),
    };
    if away.is_unasked() {
        return again(context, away, principal);
    }
    let now = context.now();
    let sought = Sought {
        uuid: away.uuid,
        round: if *onward { series_end(away.round) } else { away.round },
        onward: *onward,
        age: away.asked_at.age_at(now),
        among: among.clone(),
    };
    let mut endpoints = vec![away.asked.clone()];
    if among.is_some() {
        // Any first tier that knows the same second tier can ask it.
        let others = context.store.view().distributors(Tier::First)?.into_iter().map(|m| m.endpoint);
        endpoints.extend(others.filter(|e| e.is_elsewhere() && *e != away.asked));
    }
    // Whoever was asked to take it comes first; a word of anybody tells more than that somebody is silent.
    let (mut said, mut silent) = (None, None);
    for endpoint in endpoints {
        match context.peers.ask(&endpoint, &front::question(&sought), &mut silently) {
            Ok(Answer::Placed(placed)) => {
                let own = context.store.view().home_row()?.id;
                let front = context.store.view().task(away.task)?.map(|row| row.tier1).unwrap_or_default();
                let end = context
                    .store
                    .write(Durability::Full, |tx| snapshot::placed(tx, away.task, own, &front, &placed, now))?;
                let owner = OwnerHome { home: placed.home, asked: &endpoint };
                owner::confirm(context.store, context.peers, owner, end)?;
                // A cancel that was recorded meanwhile has somebody to hear it now.
                let placed = context.store.view().away(away.task)?;
                return placed.map_or(Ok(Reconciled::Placed), |placed| tell_cancel(context, &placed));
            }
            Ok(Answer::Nowhere) => return again(context, away, principal),
            Ok(other) => {
                let words = super::members::words_of(other);
                said.get_or_insert_with(|| format!("{endpoint} does not say whether it holds it: {words}"));
            }
            Err(error) => {
                let since = away.asked_at.local();
                silent.get_or_insert_with(|| format!("no answer from {endpoint} since {since}: {error}"));
            }
        }
    }
    let mut why = said.or(silent).unwrap_or_default();
    bounds::cut(&mut why);
    why += &format!("; if it is lost for good, `grid cancel --forget {}` gives the task up", away.task);
    context.store.write(Durability::Normal, |tx| {
        tx.unheard_away(away.task, now)?;
        tx.set_reason(away.task, Some(&why))
    })?;
    Ok(Reconciled::Open)
}

/// Sends a cancel that the owner has not heard yet.
pub(super) fn tell_cancel(context: &mut TierContext<'_>, away: &Away) -> Result<Reconciled, TierError> {
    let (AwayState::By { home, .. }, Some(grace)) = (&away.held, away.cancel) else { return Ok(Reconciled::Placed) };
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let verb = Verb::Cancel { index: None, grace_ms };
    let question = Question::Task { owner: *home, user: None, uuid: away.uuid, verb };
    match context.peers.ask(&away.asked, &question, &mut silently) {
        Ok(said @ (Answer::Report(_) | Answer::Unknown(_))) => {
            context.store.write::<_, StoreError>(Durability::Full, |tx| {
                if matches!(said, Answer::Unknown(_)) {
                    tx.set_away_reason(away.task, &unknown_there(away.task, false))?;
                }
                tx.cancel_told(away.task, grace)
            })?;
            Ok(Reconciled::Placed)
        }
        _ => {
            let ambient = context.ambient;
            context.store.write(Durability::Normal, |tx| tx.unheard_away(away.task, ambient.now().wall))?;
            Ok(Reconciled::Open)
        }
    }
}

/// No home holds the task, and none will up to that round: the search is resumed, or ended if its client cancelled it.
pub(super) fn again(
    context: &mut TierContext<'_>,
    away: &Away,
    principal: &Principal,
) -> Result<Reconciled, TierError> {
    let now = context.now();
    // It may have been given up, or cancelled, while the others were asked.
    let Some(still) = context.store.view().away(away.task)? else { return Ok(Reconciled::Placed) };
    if still.cancel.is_some() {
        context.store.write(Durability::Full, |tx| tx.cancelled_away(away.task, now))?;
        return Ok(Reconciled::Placed);
    }
    if away.asked_at < context.store.view().begins_at()? {
        let why =
            "the home that this one was made of may have placed it elsewhere since; `grid cancel --forget` gives it up";
        context.store.write(Durability::Normal, |tx| {
            tx.unheard_away(away.task, now)?;
            tx.set_reason(away.task, Some(why))
        })?;
        return Ok(Reconciled::Open);
    }
    let Some(KeptEnvelope { sealed, list }) = context.store.view().sealed(away.task)? else {
        return Ok(Reconciled::Placed);
    };
    let (sealed, list) = (Sealed::from_bytes(sealed), list.map(Sealed::from_bytes));
    let request = match seal::open(&sealed) {
        Ok(request) => request,
        Err(error) => {
            // Of another version, or not whole. It can't be offered to anybody; the other tasks can.
            context.store.write(Durability::Normal, |tx| {
                tx.unheard_away(away.task, now)?;
                tx.set_reason(away.task, Some(&format!("what was sealed can't be read: {error}; submit it again")))
            })?;
            return Ok(Reconciled::Nobody);
        }
    };
    let round = next_series(away.round);
    let envelope = Envelope { version: 1, uuid: away.uuid, round, user: None, hops: 0, sealed, list };
    let mut order = PlacementRequest::again(envelope, &request, principal, away.task);
    match place(context, &mut order)? {
        SearchOutcome::Here(_) | SearchOutcome::Away(_) => Ok(Reconciled::Placed),
        SearchOutcome::Open { .. } => Ok(Reconciled::Open),
        SearchOutcome::Refused(refusal) => {
            let why = match refusal.waits_for {
                Some(why) => why,
                None => {
                    let first = refusal.reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
                    let mut why = format!("{}{first}; it is asked again", refusal.what());
                    bounds::cut(&mut why);
                    why
                }
            };
            let round = order.envelope.round;
            context.store.write(Durability::Normal, |tx| {
                // It may have been cancelled while others were asked: its end stays as it is.
                if tx.away(away.task)?.is_none() {
                    return Ok(());
                }
                tx.unheard_away(away.task, now)?;
                tx.searched_away(away.task, round)?;
                tx.refused_away(away.task)?;
                tx.set_reason(away.task, Some(&why))
            })?;
            Ok(Reconciled::Nobody)
        }
    }
}
