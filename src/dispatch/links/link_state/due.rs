//! When a link is looked at again, is late, and is given up.

use super::{BRISK, LinkPhase, LinkState};
use crate::link::LinkError;
use crate::link::trouble::Trouble;
use crate::model::server::Engine;
use std::time::{Duration, Instant};

/// How long an agent may take to say hello once the login is done, without any progress.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// And how long an agent of this host usually takes at most.
const HELLO_WITHIN: Duration = Duration::from_millis(20);
impl LinkState {
    /// Logged in, and the agent says nothing: it may yet, but who asked for a reading need not wait for that.
    pub fn hello_is_overdue(&self, patience: Duration, now: Instant) -> bool {
        matches!(&self.phase, LinkPhase::Handshake { link, .. } if link.answered() && now.saturating_duration_since(link.progress()) > patience)
    }

    /// Until when a hello may be waited for, where nobody is held up much by that.
    pub fn hello_due_at(&self) -> Option<Instant> {
        match &self.phase {
            LinkPhase::Handshake { since, .. } => Some(*since + HELLO_WITHIN),
            _ => None,
        }
    }

    /// One that does not get on any more, and why that is the end of it.
    pub fn overdue(&self, patience: Duration, now: Instant) -> Option<LinkError> {
        let LinkPhase::Handshake { link, .. } = &self.phase else { return None };
        if self.deadline(patience)? > now {
            return None;
        }
        Some(match (&self.to, link.answered()) {
            (Engine::Ssh(_), false) => LinkError::Trouble(Trouble::NoAnswer),
            _ => LinkError::Trouble(Trouble::Other("the agent did not say hello".to_owned())),
        })
    }

    /// When it is given up, if it does not get on.
    fn deadline(&self, patience: Duration) -> Option<Instant> {
        let LinkPhase::Handshake { link, since, .. } = &self.phase else { return None };
        Some(match (&self.to, link.answered()) {
            // ssh's own time-out comes first and knows better what it waited for.
            (Engine::Ssh(_), false) => *since + patience + Duration::from_secs(1),
            _ => link.progress() + GREETING_LIMIT,
        })
    }

    /// When it is to be looked at again although nobody spoke.
    pub fn due_at(&self, patience: Duration, now: Instant) -> Option<Instant> {
        match self.phase {
            // One that is due already waits for others that log in; they will speak.
            LinkPhase::Down { retry_at } => Some(retry_at).filter(|at| self.wanted && *at > now),
            LinkPhase::Handshake { ref link, since, .. } => {
                let soon = [since + BRISK, link.progress() + patience].into_iter().filter(|at| *at > now);
                self.deadline(patience).into_iter().chain(soon).min()
            }
            LinkPhase::Up { .. } => match self.probing {
                Some((_, asked)) => Some(asked + patience),
                None => self.read_at,
            },
        }
    }
}
