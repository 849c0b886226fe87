//! What a search left open: whoever was asked to take a task is asked again until it has said yes or no. After a no from
//! everybody who could hold it, the search goes on.

use super::front::{self, Sought, series_end};
use super::peers::{PeerError, Peers, silently};
use super::place::{PlacementRequest, SearchOutcome, place};
use super::principal::Principal;
use super::search_lock::SearchLock;
use super::snapshot;
use super::tier2::TierError;
use crate::model::bounds;
use crate::model::distributor::{Endpoint, Tier};
use crate::model::id::HomeId;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Question, Verb};
use crate::protocol::envelope::{Envelope, Sealed};
use crate::protocol::seal;
use crate::store::away::{Away, AwayState};
use crate::store::{Durability, Store, StoreError};
use std::time::Duration;

/// How an open task came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// Somebody holds it.
    Placed,
    /// Nobody takes it now; it is searched for again later.
    Nobody,
    /// Whoever may hold it does not answer.
    Open,
    /// A command is still at it.
    GoingOn,
}

/// Asks whoever was asked last, while the search is at it.
pub fn ask(
    store: &Store,
    peers: &mut dyn Peers,
    order: &PlacementRequest<'_>,
    endpoint: &Endpoint,
    among: &[HomeId],
) -> Result<Result<Answer, PeerError>, StoreError> {
    let asked_at = order.row.map_or(Ok(None), |row| store.view().away(row))?.map(|away| away.asked_at);
    let now = Timestamp::now();
    let sought = Sought {
        uuid: order.envelope.uuid,
        round: series_end(order.envelope.round),
        onward: true,
        age: asked_at.map_or(Duration::MAX, |at| at.age_at(now)),
        among: (!among.is_empty()).then(|| among.to_vec()),
    };
    Ok(peers.ask(endpoint, &front::question(&sought), &mut silently))
}

/// Asks again, and goes on with the search where nobody holds it.
pub fn reconcile(
    store: &mut Store,
    peers: &mut dyn Peers,
    known: &Away,
    principal: &Principal,
) -> Result<Reconciled, TierError> {
    if SearchLock::is_going_on(store.home(), known.uuid) {
        return Ok(Reconciled::GoingOn);
    }
    // Its command may have asked others, and placed it, between the reading of the row and its leaving.
    let Some(away) = &store.view().away(known.task)? else { return Ok(Reconciled::Placed) };
    let AwayState::Open { onward, among } = &away.held else { return tell_cancel(store, peers, away) };
    let now = Timestamp::now();
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
        let others = store.view().distributors(Tier::First)?.into_iter().map(|m| m.endpoint);
        endpoints.extend(others.filter(|e| e.is_elsewhere() && *e != away.asked));
    }
    // Whoever was asked to take it comes first; a word of anybody tells more than that somebody is silent.
    let (mut said, mut silent) = (None, None);
    for endpoint in endpoints {
        match peers.ask(&endpoint, &front::question(&sought), &mut silently) {
            Ok(Answer::Placed(placed)) => {
                let own = store.view().home_row()?.id;
                let front = store.view().task(away.task)?.map(|row| row.tier1).unwrap_or_default();
                store.write(Durability::Full, |tx| snapshot::placed(tx, away.task, own, &front, &placed, now))?;
                // A cancel that was recorded meanwhile has somebody to hear it now.
                let placed = store.view().away(away.task)?;
                return placed.map_or(Ok(Reconciled::Placed), |placed| tell_cancel(store, peers, &placed));
            }
            Ok(Answer::Nowhere) => return again(store, peers, away, principal),
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
    store.write(Durability::Normal, |tx| {
        tx.unheard_away(away.task, now)?;
        tx.set_reason(away.task, Some(&why))
    })?;
    Ok(Reconciled::Open)
}

/// A cancel that the owner has not heard yet.
fn tell_cancel(store: &mut Store, peers: &mut dyn Peers, away: &Away) -> Result<Reconciled, TierError> {
    let (AwayState::By { home, .. }, Some(grace)) = (&away.held, away.cancel) else { return Ok(Reconciled::Placed) };
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let verb = Verb::Cancel { index: None, grace_ms };
    let question = Question::Task { owner: *home, user: None, uuid: away.uuid, verb };
    match peers.ask(&away.asked, &question, &mut silently) {
        Ok(Answer::Report(_) | Answer::Unknown(_)) => {
            store.write(Durability::Full, |tx| tx.cancel_told(away.task, grace))?;
            Ok(Reconciled::Placed)
        }
        _ => {
            store.write(Durability::Normal, |tx| tx.unheard_away(away.task, Timestamp::now()))?;
            Ok(Reconciled::Open)
        }
    }
}

/// Nobody holds it, and nobody will up to that round: the search goes on, or ends where its client cancelled it.
fn again(
    store: &mut Store,
    peers: &mut dyn Peers,
    away: &Away,
    principal: &Principal,
) -> Result<Reconciled, TierError> {
    let now = Timestamp::now();
    // It may have been given up, or cancelled, while the others were asked.
    let Some(still) = store.view().away(away.task)? else { return Ok(Reconciled::Placed) };
    if still.cancel.is_some() {
        store.write(Durability::Full, |tx| tx.cancelled_away(away.task, now))?;
        return Ok(Reconciled::Placed);
    }
    if away.asked_at < store.view().begins_at()? {
        let why =
            "the home that this one was made of may have placed it elsewhere since; `grid cancel --forget` gives it up";
        store.write(Durability::Normal, |tx| {
            tx.unheard_away(away.task, now)?;
            tx.set_reason(away.task, Some(why))
        })?;
        return Ok(Reconciled::Open);
    }
    let Some((sealed, list)) = store.view().sealed(away.task)? else { return Ok(Reconciled::Placed) };
    let (sealed, list) = (Sealed::from_bytes(sealed), list.map(Sealed::from_bytes));
    let request = match seal::open(&sealed) {
        Ok(request) => request,
        Err(error) => {
            // Of another version, or not whole. It can't be offered to anybody; the other tasks can.
            store.write(Durability::Normal, |tx| {
                tx.unheard_away(away.task, now)?;
                tx.set_reason(away.task, Some(&format!("what was sealed can't be read: {error}; submit it again")))
            })?;
            return Ok(Reconciled::Nobody);
        }
    };
    let round = series_end(away.round) + 1;
    let envelope = Envelope { version: 1, uuid: away.uuid, round, user: None, hops: 0, sealed, list };
    let mut order = PlacementRequest::again(envelope, &request, principal, away.task);
    match place(store, peers, &mut order)? {
        SearchOutcome::Here(_) | SearchOutcome::Away(_) => Ok(Reconciled::Placed),
        SearchOutcome::Open { .. } => Ok(Reconciled::Open),
        SearchOutcome::Refused(refusal) => {
            let first = refusal.reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
            let mut why = format!("{}{first}; it is asked again", refusal.what());
            bounds::cut(&mut why);
            store.write(Durability::Normal, |tx| {
                tx.unheard_away(away.task, now)?;
                tx.set_reason(away.task, Some(&why))
            })?;
            Ok(Reconciled::Nobody)
        }
    }
}
