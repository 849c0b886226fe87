//! `grid logs`: prints the outputs of a task, in this home or on their server.

use super::follow::{self, FollowEvent, FollowSink};
use super::remote::follow::remote_logs;
use super::selecting::Chosen;
use super::{Grid, OpsError, member_state, remote, settings};
use crate::model::attempt::{Gap, Stream};
use crate::model::id::{AttemptKey, Index};
use crate::model::resources::Bytes;
use crate::model::settings::KEEP_OUTPUTS;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use crate::store::members::MemberRow;
use crate::store::tasks::Shape;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Most members that one `logs` prints.
const MEMBERS: u32 = 10_000;

/// The outputs to print.
#[derive(Debug, Clone)]
pub struct LogRequest {
    pub streams: Vec<Stream>,
    /// None: the last one.
    pub attempt: Option<u32>,
}

/// Prints the outputs of a task, or of all members of an array that have started, one after the other.
pub fn logs(grid: &mut Grid, what: Chosen, wanted: &LogRequest, sink: &mut FollowSink<'_>) -> Result<(), OpsError> {
    let unknown = || OpsError::unknown("task", &what.task.to_string(), []);
    if let Some(away) = remote::away(grid, what)? {
        return remote_logs(grid, what, &away, wanted, sink);
    }
    let row = grid.store.view().task(what.task)?.ok_or_else(unknown)?;
    let launch = grid.store.view().launch(what.task)?.ok_or_else(unknown)?;
    let index = what.index.or((row.shape == Shape::Single).then_some(Index(0)));
    let members = match index {
        Some(index) => grid.store.view().member(row.id, index)?.into_iter().collect(),
        None => grid.store.view().members(row.id, MEMBERS)?,
    };
    let begun: Vec<MemberRow> = members.into_iter().filter(|m| m.number > 0).collect();
    if begun.is_empty() {
        let state = member_state(&grid.store.view(), what)?;
        let reason = row.reason_in(state).map_or_else(String::new, |reason| format!(": {reason}"));
        let state = &format!("{state}{reason}");
        return sink(FollowEvent::NeverStarted { task: what, state }).map_err(OpsError::Output);
    }
    let several = index.is_none();
    let mut gone = Vec::new();
    for member in begun {
        if several {
            sink(FollowEvent::Member(row.id, member.index)).map_err(OpsError::Output)?;
        }
        let of = if several { Chosen { index: Some(member.index), ..what } } else { what };
        let words = of_member(grid, what, &member, &launch, wanted, sink)?;
        gone.extend(words.into_iter().map(|words| format!("task {of}: {words}")));
    }
    if several && row.rest > 0 {
        print_note(sink, &format!("{} of {} members have not started", row.rest, row.size))?;
    }
    error_if_gone(gone)
}

/// The error if outputs are gone; it comes after those that exist are printed.
pub(super) fn error_if_gone(gone: Vec<String>) -> Result<(), OpsError> {
    if gone.is_empty() { Ok(()) } else { Err(OpsError::Refused(gone.join("; "))) }
}

fn of_member(
    grid: &mut Grid,
    what: Chosen,
    member: &MemberRow,
    launch: &Launch,
    wanted: &LogRequest,
    sink: &mut FollowSink<'_>,
) -> Result<Vec<String>, OpsError> {
    let number = wanted.attempt.unwrap_or(member.number);
    if number > member.number {
        return Err(OpsError::Unknown {
            kind: "attempt",
            name: number.to_string(),
            hint: format!("; {what} has {}", member.number),
        });
    }
    let last = number == member.number;
    if last && member.is_live() {
        return follow::print_so_far(grid, what, member.index, number, &wanted.streams, sink).map(|()| Vec::new());
    }
    let there = grid.store.view().outputs_stay_there(AttemptKey { number, ..member.key() })?;
    let mut gone = Vec::new();
    for stream in wanted.streams.iter().copied() {
        let file = if stream == Stream::Out { &launch.stdout } else { &launch.stderr };
        if let Some(file) = file {
            print_note(sink, &format!("{} of {what} was written to {} on its server", word(stream), file.lossy()))?;
        } else if there {
            let upto = follow::from_server(grid, what, member.index, number, stream, sink)?;
            gone.extend(missing_note(member, stream, upto).filter(|_| last));
        } else {
            gone.extend(print_fetched(grid, member, number, stream, 0, sink)?);
        }
    }
    print_cut(what, member, last, sink)?;
    Ok(gone)
}

/// The message on an output of a member's last attempt that its server gave only up to an offset.
pub(super) fn missing_note(member: &MemberRow, stream: Stream, upto: u64) -> Option<String> {
    let len = member.last().map_or(0, |last| last.len(stream));
    let (upto, all) = (Bytes(upto), Bytes(len));
    (upto < all).then(|| {
        let word = word(stream);
        format!("{word} is gone after {upto} of {all}: its server can't read it; were files of its spool removed?")
    })
}

/// Prints why the output of a member's last attempt is incomplete.
fn print_cut(what: Chosen, member: &MemberRow, last: bool, sink: &mut FollowSink<'_>) -> Result<(), OpsError> {
    member
        .last()
        .and_then(|last| last.cut)
        .filter(|_| last)
        .map_or(Ok(()), |cut| print_note(sink, &format!("task {what}: {cut}")))
}

/// Prints an output that was fetched (a row, or a file) from an offset on. Gives the message if it is gone.
pub(super) fn print_fetched(
    grid: &Grid,
    member: &MemberRow,
    number: u32,
    stream: Stream,
    from: u64,
    sink: &mut FollowSink<'_>,
) -> Result<Option<String>, OpsError> {
    let key = AttemptKey { number, ..member.key() };
    let body = grid.store.view().output(key, stream)?;
    if !body.is_empty() {
        let left = body.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
        return if left.is_empty() { Ok(None) } else { print_output(sink, member.index, stream, left).map(|()| None) };
    }
    let path = grid.store.home().output_file(key, stream);
    let cut = grid.store.view().outputs_of(key)?.1;
    if from_file(&path, member.index, (stream, cut.and_then(|cut| cut.gap(stream))), from, sink)? {
        return Ok(None);
    }
    let last = member.last().filter(|_| number == member.number);
    if let Some(last) = last.filter(|last| last.len(stream) > from) {
        let kept_for = settings::text(&grid.store.view(), &KEEP_OUTPUTS)?;
        let ended = last.ended_at.map_or_else(String::new, Timestamp::local);
        return Ok(Some(format!("{} is gone: outputs are kept {kept_for}, it ended {ended}", word(stream))));
    }
    Ok(None)
}

/// Prints an output that was fetched to a file, in which a dropped part is a hole. False if there is no file.
fn from_file(
    path: &Path,
    index: Index,
    (stream, gap): (Stream, Option<Gap>),
    mut offset: u64,
    sink: &mut FollowSink<'_>,
) -> Result<bool, OpsError> {
    let failed = |error: std::io::Error| OpsError::Grid(format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let mut piece = vec![0; 64 * 1024];
    loop {
        let skipped = gap.map_or(0, |gap| gap.left_at(offset));
        print_left_out(stream, skipped, sink)?;
        offset += skipped;
        let until = gap.filter(|gap| gap.from > offset).map_or(u64::MAX, |gap| gap.from - offset);
        let most = piece.len().min(usize::try_from(until).unwrap_or(usize::MAX));
        match file.read_at(&mut piece[..most], offset) {
            Ok(0) => return Ok(true),
            Ok(len) => {
                offset += len as u64;
                print_output(sink, index, stream, &piece[..len])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Prints, at its place, that a part of an output was left out.
pub(super) fn print_left_out(stream: Stream, bytes: u64, sink: &mut FollowSink<'_>) -> Result<(), OpsError> {
    if bytes == 0 {
        return Ok(());
    }
    print_note(sink, &format!("[{} of {} left out here: beyond --max-output]", Bytes(bytes), word(stream)))
}

const fn word(stream: Stream) -> &'static str {
    match stream {
        Stream::Out => "stdout",
        Stream::Err => "stderr",
    }
}

fn print_output(sink: &mut FollowSink<'_>, index: Index, stream: Stream, bytes: &[u8]) -> Result<(), OpsError> {
    sink(FollowEvent::Output { index, stream, bytes }).map_err(OpsError::Output)
}

fn print_note(sink: &mut FollowSink<'_>, text: &str) -> Result<(), OpsError> {
    sink(FollowEvent::Note(text)).map_err(OpsError::Output)
}
