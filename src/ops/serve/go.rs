//! Callers that have heard to whom their task is redirected: only then may a first tier ask members to take it.

use super::{ServeSession, WORKING_EVERY, locked};
use crate::distributor::front::Asker;
use crate::protocol::distributor::{Answer, Ticket};
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a caller: it says its go as soon as it hears the redirect.
const PATIENCE: Duration = Duration::from_secs(60);

/// The questions whose callers have said their go.
#[derive(Debug, Default)]
pub(super) struct GoAheads {
    tickets: Mutex<HashSet<Ticket>>,
    changed: Condvar,
}

impl GoAheads {
    /// The caller has said it.
    pub(super) fn said(&self, ticket: Ticket) {
        locked(&self.tickets).insert(ticket);
        self.changed.notify_all();
    }

    /// The question is answered.
    pub(super) fn forget(&self, ticket: Ticket) {
        locked(&self.tickets).remove(&ticket);
    }

    /// A caller has dropped its question.
    pub(super) fn wake(&self) {
        // Who has just looked whether it is dropped waits by now.
        drop(locked(&self.tickets));
        self.changed.notify_all();
    }

    /// Waits until the caller has said it, or has dropped its question, or for `limit`. True: it has said it.
    fn wait(&self, ticket: Ticket, dropped: impl Fn() -> bool, limit: Duration) -> bool {
        let tickets = locked(&self.tickets);
        let waits = |tickets: &mut HashSet<Ticket>| !tickets.contains(&ticket) && !dropped();
        let waited = self.changed.wait_timeout_while(tickets, limit, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.contains(&ticket)
    }
}

/// The caller of a question.
pub(super) struct CallerOf<'s> {
    pub(super) session: &'s ServeSession,
    pub(super) ticket: Ticket,
}

impl Asker for CallerOf<'_> {
    fn say(&mut self, word: Answer) {
        self.session.say(self.ticket, word, false);
    }

    fn goes(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        let (session, ticket) = (self.session, self.ticket);
        let dropped = || session.is_dropped(ticket);
        while !session.go.wait(ticket, dropped, WORKING_EVERY) {
            if dropped() || Instant::now() >= until {
                return false;
            }
            self.say(Answer::Working);
        }
        true
    }
}
