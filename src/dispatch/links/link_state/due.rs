//! The times of a link: when it is checked again, when it is late, and when it is given up.

use super::{BRISK, LinkPhase, LinkState};
use crate::dispatch::links::connector::Connector;
use crate::link::LinkError;
use crate::link::trouble::Trouble;
use crate::model::server::Engine;
use std::time::{Duration, Instant};

/// How long an agent may take to send its hello after the login, without any progress.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// How long an agent of this host usually takes to send its hello, at most.
const HELLO_WITHIN: Duration = Duration::from_millis(20);

impl LinkState {
    /// How long the link has been up.
    pub fn up_for(&self, now: Instant) -> Option<Duration> {
        match &self.phase {
            LinkPhase::Up { since, .. } => Some(now.saturating_duration_since(*since)),
            _ => None,
        }
    }

    /// Keeps when the handshake last made progress.
    pub(super) fn note_progress(&mut self, connector: &Connector) {
        if let LinkPhase::Handshake { link, progress, .. } = &mut self.phase
            && link.take_progress()
        {
            *progress = connector.ambient.now().mono;
        }
    }

    /// True if the login is done and the hello is late. The link is kept, but callers that wait for a probe are told.
    pub fn hello_is_overdue(&self, patience: Duration, now: Instant) -> bool {
        matches!(&self.phase, LinkPhase::Handshake { link, progress, .. } if link.answered() && now.saturating_duration_since(*progress) > patience)
    }

    /// Until when the next turn may wait for a hello.
    pub fn hello_due_at(&self) -> Option<Instant> {
        match &self.phase {
            LinkPhase::Handshake { since, .. } => Some(*since + HELLO_WITHIN),
            _ => None,
        }
    }

    /// Why the link is given up, if it makes no progress.
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

    /// When the link is given up, if it makes no progress.
    fn deadline(&self, patience: Duration) -> Option<Instant> {
        let LinkPhase::Handshake { link, since, progress, .. } = &self.phase else { return None };
        Some(match (&self.to, link.answered()) {
            // ssh's own time-out comes first and names the step that took too long.
            (Engine::Ssh(_), false) => *since + patience + Duration::from_secs(1),
            _ => *progress + GREETING_LIMIT,
        })
    }

    /// When the link is checked again if no message arrives.
    pub fn due_at(&self, patience: Duration, now: Instant) -> Option<Instant> {
        match self.phase {
            // A link that is due now waits until another login ends, which sends a message.
            LinkPhase::Down { retry_at } => Some(retry_at).filter(|at| self.wanted && *at > now),
            LinkPhase::Handshake { since, progress, .. } => {
                let soon = [since + BRISK, progress + patience].into_iter().filter(|at| *at > now);
                self.deadline(patience).into_iter().chain(soon).min()
            }
            LinkPhase::Up { .. } => match self.probing {
                Some((_, asked)) => Some(asked + patience),
                None => self.read_at,
            },
        }
    }
}
