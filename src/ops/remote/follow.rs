//! Follows a task in another home: its outputs come over the link by which it was submitted.

use super::owner::{send_verb, send_verb_until};
use super::states::{has_moved, refresh, why_waiting};
use super::{away as row_of, files};
use crate::distributor::members::words_of;
use crate::model::attempt::Stream;
use crate::model::task::State;
use crate::ops::follow::{FollowEvent, FollowSink, FollowedEnd, NEVER_STARTED, WAITS};
use crate::ops::logs::LogRequest;
use crate::ops::reader::{Follower, Woken};
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError, cancel, follow, member_state, shell_code};
use crate::protocol::distributor::{Answer, Verb};
use crate::store::away::{Away, AwayState};
use std::io;
use std::time::Duration;

/// Pause between two questions to an owner that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows a task until it has ended, as [`follow`] does for tasks of this home.
pub fn follow_remote(
    grid: &mut Grid,
    what: Chosen,
    mut away: Away,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<FollowedEnd, OpsError> {
    let mut said_why = false;
    // After a failure the output begins anew: what was passed on already is skipped.
    let mut told = ToldBytes::default();
    let mut sent = false;
    loop {
        if matches!(away.held, AwayState::By { .. }) {
            // Where the submit did not hear who took it, its files have still to follow.
            sent = sent || files::send(grid, &away).is_ok();
            let verb = Verb::Follow { index: what.index, streams: streams.to_vec() };
            let mut broken = None;
            told.again();
            let stop = follower.stop()?;
            let holder = grid.store.view().task(what.task)?.map(|row| row.holder().to_owned());
            let followed = Followed { task: what, holder: holder.as_deref() };
            let said = send_verb_until(grid, &away, verb, stop.clone(), &mut |word| match pass_on(
                followed, &mut told, word, sink,
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
                    refresh(grid, &[away])?;
                    return Ok(FollowedEnd { state, code });
                }
                Ok(other) => return Err(OpsError::Grid(words_of(other))),
                Err(_) if stop.is_due() || has_moved(grid, &away)? => {}
                Err(error) if !said_why => {
                    said_why = true;
                    sink(FollowEvent::Note(&format!("{error}; asked again"))).map_err(OpsError::Output)?;
                }
                Err(_) => {}
            }
        } else if !said_why && let Some(row) = grid.store.view().task(what.task)? {
            said_why = true;
            let reason = why_waiting(row.reason.as_ref());
            sink(FollowEvent::Waits { task: what, place: None, reason }).map_err(OpsError::Output)?;
        }
        if follower.wait(None, AGAIN)? == Woken::Interrupt
            && let Some(interrupts) = follower.interrupts.as_deref_mut()
        {
            if interrupts.take() > 1 {
                return Err(interrupts.interrupted(what));
            }
            let change = cancel::cancel(grid, &[what], Duration::from_secs(10))?.pop();
            interrupts.cancelled();
            let said = change.and_then(|change| change.note).unwrap_or_else(|| "cancel asked".to_owned());
            if let Some(Away { cancel: Some(_), .. }) = row_of(grid, what)? {
                // It is not known when its home hears that: the command waits no longer.
                sink(FollowEvent::Note(&format!("task {what}: {said}"))).map_err(OpsError::Output)?;
                return Ok(FollowedEnd { state: State::Cancelled, code: 130 });
            }
            sink(FollowEvent::Note(&format!("task {what}: {said}; {}", follow::AGAIN_RETURNS)))
                .map_err(OpsError::Output)?;
        }
        follower.reader_gone()?;
        sink(FollowEvent::Still).map_err(OpsError::Output)?;
        crate::ops::dispatcher::wake(grid)?;
        match row_of(grid, what)? {
            Some(now) => {
                // A new home has none of its files.
                sent &= now.held == away.held;
                away = now;
            }
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

/// The bytes of each output that were passed on, over all members: the order of outputs is the same each time.
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

    /// The part of a piece that was not passed on yet.
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

/// A followed task, and the distributor that has it.
#[derive(Debug, Clone, Copy)]
struct Followed<'a> {
    task: Chosen,
    holder: Option<&'a str>,
}

fn pass_on(followed: Followed<'_>, told: &mut ToldBytes, word: Answer, sink: &mut FollowSink<'_>) -> io::Result<()> {
    match word {
        Answer::Output { index, stream, bytes } => match told.fresh(stream, &bytes) {
            [] => Ok(()),
            bytes => sink(FollowEvent::Output { index, stream, bytes }),
        },
        Answer::Note(text) => {
            let task = followed.task;
            if let Some(reason) = text.strip_prefix(WAITS) {
                sink(FollowEvent::Waits { task, place: followed.holder, reason })
            } else if let Some(state) = text.strip_prefix(NEVER_STARTED) {
                sink(FollowEvent::NeverStarted { task, state })
            } else {
                sink(FollowEvent::Note(&text))
            }
        }
        Answer::Member(index) => sink(FollowEvent::Member(followed.task.task, index)),
        _ => Ok(()),
    }
}

/// `logs` of a task that another home holds.
pub fn remote_logs(
    grid: &mut Grid,
    what: Chosen,
    away: &Away,
    wanted: &LogRequest,
    sink: &mut FollowSink<'_>,
) -> Result<(), OpsError> {
    let verb = Verb::Logs { index: what.index, streams: wanted.streams.clone(), attempt: wanted.attempt };
    let mut broken = None;
    let mut told = ToldBytes::default();
    let followed = Followed { task: what, holder: None };
    let said = send_verb(grid, away, verb, &mut |word| match pass_on(followed, &mut told, word, sink) {
        Ok(()) => true,
        Err(error) => {
            broken = Some(error);
            false
        }
    });
    match (broken, said) {
        (Some(error), _) => Err(OpsError::Output(error)),
        (None, Ok(Answer::Done)) => Ok(()),
        (None, Ok(other)) => Err(OpsError::Refused(words_of(other))),
        (None, Err(error)) => Err(error),
    }
}
