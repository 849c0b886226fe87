//! The link to one other home, and the questions that are pending on it.

use super::pending::{CallerTicket, Pending};
use crate::dispatch::links::connector::Used;
use crate::dispatch::sealed;
use crate::link::{Link, LinkError};
use crate::model::id::HomeId;
use crate::model::ssh_command::SshCommand;
use crate::protocol::dispatcher::FromDispatcher;
use crate::protocol::distributor::{Answer, Question, Ticket, ToServe};
use std::time::{Duration, Instant};

/// A link that was quiet for this long is pinged before a question of a search is sent over it: its home may be gone, and
/// a question that may have been heard has to be settled with that very home.
const QUIET: Duration = Duration::from_secs(1);

/// A home whose link is up answers a ping within this time.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_millis(1_000);

/// A question that can be withdrawn has its first answer within this time, where another home can be asked instead.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// The state of a link.
#[derive(Debug)]
pub(super) enum PeerState {
    Down,
    Handshake { link: Link, since: Instant, used: Option<Used> },
    Up { link: Link, version: u32, home: HomeId },
}

/// Another home.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) phase: PeerState,
    pub(super) pending: Vec<Pending>,
    pub(super) used: Instant,
    pub(super) heard: Instant,
    /// A ping that was not answered yet, and when it was sent.
    pub(super) pinged: Option<(Ticket, Instant)>,
    /// It was taken for silent, and its link stays: its next word shows that it is back.
    pub(super) silent: bool,
    /// The ssh command for this home.
    pub(super) command: SshCommand,
    /// The number of the session that is tried next; `refused` says why the newest session was refused.
    pub(super) session: usize,
    pub(super) refused: Option<String>,
}

impl Peer {
    /// A home without a link.
    pub(super) const fn down(now: Instant, command: SshCommand) -> Self {
        let phase = PeerState::Down;
        Self {
            phase,
            pending: Vec::new(),
            used: now,
            heard: now,
            pinged: None,
            silent: false,
            command,
            session: 0,
            refused: None,
        }
    }
}

impl Peer {
    /// Sends the pending questions over a link that has come up. Questions that an older grid can't understand are answered here.
    pub(super) fn send_pending(
        &mut self,
        now: Instant,
        tickets: &mut Ticket,
    ) -> Result<Vec<(u64, FromDispatcher)>, LinkError> {
        sealed::assert_open();
        let PeerState::Up { version, .. } = &self.phase else { return Ok(Vec::new()) };
        let too_new = |p: &mut Pending| p.question.as_ref().is_some_and(|question| question.since() > *version);
        let refused: Vec<_> = self.pending.extract_if(.., too_new).map(|p| p.too_new()).collect();
        let quiet = now.duration_since(self.heard) >= QUIET;
        if quiet && self.pinged.is_none() && self.pending.iter().any(Pending::needs_proof) {
            self.ping(now, tickets)?;
        }
        let PeerState::Up { link, .. } = &mut self.phase else { return Ok(Vec::new()) };
        let held = quiet || self.pinged.is_some();
        for pending in self.pending.iter_mut().filter(|p| p.said.is_none() && !(held && p.needs_proof())) {
            let Some(question) = pending.question.take() else { continue };
            (pending.said, pending.heard) = (Some(now), now);
            pending.by = pending.by.filter(|_| pending.revocable).map(|_| now + FIRST_ANSWER);
            for bytes in pending.pieces.drain(..) {
                link.send(&ToServe::Piece { ticket: pending.ticket, bytes })?;
            }
            link.send(&ToServe::Ask { ticket: pending.ticket, question })?;
        }
        Ok(refused)
    }

    /// Asks the home for a sign of life.
    pub(super) fn ping(&mut self, now: Instant, tickets: &mut Ticket) -> Result<(), LinkError> {
        let PeerState::Up { link, home, .. } = &mut self.phase else { return Ok(()) };
        // About no task at all: any home answers it at once.
        *tickets += 1;
        let question = Question::States { owner: *home, user: None, uuids: Vec::new() };
        link.send(&ToServe::Ask { ticket: *tickets, question })?;
        self.pinged = Some((*tickets, now));
        Ok(())
    }

    /// True if this is the ticket of the ping.
    pub(super) fn is_ping(&self, ticket: Ticket) -> bool {
        self.pinged.is_some_and(|(ping, _)| ping == ticket)
    }

    /// True if a ping has had time enough for its answer. A young one says nothing: others may wait for that home, which is only slow.
    pub(super) fn is_still(&self, now: Instant) -> bool {
        self.pinged.is_some_and(|(_, at)| now.duration_since(at) >= SIGN_OF_LIFE)
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        last: bool,
        now: Instant,
    ) -> Option<(u64, FromDispatcher)> {
        self.used = now;
        let at = self.pending.iter().position(|p| p.ticket == ticket)?;
        (self.pending[at].heard, self.pending[at].by) = (now, None);
        let CallerTicket { caller, ticket } = self.pending[at].of;
        if last {
            self.pending.remove(at);
        }
        Some((caller, FromDispatcher::Said { ticket, answer, last }))
    }

    /// Withdraws questions that have no first answer yet, and asks for a sign of life. Those that were not sent wait for a hello.
    pub(super) fn withdraw_late(
        &mut self,
        late: &[Pending],
        now: Instant,
        tickets: &mut Ticket,
    ) -> Result<(), LinkError> {
        let PeerState::Up { link, .. } = &mut self.phase else { return Ok(()) };
        withdraw(link, late);
        self.silent = true;
        // The time of a ping that is under way counts from when it was sent.
        if self.pinged.is_some() { Ok(()) } else { self.ping(now, tickets) }
    }
}

/// Withdraws the questions that were sent.
pub(super) fn withdraw(link: &mut Link, questions: &[Pending]) {
    for pending in questions.iter().filter(|p| p.said.is_some()) {
        // A broken link is noticed where it is read.
        let _ = link.send(&ToServe::Drop { ticket: pending.ticket });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_stands_still_once_a_ping_has_had_its_time() {
        let now = Instant::now();
        let mut peer = Peer::down(now, SshCommand::default());
        assert!(!peer.is_still(now + SIGN_OF_LIFE));
        peer.pinged = Some((1, now));
        assert!(!peer.is_still(now + SIGN_OF_LIFE / 2));
        assert!(peer.is_still(now + SIGN_OF_LIFE));
    }
}
