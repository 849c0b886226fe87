//! Chunks of outputs and results, and messages about them: handled at once, without a transaction.

use super::ending::{Ending, Results};
use super::outputs::FetchStep;
use super::results::{Arrived, ResultStep};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::id::AttemptId;
use crate::protocol::agent::{FromAgent, LINKS_SINCE};

/// A chunk of an output, as an agent sends it.
#[derive(Debug)]
pub(in crate::dispatch) struct OutputChunk {
    pub offset: u64,
    /// How many bytes after the offset were dropped.
    pub left_out: u64,
    /// The bytes after the dropped ones.
    pub bytes: Vec<u8>,
    pub at_end: bool,
}

impl OutputChunk {
    /// The offsets of the first byte and after the last one.
    pub const fn range(&self) -> (u64, u64) {
        let from = self.offset.saturating_add(self.left_out);
        (from, from.saturating_add(self.bytes.len() as u64))
    }
}

impl Dispatcher {
    /// Gives chunks of outputs to their followers and files, and chunks of results to their files.
    pub(in crate::dispatch) fn take_chunks(&mut self) {
        for (route, next) in self.transfers.results.settled() {
            self.carry_out_step(route, next);
        }
        for (route, message) in std::mem::take(&mut self.links.inbox) {
            match message {
                FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end } => {
                    let chunk = OutputChunk { offset, left_out, bytes, at_end };
                    self.take_output(route, attempt, stream, &chunk);
                }
                FromAgent::Linked { attempt, stream, linked } => {
                    let fetched = self.transfers.outputs.linked(&self.home, attempt, stream, linked);
                    self.carry_out_fetch_step(route, fetched);
                }
                FromAgent::Cleared { result } => self.callers.cleared(route, &result),
                FromAgent::Need { bundle, offset, max } => self.need(route, bundle, offset, max),
                FromAgent::Packed { attempt, result } => {
                    let next = self.transfers.results.packed(&self.home, attempt, result);
                    self.carry_out_step(route, next);
                }
                FromAgent::Packet { attempt, offset, bytes } => {
                    let next = self.transfers.results.packet(&self.home, attempt, offset, &bytes);
                    self.carry_out_step(route, next);
                }
                other => self.links.inbox.push((route, other)),
            }
        }
    }

    fn take_output(&mut self, route: Route, attempt: AttemptId, stream: Stream, chunk: &OutputChunk) {
        if self.transfers.discards.answered(route, attempt) {
            return;
        }
        // A caller may read an output while it is fetched.
        self.callers.data(attempt, stream, chunk);
        if let Some(fetched) = self.transfers.outputs.chunk(&self.home, attempt, stream, chunk) {
            self.carry_out_fetch_step(route, fetched);
        }
    }

    /// Starts to fetch an output whose end is not recorded yet.
    pub(in crate::dispatch) fn fetch_output(&mut self, route: Route, attempt: AttemptId) {
        let knows = |slot: &LinkState| slot.version >= LINKS_SINCE;
        let links = route == Route::Here && self.links.slots.get(&route).is_some_and(knows);
        let fetched = self.transfers.outputs.begin(&self.home, attempt, links);
        self.carry_out_fetch_step(route, fetched);
    }

    fn carry_out_fetch_step(&mut self, route: Route, FetchStep { ask, ending }: FetchStep) {
        for message in ask {
            self.send(route, &message);
        }
        self.transfers.endings.extend(ending);
    }

    /// Carries out the next step of a fetch of results.
    pub(in crate::dispatch) fn carry_out_step(&mut self, route: Route, next: ResultStep) {
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
