//! The row that a client's home keeps of its own task while other homes are asked for it.

use super::context::TierContext;
use super::owner::{self, OwnerHome};
use super::place::SearchOutcome;
use super::principal::Principal;
use super::refusal::SearchRefusal;
use super::search::Trace;
use super::search_lock::SearchLock;
use super::snapshot;
use super::tier2::TierError;
use crate::model::bounds;
use crate::model::distributor::{Endpoint, Record};
use crate::model::failpoint::failpoint;
use crate::model::id::{HomeId, TaskId};
use crate::model::task::{HELD_BY_USER, Request};
use crate::protocol::distributor::Placed;
use crate::protocol::envelope::{Envelope, Sealed};
use crate::store::away::AskedAway;
use crate::store::intake::{Begins, NewTask, TierRoute};
use crate::store::{Durability, StoreError};

/// The client's side of a search.
#[derive(Debug)]
pub struct ClientRow<'a> {
    /// The task, as its client knows it.
    pub request: &'a Request,
    pub principal: &'a Principal,
    /// The row, once it was written.
    pub row: Option<TaskId>,
    /// The task's id was told already: its row stays, whatever the outcome.
    pub resumed: bool,
    /// Held from before the row is there until the search has ended.
    pub(super) lock: Option<SearchLock>,
}

/// The distributor that is asked to take a task, or to redirect it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The first-tier member of this search.
    pub front: &'a Record,
    pub endpoint: &'a Endpoint,
    /// That distributor may pass the task on.
    pub onward: bool,
}

impl ClientRow<'_> {
    /// Records durably who is asked, before anything is sent.
    pub(super) fn record(
        &mut self,
        context: &mut TierContext<'_>,
        envelope: &Envelope,
        asked: Asked<'_>,
    ) -> Result<(), TierError> {
        let now = context.now();
        if self.row.is_none() && self.lock.is_none() {
            let home = context.store.home();
            let begun = SearchLock::begin(home, envelope.uuid);
            self.lock = Some(begun.map_err(|error| StoreError::Unwritable { path: home.run_dir(), error })?);
        }
        let Asked { front, endpoint, onward } = asked;
        let (row, request, principal) = (self.row, self.request, self.principal);
        let task = context.store.write(Durability::Full, |tx| {
            let task = match row {
                Some(task) if tx.away(task)?.is_none() => {
                    return Err(TierError::Denied(
                        "it was cancelled, or given up, while it was searched for".to_owned(),
                    ));
                }
                Some(task) => task,
                None => {
                    let me = tx.user(principal.user.as_str())?;
                    let me = me.ok_or_else(|| TierError::Denied(format!("user {} is unknown here", principal.user)))?;
                    let client = tx.see_client(&request.client, now)?;
                    // Of a first-tier member: a class that no server of ours looks at.
                    let class = tx.class_of(front.id, me.id, client, &request.demand)?;
                    let new = NewTask {
                        uuid: envelope.uuid,
                        class,
                        user: me.id,
                        request,
                        begins: if request.hold { Begins::Held(HELD_BY_USER) } else { Begins::Waiting },
                        unmatched: false,
                        round: envelope.round,
                        route: TierRoute { tier1: front.name.as_str(), tier2: "" },
                        search: None,
                        verdict: None,
                        kept: 0,
                        environment: principal.environment,
                    };
                    tx.add_task(&new, now)?
                }
            };
            let list = envelope.list.as_ref().map(Sealed::as_bytes);
            let sealed = envelope.sealed.as_bytes();
            tx.ask_away(task, AskedAway { sealed, list, round: envelope.round, asked: endpoint, onward }, now)?;
            Ok::<_, TierError>(task)
        })?;
        self.row = Some(task);
        failpoint("way-row-written");
        Ok(())
    }

    /// Another home holds the task; or this home, if the way led back.
    pub(super) fn landed(
        &self,
        context: &mut TierContext<'_>,
        front: &str,
        placed: &Placed,
        trace: &mut Trace,
    ) -> Result<SearchOutcome, TierError> {
        let own = context.store.view().home_row()?.id;
        if placed.home == own {
            return Ok(SearchOutcome::Here(placed.task.id));
        }
        let Some(task) = self.row else { return Err(TierError::Denied("a task without a row".to_owned())) };
        take_second(trace, &placed.search);
        let now = context.now();
        let end = context.store.write(Durability::Normal, |tx| {
            let search = tx.keep_note(&serde_json::to_string(trace).unwrap_or_default())?;
            tx.set_search(task, search)?;
            snapshot::placed(tx, task, own, front, placed, now)
        })?;
        if end.is_some()
            && let Some(away) = context.store.view().away(task)?
        {
            let owner = OwnerHome { home: placed.home, asked: &away.asked };
            owner::confirm(context.store, context.peers, owner, end)?;
        }
        Ok(SearchOutcome::Away(task))
    }

    /// A distributor was asked to take the task, and may hold it. `among`: the homes it was redirected to.
    pub(super) fn open(
        &self,
        context: &mut TierContext<'_>,
        who: &str,
        why: &str,
        among: &[HomeId],
    ) -> Result<SearchOutcome, TierError> {
        let Some(task) = self.row else { return Err(TierError::Denied(format!("{who}: {why}"))) };
        let now = context.now();
        let mut why = why.to_owned();
        bounds::cut(&mut why);
        let said = format!("no answer from {who} since {}: {why}", now.local());
        context.store.write(Durability::Full, |tx| {
            if !among.is_empty() {
                tx.redirected_away(task, among)?;
            }
            tx.set_reason(task, Some(&said))?;
            tx.trace(task, now, &format!("{who} was asked to take it and did not answer: {why}"))
        })?;
        Ok(SearchOutcome::Open { task, why: said })
    }

    /// A drained member alone could run the task, in these words: it waits here.
    pub(super) fn waits(
        &self,
        context: &mut TierContext<'_>,
        why: String,
        trace: &Trace,
    ) -> Result<SearchOutcome, TierError> {
        let Some(task) = self.row else { return Err(TierError::Denied(why)) };
        let now = context.now();
        context.store.write(Durability::Full, |tx| {
            // It may have been cancelled while others were asked: its end stays as it is.
            if tx.away(task)?.is_none() {
                return Ok(());
            }
            let search = tx.keep_note(&serde_json::to_string(trace).unwrap_or_default())?;
            tx.set_search(task, search)?;
            tx.refused_away(task)?;
            tx.unheard_away(task, now)?;
            tx.set_reason(task, Some(&why))?;
            tx.trace(task, now, &why)
        })?;
        Ok(SearchOutcome::Open { task, why })
    }

    /// No member takes the task. A row that was written for this search is dropped if its id was never printed.
    pub(super) fn refused(
        &self,
        context: &mut TierContext<'_>,
        refusal: SearchRefusal,
    ) -> Result<SearchOutcome, TierError> {
        if let Some(task) = self.row.filter(|_| !self.resumed && refusal.waits_for.is_none()) {
            // A row that came back after a power cut would be searched for, and run.
            context.store.write(Durability::Full, |tx| tx.drop_away(task))?;
        }
        Ok(SearchOutcome::Refused(refusal))
    }
}

/// Takes over the answers of the second tier from the trace of the home that asked it.
pub(super) fn take_second(trace: &mut Trace, search: &str) {
    if let Ok(there) = serde_json::from_str::<Trace>(search) {
        let [_, second] = there.tiers;
        trace.tiers[1] = second;
    }
}
