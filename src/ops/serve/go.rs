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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::fixture;
    use crate::ops::serve::Credentials;
    use crate::protocol::distributor::ToServe;
    use crate::protocol::frame;
    use std::sync::{Arc, TryLockError};

    const TICKET: Ticket = 7;

    fn session() -> (tempfile::TempDir, Arc<ServeSession>) {
        let (dir, grid) = fixture::grid();
        let row = grid.store.view().home_row().unwrap();
        let session = ServeSession {
            home: grid.store.home().clone(),
            credentials: Credentials { user: None, vouch: None, far: false, home: None },
            client: fixture::client(),
            login: Default::default(),
            peer: row.id,
            version: crate::protocol::distributor::VERSION,
            greeted: (row.id, row.incarnation),
            output: Mutex::new(Box::new(Vec::new())),
            stores: Mutex::default(),
            open: Mutex::default(),
            dropped: Mutex::default(),
            go: GoAheads::default(),
            on_the_way: Mutex::default(),
            room: Condvar::new(),
            share: None,
            kept: Mutex::default(),
        };
        (dir, Arc::new(session))
    }

    /// The caller says its go and drops the question.
    fn go_and_drop() -> Vec<u8> {
        let mut frames = Vec::new();
        for word in [ToServe::Go { ticket: TICKET }, ToServe::Drop { ticket: TICKET }] {
            frame::write(&mut frames, &word).unwrap();
        }
        frames
    }

    /// Is a go or a drop known of the question that is asked under this ticket now?
    fn has_word(session: &ServeSession) -> (bool, bool) {
        (session.go.wait(TICKET, 1, || true, Duration::ZERO), session.is_dropped(TICKET))
    }

    fn until(what: &str, so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
            std::thread::yield_now();
        }
    }

    /// Can a go or a drop be received now?
    fn is_shut(session: &ServeSession) -> bool {
        matches!(session.open.try_lock(), Err(TryLockError::WouldBlock))
    }

    #[test]
    fn go_and_drop_count_for_the_question_that_is_worked_at() {
        let (_dir, session) = session();
        locked(&session.open).insert(TICKET);
        session.listen(&mut go_and_drop().as_slice()).unwrap();
        assert_eq!(has_word(&session), (true, true));
        session.close(TICKET);
        assert_eq!(has_word(&session), (false, false));
    }

    #[test]
    fn go_and_drop_that_come_while_a_question_ends_do_not_count_for_the_next_one_of_its_ticket() {
        let (_dir, session) = session();
        locked(&session.open).insert(TICKET);
        locked(&session.dropped).insert(TICKET);
        session.go.said(TICKET);
        std::thread::scope(|scope| {
            // The end is held up in its middle.
            let middle = locked(&session.on_the_way);
            scope.spawn(|| session.close(TICKET));
            until("it has begun", || !session.is_dropped(TICKET));
            assert!(is_shut(&session), "words that come now would outlive the question");
            scope.spawn(|| session.listen(&mut go_and_drop().as_slice()).unwrap());
            drop(middle);
        });
        locked(&session.open).insert(TICKET);
        assert_eq!(has_word(&session), (false, false));
    }

    #[test]
    fn question_does_not_end_while_a_go_for_it_is_received() {
        let (_dir, session) = session();
        locked(&session.open).insert(TICKET);
        std::thread::scope(|scope| {
            let middle = locked(&session.go.said);
            scope.spawn(|| session.listen(&mut go_and_drop().as_slice()).unwrap());
            until("the go is being received", || is_shut(&session));
            scope.spawn(|| session.close(TICKET));
            drop(middle);
        });
        locked(&session.open).insert(TICKET);
        assert!(!has_word(&session).0);
    }
}
