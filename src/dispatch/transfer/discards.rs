//! What servers may drop: outputs and files of tasks that went by their age, or with their rows. It stands in the database until the
//! agent has heard it.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, ServerId};
use crate::protocol::agent::ToAgent;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::discards::Discard;
use crate::store::{StoreError, Tx, View};
use std::collections::HashMap;

/// Attempts in one message.
const BATCH: usize = 1_000;

/// What is still to be said, by the link over which it goes.
#[derive(Debug, Default)]
pub struct Discards {
    due: HashMap<Route, Vec<Discard>>,
    /// Of machines that do not answer over these links now. No link is opened for them: each hello is looked at.
    aside: HashMap<Route, Vec<Discard>>,
    /// Said over these links. An agent answers in order: its answer about the last one says that it has heard of all.
    said: HashMap<Route, Vec<Discard>>,
    /// Heard there, and to be struck out in the database.
    heard: Vec<Discard>,
}

impl Discards {
    /// The links that there is something to say over.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.due.keys()
    }

    /// Is there anything to be struck out?
    pub fn have_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// An agent answers a question about this attempt. False: it was not ours.
    pub fn answered(&mut self, route: Route, attempt: AttemptId) -> bool {
        if self.said.get(&route).and_then(|said| said.last()).is_none_or(|last| last.attempt != attempt) {
            return false;
        }
        self.heard.extend(self.said.remove(&route).unwrap_or_default());
        true
    }

    /// A machine says hello over this link, perhaps one that did not answer before.
    pub fn link_up(&mut self, route: Route) {
        if let Some(aside) = self.aside.remove(&route) {
            self.due.entry(route).or_default().extend(aside);
        }
    }

    /// A link is lost, and with it perhaps what was said: it is said again.
    pub fn forget(&mut self, route: Route) {
        if let Some(said) = self.said.remove(&route) {
            self.due.entry(route).or_default().extend(said);
        }
    }
}

impl Dispatcher {
    /// Reads what servers have still to be told.
    pub(in crate::dispatch) fn load_discards(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        let mut due: HashMap<Route, Vec<Discard>> = HashMap::new();
        for discard in view.discards()? {
            if let Some(route) = self.route_to(discard.host)
                && !self.transfers.discards.said.get(&route).is_some_and(|said| said.contains(&discard))
                && !self.transfers.discards.heard.contains(&discard)
            {
                due.entry(route).or_default().push(discard);
            }
        }
        self.transfers.discards.due = due;
        self.transfers.discards.aside.clear();
        Ok(())
    }

    /// Says it over the links that are up.
    pub(in crate::dispatch) fn send_discards(&mut self) {
        if self.transfers.discards.due.is_empty() {
            return;
        }
        let up = |route: &Route| {
            self.links.slots.get(route).is_some_and(|slot| slot.takes_starts().is_some() && slot.boot().is_some())
        };
        let open = |route: &Route| up(route) && !self.transfers.discards.said.contains_key(route);
        let routes: Vec<Route> = self.transfers.discards.routes().copied().filter(open).collect();
        for route in routes {
            let Some(due) = self.transfers.discards.due.remove(&route) else { continue };
            // Another machine would hear it and know nothing of them, and on theirs they would stay for ever.
            let (mut there, aside): (Vec<Discard>, Vec<Discard>) =
                due.into_iter().partition(|discard| self.is_there(route, discard.machine));
            if !aside.is_empty() {
                self.transfers.discards.aside.entry(route).or_default().extend(aside);
            }
            let later = there.split_off(there.len().min(BATCH));
            if !later.is_empty() {
                self.transfers.discards.due.insert(route, later);
            }
            let Some(Discard { attempt, .. }) = there.last().copied() else { continue };
            let attempts = there.iter().map(|discard| discard.attempt).collect();
            self.send(route, &ToAgent::Confirm { attempts });
            self.send(route, &ToAgent::Read { attempt, stream: Stream::Out, offset: 0, max: 0 });
            self.transfers.discards.said.insert(route, there);
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

    /// Strikes out what was heard.
    pub(in crate::dispatch) fn delete_discards(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        if self.transfers.discards.have_heard() {
            tx.discarded(&std::mem::take(&mut self.transfers.discards.heard))?;
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
    fn what_was_said_is_due_again_until_the_answer_about_the_last_one_comes() {
        let mut discards = Discards::default();
        let one = |number| Discard { host: ServerId(1), attempt: attempt(number), machine: None };
        discards.said.insert(Route::Here, vec![one(1), one(2)]);
        assert!(!discards.answered(Route::Here, attempt(1)));
        discards.forget(Route::Here);
        assert_eq!(discards.due[&Route::Here], [one(1), one(2)]);
        assert!(!discards.answered(Route::Here, attempt(2)), "that was asked over another link");
        let again = discards.due.remove(&Route::Here).unwrap();
        discards.said.insert(Route::Here, again);
        assert!(discards.answered(Route::Here, attempt(2)));
        assert_eq!(discards.heard, [one(1), one(2)]);
    }

    #[test]
    fn what_was_laid_aside_is_due_again_with_the_next_hello() {
        let mut discards = Discards::default();
        let one = Discard { host: ServerId(1), attempt: attempt(1), machine: Some(MachineId(7)) };
        discards.aside.insert(Route::Here, vec![one]);
        assert_eq!(discards.routes().count(), 0);
        discards.link_up(Route::Here);
        assert_eq!(discards.due[&Route::Here], [one]);
    }
}
