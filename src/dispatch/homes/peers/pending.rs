//! A question on its way to another home.

use crate::protocol::dispatcher::FromDispatcher;
use crate::protocol::distributor::{Answer, Question, Ticket};
use std::time::Instant;

/// A question on its way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    /// Whose it is: the caller and its own ticket.
    pub(super) caller: u64,
    pub(super) theirs: Ticket,
    /// When it was said; None: the link is not up yet.
    pub(super) said: Option<Instant>,
    /// When the last word on it came.
    pub(super) heard: Instant,
    /// It ends when something happens over there, or when its caller leaves.
    pub(super) patient: bool,
    pub(super) question: Option<Question>,
    /// The list of an array, which goes before the question.
    pub(super) pieces: Vec<Vec<u8>>,
}

impl Pending {
    pub(super) fn too_new(&self) -> (u64, FromDispatcher) {
        // It was not asked, so it has refused nothing.
        let why = "the grid over there is older and can't answer this: bring it up to date".to_owned();
        let answer = Answer::No { why };
        (self.caller, FromDispatcher::Said { ticket: self.theirs, answer, last: true })
    }

    pub(super) fn failed(&self, error: &str) -> (u64, FromDispatcher) {
        (self.caller, FromDispatcher::Unsaid { ticket: self.theirs, heard: self.said.is_some(), why: error.to_owned() })
    }
}
