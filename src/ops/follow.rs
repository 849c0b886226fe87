//! Follows the outputs of tasks that have not ended, in any home: `grid run` after its submit, and `grid logs -f`.

use super::reader::{Follower, Woken, closed};
use super::remote::follow::follow_remote;
use super::selecting::Chosen;
use super::submit::{Several, waits_in};
use super::wait::settle;
use super::{Grid, OpsError, cancel, logs, member_state, remote, shell_code};
use crate::dispatch::client::losses::Losses;
use crate::dispatch::client::start::{self, Connection};
use crate::model::attempt::Stream;
use crate::model::id::{Index, TaskId};
use crate::model::task::State;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::members::Outputs;
use crate::store::tasks::Shape;
use std::os::fd::AsFd;
use std::time::Duration;

/// An event while a task is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowEvent<'a> {
    /// A piece of an output.
    Output { index: Index, stream: Stream, bytes: &'a [u8] },
    /// The member of the output that follows, if several are printed.
    Member(TaskId, Index),
    /// A message for stderr, for example that a cancel is recorded.
    Note(&'a str),
    /// Why the followed task waits, and in which distributor, where a person should know it. Each home has its own number for it.
    Waits { task: Chosen, place: Option<&'a str>, reason: &'a str },
    /// The task has no output, for it never started.
    NeverStarted { task: Chosen, state: &'a str },
    /// Nothing new; sent now and then to check that the sink still accepts events.
    Still,
}

/// Takes the events; an error (a closed pipe) stops the follow.
pub type FollowSink<'s> = dyn FnMut(FollowEvent<'_>) -> std::io::Result<()> + 's;

/// How a followed task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowedEnd {
    pub state: State,
    /// The exit code as a shell gives it: 128+signal, 124, 125, 130.
    pub code: u8,
}

/// How a note to another home begins that says why a task waits. It leaves out the task, which has another number there.
pub(super) const WAITS: &str = "waits: ";

/// How a note to another home begins that says that a task has no output; without the task, too.
pub(super) const NEVER_STARTED: &str = "no output, it never started: ";

/// The note on what a second Ctrl-C does.
pub(super) const AGAIN_RETURNS: &str = "Ctrl-C again returns at once, and the cancel goes on";

/// Both outputs, in the order in which they are printed.
const BOTH: [Stream; 2] = [Stream::Out, Stream::Err];

/// Follows a task, or one member, until it has ended. `run`: the first Ctrl-C cancels the task, the second returns at once.
pub fn run(
    grid: &mut Grid,
    what: Chosen,
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<FollowedEnd, OpsError> {
    if let Some(interrupts) = &mut follower.interrupts {
        interrupts.submitted(what);
    }
    let (ending, gone) = follow_to_end(grid, what, &BOTH, follower, sink)?;
    // Outputs that are gone do not change the code.
    gone.iter().try_for_each(|words| tell(sink, FollowEvent::Note(words)))?;
    Ok(ending)
}

/// `logs -f`: as [`run`], but Ctrl-C only leaves. Only the streams in `streams`. [`OpsError::Output`] once the reader has gone.
pub fn follow(
    grid: &mut Grid,
    what: Chosen,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<FollowedEnd, OpsError> {
    let (ending, gone) = follow_to_end(grid, what, streams, follower, sink)?;
    logs::error_if_gone(gone)?;
    Ok(ending)
}

/// Follows until the end; gives the end, and a message for each output that is gone.
fn follow_to_end(
    grid: &mut Grid,
    what: Chosen,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<(FollowedEnd, Vec<String>), OpsError> {
    if remote::away(grid, what)?.is_none()
        && let Some(ended) = follow_here(grid, what, streams, follower, sink)?
    {
        return Ok(ended);
    }
    match remote::away(grid, what)? {
        Some(away) => Ok((follow_remote(grid, what, away, streams, follower, sink)?, Vec::new())),
        // It came back meanwhile.
        None => follow_to_end(grid, what, streams, follower, sink),
    }
}

/// Follows a task of this home until the end. None: the home gave it up before anything of it began.
fn follow_here(
    grid: &mut Grid,
    what: Chosen,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<Option<(FollowedEnd, Vec<String>)>, OpsError> {
    let mut gone = Vec::new();
    let row = grid.store.view().task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    match (what.index, row.shape) {
        (None, Shape::Array { .. } | Shape::Lines) => {
            // Members in their order: each is followed while it runs; a member that ended meanwhile is printed whole.
            for position in 0..row.size {
                let index = row.shape.index_at(position);
                let member = Chosen { task: what.task, index: Some(index) };
                let Some(words) = follow_member(grid, member, index, streams, follower, sink)? else { return Ok(None) };
                gone.extend(words);
            }
        }
        (index, _) => {
            let index = index.unwrap_or(Index(0));
            let Some(words) = follow_member(grid, what, index, streams, follower, sink)? else { return Ok(None) };
            gone.extend(words);
        }
    }
    settle(grid)?;
    let view = grid.store.view();
    let (code, _) = shell_code(&view, what)?;
    Ok(Some((FollowedEnd { state: member_state(&view, what)?, code }, gone)))
}

/// How far the outputs of one attempt are printed.
#[derive(Debug, Default)]
struct FollowedSoFar {
    number: u32,
    out: u64,
    err: u64,
}

impl FollowedSoFar {
    fn of(&mut self, stream: Stream) -> &mut u64 {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// Sets the attempt: offsets start at 0 for each.
    fn attempt(&mut self, number: u32) {
        if self.number != number {
            *self = Self { number, out: 0, err: 0 };
        }
    }
}

/// Gives a message for each output that is gone. None: another home has the task now.
fn follow_member(
    grid: &mut Grid,
    what: Chosen,
    index: Index,
    streams: &[Stream],
    follower: &mut Follower<'_>,
    sink: &mut FollowSink<'_>,
) -> Result<Option<Vec<String>>, OpsError> {
    let mut told = FollowedSoFar::default();
    let mut said_why = false;
    let mut connection: Option<Connection> = None;
    let mut losses = Losses::default();
    let mut ended = false;
    loop {
        ended |= member_state(&grid.store.view(), Chosen { task: what.task, index: Some(index) })?.ended();
        // After the state: the end may be that of another home, which has the outputs too.
        if remote::away(grid, what)?.is_some() {
            return Ok(None);
        }
        if ended {
            break;
        }
        grid.store.check_in_place()?;
        let open = match &mut connection {
            Some(open) => open,
            None => {
                let follow = ToDispatcher::Follow { task: what.task, index, out: told.out, err: told.err };
                connection.insert(start::call(grid.store.home(), &grid.login, &follow)?)
            }
        };
        match follower.wait(Some(open.stream().as_fd()), Duration::from_secs(1))? {
            Woken::ReaderGone => return Err(closed()),
            Woken::Interrupt => {
                let Some(interrupts) = follower.interrupts.as_deref_mut() else { continue };
                if interrupts.take() > 1 {
                    return Err(interrupts.interrupted(what));
                }
                let task = interrupts.task_or(what);
                let asked = cancel::cancel(grid, &[task], Duration::from_secs(10))?;
                interrupts.cancelled();
                let note = asked.first().and_then(|c| c.note.clone()).unwrap_or_else(|| "cancelled".to_owned());
                tell(sink, FollowEvent::Note(&format!("task {task}: {note}; {AGAIN_RETURNS}")))?;
            }
            Woken::Time => {
                tell(sink, FollowEvent::Still)?;
                let state = member_state(&grid.store.view(), Chosen { task: what.task, index: Some(index) })?;
                let row = grid.store.view().task(what.task)?;
                if let (false, Some(row)) = (said_why, row)
                    && matches!(state, State::Pending | State::Held)
                    && let Some(reason) = row.reason_in(state)
                {
                    said_why = true;
                    let place = waits_in(&grid.store.view(), &row, None, &Several::default())?;
                    tell(sink, FollowEvent::Waits { task: what, place: place.as_deref(), reason: &reason })?;
                }
            }
            Woken::Word => match open.receive()? {
                Some(FromDispatcher::Data { number, stream, offset, left_out, bytes, .. }) => {
                    told.attempt(number);
                    let have = told.of(stream);
                    if offset == *have {
                        *have += left_out + bytes.len() as u64;
                        if streams.contains(&stream) {
                            logs::print_left_out(stream, left_out, sink)?;
                            tell(sink, FollowEvent::Output { index, stream, bytes: &bytes })?;
                        }
                    }
                }
                Some(FromDispatcher::Ended { .. }) => ended = true,
                Some(_) => {}
                // The dispatcher stopped or was killed; the next call starts another one.
                None => {
                    connection = None;
                    losses.one_more(grid.store.home())?;
                }
            },
        }
    }
    print_rest(grid, what, index, streams, &mut told, sink).map(Some)
}

/// Prints the rest of the outputs of an ended member. Gives a message for each that is gone.
fn print_rest(
    grid: &mut Grid,
    what: Chosen,
    index: Index,
    streams: &[Stream],
    told: &mut FollowedSoFar,
    sink: &mut FollowSink<'_>,
) -> Result<Vec<String>, OpsError> {
    let mut gone = Vec::new();
    let Some(member) = grid.store.view().member(what.task, index)? else { return Ok(gone) };
    told.attempt(member.number);
    for stream in streams {
        let from = *told.of(*stream);
        if member.last().is_some_and(|last| last.outputs == Outputs::Server) {
            let upto = read(grid, what, index, member.number, *stream, from, sink)?;
            gone.extend(logs::missing_note(&member, *stream, upto).map(|words| format!("task {what}: {words}")));
        } else {
            let words = logs::print_fetched(grid, &member, member.number, *stream, from, sink)?;
            gone.extend(words.map(|words| format!("task {what}: {words}")));
        }
    }
    if let Some(remark) = member.remark() {
        tell(sink, FollowEvent::Note(&format!("task {what}: {remark}")))?;
    }
    Ok(gone)
}

/// Prints what a running attempt has written so far, for `logs`.
pub fn print_so_far(
    grid: &mut Grid,
    what: Chosen,
    index: Index,
    number: u32,
    streams: &[Stream],
    sink: &mut FollowSink<'_>,
) -> Result<(), OpsError> {
    for stream in streams {
        let told = read(grid, what, index, number, *stream, 0, sink)?;
        // If it has ended meanwhile, its server has forgotten it: the rest was fetched before the end was reported.
        let now = grid.store.view().member(what.task, index)?;
        if let Some(now) = now.filter(|now| now.number > number || !now.is_live()) {
            if now.number == number && now.last().is_some_and(|last| last.outputs == Outputs::Server) {
                read(grid, what, index, number, *stream, told, sink)?;
            } else {
                logs::print_fetched(grid, &now, number, *stream, told, sink)?;
            }
        }
    }
    Ok(())
}

/// Reads an output of an ended attempt from its server, for `logs`: it was too long to be fetched.
pub fn from_server(
    grid: &mut Grid,
    what: Chosen,
    index: Index,
    number: u32,
    stream: Stream,
    sink: &mut FollowSink<'_>,
) -> Result<u64, OpsError> {
    read(grid, what, index, number, stream, 0, sink)
}

/// Reads an output from its server in chunks. Gives the offset behind the last one.
fn read(
    grid: &mut Grid,
    what: Chosen,
    index: Index,
    number: u32,
    stream: Stream,
    from: u64,
    sink: &mut FollowSink<'_>,
) -> Result<u64, OpsError> {
    const PIECE: u32 = 1 << 20;
    let mut open = start::connect(grid.store.home(), &grid.login)?;
    let mut offset = from;
    loop {
        let ask = ToDispatcher::Read { task: what.task, index, number, stream, offset, max: PIECE };
        open.send(&ask)?;
        match open.receive()? {
            Some(FromDispatcher::Data { left_out, bytes, at_end, .. }) => {
                logs::print_left_out(stream, left_out, sink)?;
                if !bytes.is_empty() {
                    tell(sink, FollowEvent::Output { index, stream, bytes: &bytes })?;
                }
                offset += left_out + bytes.len() as u64;
                if at_end || (bytes.is_empty() && left_out == 0) {
                    return Ok(offset);
                }
            }
            Some(_) => {}
            None => {
                return Err(OpsError::Grid(format!(
                    "task {what}: its server can't be asked for the output now; try again when it is up"
                )));
            }
        }
    }
}

/// Sends an event to the sink. A closed sink (`| head`) stops the follow quietly: the command decides by the kind of the error.
fn tell(sink: &mut FollowSink<'_>, event: FollowEvent<'_>) -> Result<(), OpsError> {
    sink(event).map_err(OpsError::Output)
}
