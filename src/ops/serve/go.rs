//! Callers that have heard to whom their task is redirected: only then may a first tier ask members to take it.

use super::{ServeSession, WORKING_EVERY, locked};
use crate::distributor::front::Asker;
use crate::protocol::distributor::{Answer, Ticket};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a caller: it says its go as soon as it hears the redirect.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the callers of questions have said their go.
#[derive(Debug, Default)]
pub(super) struct GoAheads {
    said: Mutex<HashMap<Ticket, u32>>,
    changed: Condvar,
}

impl GoAheads {
    /// The caller has said it once more.
    pub(super) fn said(&self, ticket: Ticket) {
        let mut said = locked(&self.said);
        let times = said.entry(ticket).or_default();
        *times = times.saturating_add(1);
        self.changed.notify_all();
    }

    /// The question is answered.
    pub(super) fn forget(&self, ticket: Ticket) {
        locked(&self.said).remove(&ticket);
    }

    /// A caller has dropped its question.
    pub(super) fn wake(&self) {
        // Who has just looked whether it is dropped waits by now.
        drop(locked(&self.said));
        self.changed.notify_all();
    }

    /// Waits until the caller has said it so often, or has dropped its question, or for `limit`. True: it has said it.
    fn wait(&self, ticket: Ticket, times: u32, dropped: impl Fn() -> bool, limit: Duration) -> bool {
        let goes = |said: &HashMap<Ticket, u32>| said.get(&ticket).is_some_and(|said| *said >= times);
        let waited = self.changed.wait_timeout_while(locked(&self.said), limit, |said| !goes(said) && !dropped());
        goes(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// The caller of a question.
pub(super) struct CallerOf<'s> {
    pub(super) session: &'s ServeSession,
    pub(super) ticket: Ticket,
    /// Redirects that it was told.
    pub(super) redirects: u32,
}

impl Asker for CallerOf<'_> {
    fn say(&mut self, word: Answer) {
        self.redirects += u32::from(matches!(word, Answer::Redirect { .. }));
        self.session.say(self.ticket, word, false);
    }

    fn goes(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        let (session, ticket, redirects) = (self.session, self.ticket, self.redirects);
        let dropped = || session.is_dropped(ticket);
        while !session.go.wait(ticket, redirects, dropped, WORKING_EVERY) {
            if dropped() || Instant::now() >= until {
                return false;
            }
            self.say(Answer::Working);
        }
        true
    }
}
