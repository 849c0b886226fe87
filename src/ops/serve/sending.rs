//! What `grid serve` sends to its caller: answers, outputs and reports in pieces, signs of life.

use super::{ServeSession, WHOLE_MAX, WINDOW, WORKING_EVERY, locked};
use crate::protocol::distributor::{Answer, FromServe, PARTS_SINCE, PIECE_MAX, REPORT_MAX, Ticket};
use crate::protocol::frame;
use std::sync::PoisonError;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

impl ServeSession {
    /// Sends an answer to the caller.
    pub(super) fn say(&self, ticket: Ticket, answer: Answer, last: bool) {
        self.write(&FromServe::Answer { ticket, answer, last });
    }

    /// Sends a long report up to its last piece, which it returns. A caller that knows no pieces gets the whole report.
    pub(super) fn in_pieces(&self, ticket: Ticket, answer: Answer) -> Answer {
        let Answer::Report(text) = answer else { return answer };
        let (most, to) = if self.version < PARTS_SINCE {
            (WHOLE_MAX, "to an older grid: bring it up to date")
        } else {
            (REPORT_MAX, "between homes")
        };
        if text.len() > most {
            return Answer::Denied(format!("its report of {} bytes: {most} at most travel {to}", text.len()));
        }
        if self.version < PARTS_SINCE {
            return Answer::Report(text);
        }
        let mut rest = text.as_str();
        while rest.len() > PIECE_MAX && !self.is_dropped(ticket) {
            let at = (0..=PIECE_MAX).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(PIECE_MAX);
            let (piece, after) = rest.split_at(at);
            self.pour(ticket, Answer::Part(piece.to_owned()));
            rest = after;
        }
        if self.is_dropped(ticket) {
            // The rest may be longer than a frame, and nobody waits for it.
            return Answer::Done;
        }
        Answer::Report(rest.to_owned())
    }

    /// Sends an answer to the caller. Outputs and reports wait until enough of what was sent before was taken, so a slow reader delays
    /// itself alone.
    pub(super) fn pour(&self, ticket: Ticket, word: Answer) {
        let bytes = word.in_window();
        if bytes > 0 {
            let mut ways = locked(&self.on_the_way);
            while ways.get(&ticket).is_some_and(|sent| *sent >= WINDOW) && !self.is_dropped(ticket) {
                ways = self.room.wait_timeout(ways, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
            }
            *ways.entry(ticket).or_default() += bytes;
        }
        self.say(ticket, word, false);
    }

    /// Does long work; the caller hears at once, and at intervals, that it is under way.
    pub(super) fn at_work<T>(&self, ticket: Ticket, work: impl FnOnce() -> T) -> T {
        let (done, ended) = mpsc::channel::<()>();
        std::thread::scope(move |scope| {
            // It goes when the work has ended, in whatever way.
            let _done = done;
            scope.spawn(move || {
                loop {
                    self.say(ticket, Answer::Working, false);
                    if ended.recv_timeout(WORKING_EVERY) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                }
            });
            work()
        })
    }

    pub(super) fn write(&self, message: &FromServe) {
        // Who does not listen is gone; the end of the input tells that.
        let _ = frame::write(&mut *locked(&self.output), message);
    }

    /// Has the caller dropped this question?
    pub(super) fn is_dropped(&self, ticket: Ticket) -> bool {
        locked(&self.dropped).contains(&ticket)
    }
}
