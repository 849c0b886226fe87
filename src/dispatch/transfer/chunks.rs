//! Chunks of outputs and results, and what is said about them: they go straight to where they belong, without a transaction.

use super::ending::{Ending, Results};
use super::outputs::FetchStep;
use super::results::{Arrived, ResultStep};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::id::AttemptId;
use crate::protocol::agent::{FromAgent, LINKS_SINCE};

/// A part of an output, as an agent gives it.
#[derive(Debug)]
pub(in crate::dispatch) struct OutputChunk {
    pub offset: u64,
    /// So many bytes from there on were dropped.
    pub left_out: u64,
    /// What lies behind them.
    pub bytes: Vec<u8>,
    pub at_end: bool,
}

impl OutputChunk {
    /// Where its bytes begin, and where they end.
    pub const fn range(&self) -> (u64, u64) {
        let from = self.offset.saturating_add(self.left_out);
        (from, from.saturating_add(self.bytes.len() as u64))
    }
}

impl Dispatcher {
    /// Gives chunks of outputs to those who follow, chunks of results to their files.
    pub(in crate::dispatch) fn take_chunks(&mut self) {
        for (route, next) in self.transfers.results.settled() {
            self.go_on(route, next);
        }
        for (route, message) in std::mem::take(&mut self.links.inbox) {
            match message {
                FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end } => {
                    let chunk = OutputChunk { offset, left_out, bytes, at_end };
                    self.take_output(route, attempt, stream, &chunk);
                }
                FromAgent::Linked { attempt, stream, linked } => {
                    let fetched = self.transfers.outputs.linked(&self.home, attempt, stream, linked);
                    self.fetch_on(route, fetched);
                }
                FromAgent::Cleared { result } => self.callers.cleared(route, &result),
                FromAgent::Need { bundle, offset, max } => self.need(route, bundle, offset, max),
                FromAgent::Packed { attempt, result } => {
                    let next = self.transfers.results.packed(&self.home, attempt, result);
                    self.go_on(route, next);
                }
                FromAgent::Packet { attempt, offset, bytes } => {
                    let next = self.transfers.results.packet(&self.home, attempt, offset, &bytes);
                    self.go_on(route, next);
                }
                other => self.links.inbox.push((route, other)),
            }
        }
    }

    fn take_output(&mut self, route: Route, attempt: AttemptId, stream: Stream, chunk: &OutputChunk) {
        if self.transfers.discards.answered(route, attempt) {
            return;
        }
        // A caller may read what is on its way home.
        self.callers.data(attempt, stream, chunk);
        if let Some(fetched) = self.transfers.outputs.chunk(&self.home, attempt, stream, chunk) {
            self.fetch_on(route, fetched);
        }
    }

    /// Begins to fetch an output whose end is not recorded yet.
    pub(in crate::dispatch) fn fetch_output(&mut self, route: Route, attempt: AttemptId) {
        let knows = |slot: &LinkState| slot.version >= LINKS_SINCE;
        let links = route == Route::Here && self.links.slots.get(&route).is_some_and(knows);
        let fetched = self.transfers.outputs.begin(&self.home, attempt, links);
        self.fetch_on(route, fetched);
    }

    fn fetch_on(&mut self, route: Route, FetchStep { ask, ending }: FetchStep) {
        for message in ask {
            self.send(route, &message);
        }
        self.transfers.endings.extend(ending);
    }

    /// Does what follows from a message of an agent about results.
    pub(in crate::dispatch) fn go_on(&mut self, route: Route, next: ResultStep) {
        for ask in next.ask {
            self.send(route, &ask);
        }
        match next.arrived {
            Some(Arrived::End(report, brought)) => {
                self.transfers.endings.push(Ending::Brought(report, Results::Brought(brought)))
            }
            Some(Arrived::Again(again)) => self.transfers.again.push(again),
            None => {}
        }
    }
}
