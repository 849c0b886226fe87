//! When the results of a member are fetched: at its end, and again when a caller asks for results that could not be fetched then.

use super::ending::ReportedEnd;
use super::results::{Again, Brought, Whose};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::id::{AttemptId, AttemptKey, MemberKey};
use crate::model::task::Launch;
use crate::protocol::agent::ToAgent;
use crate::store::files::{Fetched, Whereabouts};
use crate::store::members::{MemberRow, Outputs};
use crate::store::{StoreError, Tx, View};

impl Dispatcher {
    /// Asks the agent to pack the results of an ended attempt. False: there are no results to fetch.
    pub(in crate::dispatch) fn request_results(
        &mut self,
        turn: &mut Turn<'_, '_>,
        report: &ReportedEnd,
    ) -> Result<bool, DispatchError> {
        let key = report.key;
        // An attempt that never started has no results.
        if report.ended.end.started_at.is_none() {
            return Ok(false);
        }
        match turn.tx.files_of(key.task) {
            Ok((_, Some(_))) => {}
            // The patterns can't be read: the end is recorded all the same.
            Ok(_) | Err(StoreError::Unreadable(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let member = turn.tx.member(key.task, key.index)?;
        let news = member.is_some_and(|m| m.number == key.number && m.is_live());
        let Some(launch) = turn.tx.launch_if_readable(key.task)?.filter(|_| news) else { return Ok(false) };
        if self.transfers.results.begin(Whose::End(report.clone()), turn.now) {
            turn.then(Effect::Send { route: report.route, message: pack(report.attempt, launch) });
        }
        Ok(true)
    }

    /// Requests results again that could not be fetched at the end.
    pub(in crate::dispatch) fn request_results_again(
        &mut self,
        view: &View<'_>,
        at: usize,
        wanted: MemberKey,
    ) -> Result<(), DispatchError> {
        let MemberKey { task, index } = wanted;
        let caller = &mut self.callers.all[at];
        caller.bring(wanted);
        let member = view.member(task, index)?.filter(MemberRow::has_ended);
        let there = view.fetched(task, index)?.filter(|f| stays(&f.lies));
        let (Some(row), Some(launch), Some(member), Some(_)) =
            (view.task(task)?, view.launch_if_readable(task)?, member, there)
        else {
            self.callers.brought(wanted);
            return Ok(());
        };
        let key = member.key();
        let attempt = key.id(row.uuid);
        let place = member.server().zip(member.host()).map(|(server, host)| Place { server, host });
        let machine = member.machine();
        let answers = |route: &Route| self.links.slots.get(route).and_then(|slot| slot.boot().and(slot.machine));
        let route = place.and_then(|place| self.route_of(place));
        // Another machine that answers under the name has no record of them.
        match route.filter(|route| machine.is_none() || answers(route).is_none_or(|it| Some(it) == machine)) {
            Some(route) => {
                if self.transfers.results.begin(Whose::Again { route, attempt, key }, self.ambient.now()) {
                    self.callers.all[at].ask_later((route, machine), pack(attempt, launch));
                }
            }
            None => self.callers.brought(wanted),
        }
        Ok(())
    }

    /// Records the outcomes of repeated fetches.
    pub(in crate::dispatch) fn record_refetched(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), StoreError> {
        // They are removed once this is on the disk; callers are told after that.
        self.disk.shortage.will_record_refetched(self.transfers.again.len());
        for Again { route, attempt, key, brought } in &self.transfers.again {
            record_results(turn.tx, *key, brought)?;
            let outputs = turn.tx.member(key.task, key.index)?.and_then(|m| Some(m.last()?.outputs));
            if !stays(&brought.lies) && outputs != Some(Outputs::Server) {
                turn.then(Effect::Confirm { route: *route, attempt: *attempt });
            }
            turn.then(Effect::Brought(key.member()));
        }
        Ok(())
    }
}

/// True if results stay on their server because they could not be fetched.
pub(in crate::dispatch) const fn stays(lies: &Whereabouts) -> bool {
    matches!(lies, Whereabouts::There { .. })
}

/// True if the results of an attempt stay on their server, by its record.
pub(in crate::dispatch) fn results_stay(tx: &Tx<'_>, key: AttemptKey) -> Result<bool, StoreError> {
    let recorded = tx.fetched(key.task, key.index)?;
    Ok(recorded.is_some_and(|fetched| fetched.number == key.number && stays(&fetched.lies)))
}

/// Records the fetched results of an attempt.
pub(in crate::dispatch) fn record_results(tx: &Tx<'_>, key: AttemptKey, brought: &Brought) -> Result<(), StoreError> {
    let fetched = Fetched {
        index: key.index,
        number: key.number,
        lies: brought.lies.clone(),
        remarks: brought.remarks.clone(),
        unpacked_at: None,
        not_unpacked: None,
        dropped_at: None,
    };
    tx.keep_fetched(key.task, &fetched)
}

/// The request to pack results: it needs nothing of what the command reads.
fn pack(attempt: AttemptId, launch: Launch) -> ToAgent {
    ToAgent::Pack { attempt, launch: Launch { stdin: None, ..launch } }
}
