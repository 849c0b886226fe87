//! Discards: outputs and files that servers may drop, because they are too old or their task is removed. They stay in the database
//! until the agent has received them.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, ServerId};
use crate::protocol::agent::ToAgent;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::discards::Discard;
use crate::store::{StoreError, Tx, View};
use std::collections::HashMap;

/// Attempts in one message, at most.
const BATCH: usize = 1_000;

/// Discards to send, by link.
#[derive(Debug, Default)]
pub struct Discards {
    due: HashMap<Route, Vec<Discard>>,
    /// Discards for machines that do not answer over these links now. No link is opened for them: each hello is checked.
    elsewhere: HashMap<Route, Vec<Discard>>,
    /// Discards that were sent. An agent answers in order: its answer about the last one means that it has received all.
    sent: HashMap<Route, Vec<Discard>>,
    /// Discards that were received, and are to be deleted from the database.
    received: Vec<Discard>,
}

impl Discards {
    /// Links over which there are discards to send.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.due.keys()
    }

    /// True if there are discards to delete from the database.
    pub fn have_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Handles an agent's answer about an attempt. False: it was no question of ours.
    pub fn answered(&mut self, route: Route, attempt: AttemptId) -> bool {
        if self.sent.get(&route).and_then(|sent| sent.last()).is_none_or(|last| last.attempt != attempt) {
            return false;
        }
        self.received.extend(self.sent.remove(&route).unwrap_or_default());
        true
    }

    /// Handles the hello of a machine, perhaps one that did not answer before.
    pub fn link_up(&mut self, route: Route) {
        if let Some(elsewhere) = self.elsewhere.remove(&route) {
            self.due.entry(route).or_default().extend(elsewhere);
        }
    }

    /// Handles the loss of a link: discards that were sent over it are sent again.
    pub fn forget(&mut self, route: Route) {
        if let Some(sent) = self.sent.remove(&route) {
            self.due.entry(route).or_default().extend(sent);
        }
    }
}

impl Dispatcher {
    /// Reads the discards from the database.
    pub(in crate::dispatch) fn load_discards(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        let mut due: HashMap<Route, Vec<Discard>> = HashMap::new();
        for discard in view.discards()? {
            if let Some(route) = self.route_to(discard.host)
                && !self.transfers.discards.sent.get(&route).is_some_and(|sent| sent.contains(&discard))
                && !self.transfers.discards.received.contains(&discard)
            {
                due.entry(route).or_default().push(discard);
            }
        }
        self.transfers.discards.due = due;
        self.transfers.discards.elsewhere.clear();
        Ok(())
    }

    /// Sends discards over the links that are up.
    pub(in crate::dispatch) fn send_discards(&mut self) {
        if self.transfers.discards.due.is_empty() {
            return;
        }
        let up = |route: &Route| {
            self.links.slots.get(route).is_some_and(|slot| slot.takes_starts().is_some() && slot.boot().is_some())
        };
        let open = |route: &Route| up(route) && !self.transfers.discards.sent.contains_key(route);
        let routes: Vec<Route> = self.transfers.discards.routes().copied().filter(open).collect();
        for route in routes {
            let Some(due) = self.transfers.discards.due.remove(&route) else { continue };
            // Another machine would accept them without a record, and the files of the right one would stay for ever.
            let (mut there, elsewhere): (Vec<Discard>, Vec<Discard>) =
                due.into_iter().partition(|discard| self.is_there(route, discard.machine));
            if !elsewhere.is_empty() {
                self.transfers.discards.elsewhere.entry(route).or_default().extend(elsewhere);
            }
            let later = there.split_off(there.len().min(BATCH));
            if !later.is_empty() {
                self.transfers.discards.due.insert(route, later);
            }
            let Some(Discard { attempt, .. }) = there.last().copied() else { continue };
            let attempts = there.iter().map(|discard| discard.attempt).collect();
            self.send(route, &ToAgent::Confirm { attempts });
            self.send(route, &ToAgent::Read { attempt, stream: Stream::Out, offset: 0, max: 0 });
            self.transfers.discards.sent.insert(route, there);
        }
    }

    /// Clears the host of a server for a caller, once its link is up.
    pub(in crate::dispatch) fn clear_for(&mut self, at: usize, server: ServerId) {
        let caller = &mut self.callers.all[at];
        match self.schedule.fleets.server(server).and_then(|server| Route::to(&server.engine)) {
            Some(route) => {
                caller.clear(server, route);
                caller.ask_later((route, None), ToAgent::Clear);
                self.retry_links_now();
            }
            None => caller.send(&FromDispatcher::Cleared { server, result: Err("there is no such host".to_owned()) }),
        }
    }

    /// Deletes the discards that agents have received.
    pub(in crate::dispatch) fn delete_discards(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.transfers.discards.have_received() {
            tx.discarded(&std::mem::take(&mut self.transfers.discards.received))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::MachineId;

    fn attempt(number: u32) -> AttemptId {
        format!("019a0000-0000-7000-8000-00000000000a.0.{number}").parse().unwrap()
    }

    #[test]
    fn discards_of_a_lost_link_are_due_again_unless_answered() {
        let mut discards = Discards::default();
        let one = |number| Discard { host: ServerId(1), attempt: attempt(number), machine: None };
        discards.sent.insert(Route::Here, vec![one(1), one(2)]);
        assert!(!discards.answered(Route::Here, attempt(1)));
        discards.forget(Route::Here);
        assert_eq!(discards.due[&Route::Here], [one(1), one(2)]);
        assert!(!discards.answered(Route::Here, attempt(2)), "that was asked over another link");
        let again = discards.due.remove(&Route::Here).unwrap();
        discards.sent.insert(Route::Here, again);
        assert!(discards.answered(Route::Here, attempt(2)));
        assert_eq!(discards.received, [one(1), one(2)]);
    }

    #[test]
    fn discards_for_another_machine_are_due_at_the_next_hello() {
        let mut discards = Discards::default();
        let one = Discard { host: ServerId(1), attempt: attempt(1), machine: Some(MachineId(7)) };
        discards.elsewhere.insert(Route::Here, vec![one]);
        assert_eq!(discards.routes().count(), 0);
        discards.link_up(Route::Here);
        assert_eq!(discards.due[&Route::Here], [one]);
    }
}
