//! A pending question to another home.

use crate::protocol::dispatcher::FromDispatcher;
use crate::protocol::distributor::{Answer, Question, Ticket};
use std::time::Instant;

/// A question as its caller counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerTicket {
    pub caller: u64,
    /// The caller's own number of the question.
    pub ticket: Ticket,
}

/// A question of a caller to another home.
#[derive(Debug)]
pub struct PeerQuestion {
    pub of: CallerTicket,
    pub question: Question,
    /// Another home can be asked instead, if this one gives no sign of life at once.
    pub soon: bool,
}

/// A pending question.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) of: CallerTicket,
    /// When it was sent. None: the link is not up yet.
    pub(super) said: Option<Instant>,
    /// When the last answer to it was received.
    pub(super) heard: Instant,
    /// The question has no time-out: it ends with an event at the other home, or when its caller leaves.
    pub(super) patient: bool,
    /// It can be withdrawn until its first answer, also after it was sent.
    pub(super) revocable: bool,
    pub(super) question: Option<Question>,
    /// It is given up then: it was to be sent by then, or a revocable one was to have its first answer.
    pub(super) by: Option<Instant>,
    /// The list of an array, which is sent before the question.
    pub(super) pieces: Vec<Vec<u8>>,
}

impl Pending {
    /// True if it must not be sent over a link that may be dead.
    pub(super) fn needs_proof(&self) -> bool {
        self.question.as_ref().is_some_and(Question::is_of_a_search)
    }

    /// True if it is late.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.by.is_some_and(|by| now >= by)
    }

    pub(super) fn late(&self, why: &str) -> (u64, FromDispatcher) {
        let (caller, ticket) = (self.of.caller, self.of.ticket);
        (caller, FromDispatcher::Unsaid { ticket, heard: false, why: why.to_owned(), late: true })
    }

    pub(super) fn too_new(&self) -> (u64, FromDispatcher) {
        // The question was not asked, so nothing was refused.
        let why = "the grid over there is older and can't answer this: bring it up to date".to_owned();
        let answer = Answer::No { why };
        (self.of.caller, FromDispatcher::Said { ticket: self.of.ticket, answer, last: true })
    }

    pub(super) fn failed(&self, error: &str) -> (u64, FromDispatcher) {
        (
            self.of.caller,
            FromDispatcher::Unsaid {
                ticket: self.of.ticket,
                heard: self.said.is_some(),
                why: error.to_owned(),
                late: false,
            },
        )
    }
}
