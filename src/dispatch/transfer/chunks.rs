//! Pieces of outputs and files, and what is said about them: they go straight to where they belong, without a transaction.

use crate::dispatch::transfer::results::Next;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::Dispatcher;
use crate::protocol::agent::FromAgent;

/// A piece of an output, as an agent gives it.
#[derive(Debug)]
pub(in crate::dispatch) struct OutputPiece {
    pub offset: u64,
    /// So many bytes from there on were dropped.
    pub left_out: u64,
    /// What lies behind them.
    pub bytes: Vec<u8>,
    pub at_end: bool,
}

impl OutputPiece {
    /// Where its bytes begin, and where they end.
    pub const fn range(&self) -> (u64, u64) {
        let from = self.offset.saturating_add(self.left_out);
        (from, from.saturating_add(self.bytes.len() as u64))
    }
}

impl Dispatcher {
    /// Pieces of outputs go straight to those who follow, pieces of files to where they are kept; none needs a transaction.
    pub(in crate::dispatch) fn data(&mut self) {
        for (route, next) in self.bringing.settled() {
            self.go_on(route, next);
        }
        for (route, next) in self.bringing.settled() {
            self.go_on(route, next);
        }
        for (route, message) in std::mem::take(&mut self.inbox) {
            let (attempt, stream, piece) = match message {
                FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end } => {
                    (attempt, stream, OutputPiece { offset, left_out, bytes, at_end })
                }
                FromAgent::Cleared { result } => {
                    self.callers.cleared(route, &result);
                    continue;
                }
                FromAgent::Need { bundle, offset, max } => {
                    self.need(route, bundle, offset, max);
                    continue;
                }
                FromAgent::Packed { attempt, result } => {
                    let next = self.bringing.packed(&self.home, attempt, result);
                    self.go_on(route, next);
                    continue;
                }
                FromAgent::Packet { attempt, offset, bytes } => {
                    let next = self.bringing.packet(&self.home, attempt, offset, &bytes);
                    self.go_on(route, next);
                    continue;
                }
                other => {
                    self.inbox.push((route, other));
                    continue;
                }
            };
            if self.discards.answered(route, attempt) {
                continue;
            }
            if let Some(end) = self.fetches.data(&self.home, attempt, stream, &piece) {
                for message in end.ask {
                    self.tell(route, &message);
                }
                if let Some(event) = end.whole {
                    self.inbox.push((route, FromAgent::Events(vec![event])));
                }
            } else {
                self.callers.data(attempt, stream, &piece);
            }
        }
    }

    /// Does what follows from a word of an agent about files.
    pub(in crate::dispatch) fn go_on(&mut self, route: Route, next: Next) {
        for ask in next.ask {
            self.tell(route, &ask);
        }
        self.again.extend(next.again.map(|(attempt, known)| (route, attempt, known)));
        if let Some(event) = next.whole {
            self.inbox.push((route, FromAgent::Events(vec![event])));
        }
    }
}
