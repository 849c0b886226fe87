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
    pub(super) question: Option<Question>,
    /// The list of an array, which is sent before the question.
    pub(super) pieces: Vec<Vec<u8>>,
}

impl Pending {
    pub(super) fn too_new(&self) -> (u64, FromDispatcher) {
        // The question was not asked, so nothing was refused.
        let why = "the grid over there is older and can't answer this: bring it up to date".to_owned();
        let answer = Answer::No { why };
        (self.of.caller, FromDispatcher::Said { ticket: self.of.ticket, answer, last: true })
    }

    pub(super) fn failed(&self, error: &str) -> (u64, FromDispatcher) {
        (
            self.of.caller,
            FromDispatcher::Unsaid { ticket: self.of.ticket, heard: self.said.is_some(), why: error.to_owned() },
        )
    }
}
