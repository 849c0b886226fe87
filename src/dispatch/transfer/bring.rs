//! When what a member made is brought home: at its end, and once more when somebody asks for what could not be brought then.

use crate::dispatch::attempts::events::Known;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::dispatch::turn::Outcome;
use crate::matching::Place;
use crate::model::id::{AttemptId, Index, TaskId};
use crate::model::task::{Launch, Phase};
use crate::protocol::agent::{Ended, ToAgent};
use crate::store::files::{Fetched, Whereabouts};
use crate::store::members::Outputs;
use crate::store::{StoreError, Tx, View};

impl Dispatcher {
    /// Brings home what an ended attempt made. True: that is done, or there is nothing to be brought.
    pub(in crate::dispatch) fn bring(
        &mut self,
        tx: &Tx<'_>,
        route: Route,
        known: Known,
        attempt: AttemptId,
        ended: &Ended,
    ) -> Result<bool, DispatchError> {
        // What never began has made nothing.
        if ended.end.started_at.is_none() || self.bringing.brought(attempt).is_some() {
            return Ok(true);
        }
        match tx.files_of(known.task) {
            Ok((_, Some(_))) => {}
            // What is to be brought can't be read: the end is taken in all the same.
            Ok(_) | Err(StoreError::Unreadable(_)) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let member = tx.member(known.task, known.index)?;
        let news =
            member.is_some_and(|m| m.number == known.number && matches!(m.phase, Phase::Starting | Phase::Running));
        let Some(launch) = tx.launch_if_readable(known.task)?.filter(|_| news) else { return Ok(true) };
        if self.bringing.begin(route, known, attempt, Some(ended.clone())) {
            self.tell(route, &pack(attempt, launch));
        }
        Ok(false)
    }

    /// Is what it made still on its server, because it could not be brought?
    pub(in crate::dispatch) fn files_stay(
        &self,
        tx: &Tx<'_>,
        known: Known,
        attempt: AttemptId,
        news: bool,
    ) -> Result<bool, StoreError> {
        let there = |lies: &Whereabouts| matches!(lies, Whereabouts::There { .. });
        if let Some(brought) = self.bringing.brought(attempt) {
            return Ok(there(&brought.lies));
        }
        // An end that is told again may be one of before.
        let before = if news { None } else { tx.fetched(known.task, known.index)? };
        Ok(before.is_some_and(|f| f.number == known.number && there(&f.lies)))
    }

    /// What came of it goes into the database.
    pub(in crate::dispatch) fn keep_brought(&self, tx: &Tx<'_>, known: Known, attempt: AttemptId) -> Result<(), StoreError> {
        let Some(brought) = self.bringing.brought(attempt) else { return Ok(()) };
        let (index, number, unpacked_at) = (known.index, known.number, None);
        let (lies, remarks) = (brought.lies.clone(), brought.remarks.clone());
        let not_unpacked = None;
        tx.keep_fetched(known.task, &Fetched { index, number, lies, remarks, unpacked_at, not_unpacked })
    }

    /// Somebody asks for what could not be brought home at the end.
    pub(in crate::dispatch) fn bring_again(
        &mut self,
        view: &View<'_>,
        at: usize,
        task: TaskId,
        index: Index,
    ) -> Result<(), DispatchError> {
        let caller = &mut self.callers.all[at];
        caller.bring(task, index);
        let member = view.member(task, index)?.filter(|m| m.phase.state().ended());
        let there = view.fetched(task, index)?.filter(|f| matches!(f.lies, Whereabouts::There { .. }));
        let (Some(row), Some(launch), Some(member), Some(_)) =
            (view.task(task)?, view.launch_if_readable(task)?, member, there)
        else {
            self.callers.brought(task, index);
            return Ok(());
        };
        let known = Known { task, index, number: member.number };
        let attempt = AttemptId { task: row.uuid, index, number: member.number };
        let place = member.server.zip(member.host).map(|(server, host)| Place { server, host });
        let machine = member.machine;
        let answers = |route: &Route| self.links.get(route).and_then(|slot| slot.boot().and(slot.machine));
        let route = place.and_then(|place| self.route_of(place));
        // Who answers instead of the machine that has them knows nothing of them.
        match route.filter(|route| machine.is_none() || answers(route).is_none_or(|it| Some(it) == machine)) {
            Some(route) => {
                if self.bringing.begin(route, known, attempt, None) {
                    self.callers.all[at].ask_later((route, machine), pack(attempt, launch));
                }
            }
            None => self.callers.brought(task, index),
        }
        Ok(())
    }

    /// What came of that.
    pub(in crate::dispatch) fn take_in_again(&mut self, tx: &Tx<'_>, outcome: &mut Outcome) -> Result<(), StoreError> {
        // They go once this is on the disk; until then nobody who asked has heard of it.
        self.shortage.takes_again(self.again.len());
        for (route, attempt, known) in self.again.clone() {
            self.keep_brought(tx, known, attempt)?;
            self.bringing.close(attempt);
            let outputs = tx.member(known.task, known.index)?.map(|m| m.outputs);
            let there =
                tx.fetched(known.task, known.index)?.is_some_and(|f| matches!(f.lies, Whereabouts::There { .. }));
            if !there && outputs != Some(Outputs::Server) {
                outcome.confirm.push((route, attempt));
            }
            outcome.brought.push((known.task, known.index));
        }
        Ok(())
    }
}

/// Nothing of what a command reads is needed to pack what it made.
fn pack(attempt: AttemptId, launch: Launch) -> ToAgent {
    ToAgent::Pack { attempt, launch: Launch { stdin: None, ..launch } }
}
