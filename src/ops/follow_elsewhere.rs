//! Following a task that another home holds: its outputs come over the way that it went.

use super::follow::{FollowEvent, FollowSink, FollowedEnd};
use super::reader::{Follower, Woken};
use super::selecting::Chosen;
use super::{Grid, OpsError, cancel, elsewhere, files_elsewhere, follow, member_state, shell_code};
use crate::model::attempt::Stream;
use crate::model::task::State;
use crate::protocol::distributor::{Answer, Verb};
use crate::store::away::{Away, AwayState};
use std::io;
use std::time::Duration;

/// Pause between two questions to an owner that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Until it has ended, wherever that is; as [`follow`] does for tasks of this home.
pub fn follow_elsewhere(
    grid: &mut Grid,
    what: Chosen,
    mut away: Away,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<FollowedEnd, OpsError> {
    let mut said_why = false;
    // What was told already is skipped when the output is told anew after a failure.
    let mut told = ToldBytes::default();
    let mut sent = false;
    loop {
        if matches!(away.held, AwayState::By { .. }) {
            // Where the submit did not hear who took it, its files have still to follow.
            sent = sent || files_elsewhere::send(grid, &away).is_ok();
            let verb = Verb::Follow { index: what.index, streams: streams.to_vec() };
            let mut broken = None;
            told.again();
            let stop = follower.stop()?;
            let said = elsewhere::verb_until(grid, &away, verb, stop.clone(), &mut |word| match give(
                what, &mut told, word, sink,
            ) {
                Ok(()) => true,
                Err(error) => {
                    broken = Some(error);
                    false
                }
            });
            if let Some(error) = broken {
                return Err(OpsError::Output(error));
            }
            match said {
                Ok(Answer::Ended { state, code, .. }) => {
                    elsewhere::refresh(grid, &[away])?;
                    return Ok(FollowedEnd { state, code });
                }
                Ok(other) => return Err(OpsError::Grid(crate::distributor::members::words_of(other))),
                Err(_) if stop.is_due() => {}
                Err(error) if !said_why => {
                    said_why = true;
                    sink(FollowEvent::Note(&format!("{error}; asked again"))).map_err(OpsError::Output)?;
                }
                Err(_) => {}
            }
        } else if !said_why && let Some(row) = grid.store.view().task(what.task)? {
            said_why = true;
            let reason = row.reason.unwrap_or_else(|| "nobody has taken it yet".to_owned());
            sink(FollowEvent::Note(&format!("task {what} waits: {reason}"))).map_err(OpsError::Output)?;
        }
        if follower.wait(None, AGAIN)? == Woken::Interrupt
            && let Some(interrupts) = follower.interrupts.as_deref_mut()
        {
            if interrupts.take() > 1 {
                return Err(interrupts.left(what));
            }
            cancel::cancel(grid, &[what], Duration::from_secs(10))?;
            interrupts.cancelled();
            if let Some(Away { cancel: Some(_), .. }) = elsewhere::away(grid, what)? {
                // Nobody knows when that will be: whoever asked waits no longer.
                let words = format!(
                    "task {what}: cancel asked; where it is does not answer now and is told as soon as it does; {}",
                    cancel::if_lost(away.task)
                );
                sink(FollowEvent::Note(&words)).map_err(OpsError::Output)?;
                return Ok(FollowedEnd { state: State::Cancelled, code: 130 });
            }
            sink(FollowEvent::Note(&format!("task {what}: cancel asked; {}", follow::AGAIN_RETURNS)))
                .map_err(OpsError::Output)?;
        }
        follower.reader_gone()?;
        sink(FollowEvent::Still).map_err(OpsError::Output)?;
        super::dispatcher::wake(grid)?;
        match elsewhere::away(grid, what)? {
            Some(now) => away = now,
            None => {
                let state = member_state(&grid.store.view(), what)?;
                if state.ended() {
                    let (code, _) = shell_code(&grid.store.view(), what)?;
                    return Ok(FollowedEnd { state, code });
                }
                // The way led back: it is a task of this home by now.
                return follow::follow(grid, what, streams, follower, sink);
            }
        }
    }
}

/// How much of each output was told, in bytes over all members: outputs are told in the same order each time.
#[derive(Debug, Default)]
struct ToldBytes {
    out: u64,
    err: u64,
    skip_out: u64,
    skip_err: u64,
}

impl ToldBytes {
    /// The outputs begin anew.
    fn again(&mut self) {
        (self.skip_out, self.skip_err) = (self.out, self.err);
    }

    /// The part of a piece that was not told yet.
    fn fresh<'b>(&mut self, stream: Stream, bytes: &'b [u8]) -> &'b [u8] {
        let (told, skip) = match stream {
            Stream::Out => (&mut self.out, &mut self.skip_out),
            Stream::Err => (&mut self.err, &mut self.skip_err),
        };
        let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
        *skip -= skipped as u64;
        *told += (bytes.len() - skipped) as u64;
        &bytes[skipped..]
    }
}

fn give(what: Chosen, told: &mut ToldBytes, word: Answer, sink: &mut FollowSink<'_>) -> io::Result<()> {
    match word {
        Answer::Output { index, stream, bytes } => match told.fresh(stream, &bytes) {
            [] => Ok(()),
            bytes => sink(FollowEvent::Output { index, stream, bytes }),
        },
        Answer::Note(text) => sink(FollowEvent::Note(&text)),
        Answer::Member(index) => sink(FollowEvent::Member(what.task, index)),
        _ => Ok(()),
    }
}

/// `logs` of a task that another home holds.
pub fn logs_elsewhere(
    grid: &mut Grid,
    what: Chosen,
    away: &Away,
    streams: &[Stream],
    attempt: Option<u32>,
    sink: &mut FollowSink<'_>,
) -> Result<(), OpsError> {
    let verb = Verb::Logs { index: what.index, streams: streams.to_vec(), attempt };
    let mut broken = None;
    let mut told = ToldBytes::default();
    let said = elsewhere::verb(grid, away, verb, &mut |word| match give(what, &mut told, word, sink) {
        Ok(()) => true,
        Err(error) => {
            broken = Some(error);
            false
        }
    });
    match (broken, said) {
        (Some(error), _) => Err(OpsError::Output(error)),
        (None, Ok(Answer::Done)) => Ok(()),
        (None, Ok(other)) => Err(OpsError::Refused(crate::distributor::members::words_of(other))),
        (None, Err(error)) => Err(error),
    }
}
