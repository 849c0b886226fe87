//! Outputs: a run's attempts append to two files; an attempt's output is a slice of each.

use super::attempt_table::{AttemptState, Slice};
use super::bound;
use super::hole;
use super::journal::Writer;
use super::serve::Agent;
use super::spool::RunId;
use crate::model::attempt::{Cut, End, Gap, Stream};
use crate::model::id::AttemptId;
use crate::protocol::agent::{FromAgent, INLINE_MAX};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Where an attempt's outputs begin in the files of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    pub out: u64,
    pub err: u64,
}

impl Offsets {
    /// Where one of the two begins.
    pub const fn of(self, stream: Stream) -> u64 {
        match stream {
            Stream::Out => self.out,
            Stream::Err => self.err,
        }
    }
}

/// The length of a file; 0 if it can't be measured.
pub fn length(file: &File) -> u64 {
    rustix::fs::fstat(file).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// Reads up to `max` bytes at `at`; less at the end of the file.
pub fn read_at(file: &File, at: u64, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(max).unwrap_or(0)];
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

/// A whole output, if it is small and can be read.
pub fn inline(file: Option<&File>, slice: Slice) -> Option<Vec<u8>> {
    match slice.len {
        Some(0) => Some(Vec::new()),
        Some(len) if len <= INLINE_MAX => {
            let bytes = read_at(file?, slice.from, len).ok()?;
            (bytes.len() as u64 == len).then_some(bytes)
        }
        _ => None,
    }
}

/// Why an attempt's output may be incomplete: its disk had no room.
pub fn cut(output: &File, end: &End, journal: &Writer) -> Option<Cut> {
    /// A write that needs one more block fails; some file systems reserve a few.
    const A_FEW_BLOCKS: u64 = 16 << 10;
    if end.out_len + end.err_len == 0 {
        return None;
    }
    let full = || {
        rustix::fs::fstatvfs(output).is_ok_and(|stat| {
            let blocks = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
            blocks.saturating_mul(stat.f_frsize) < A_FEW_BLOCKS
        })
    };
    (journal.met_full_disk() || full()).then_some(Cut::DiskFull)
}

/// A piece of an output.
pub struct Piece {
    /// So many bytes before it were dropped: it begins after them.
    pub left_out: u64,
    pub bytes: Vec<u8>,
    /// The output has ended and this is its last piece.
    pub at_end: bool,
}

impl Agent {
    /// Reads a piece of an attempt's output, never a byte of the attempt after it.
    pub fn piece(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u64) -> io::Result<Option<Piece>> {
        let known = self.attempts.get(attempt).and_then(|a| Some((a.run?, a.slice(stream)?)));
        let Some((run, before)) = known else { return Ok(None) };
        let Some(of_run) = self.runs.get_mut(&run) else { return Ok(None) };
        of_run.open_outputs()?;
        let mut gap = self.gap(attempt, stream);
        let mut left_out = gap.map_or(0, |gap| gap.left_at(offset));
        let from = offset + left_out;
        let wanted = before.len.map_or(max, |len| max.min(len.saturating_sub(from)));
        let wanted = gap.filter(|gap| gap.from > from).map_or(wanted, |gap| wanted.min(gap.from - from));
        let Some(output) = self.runs.get(&run).and_then(|run| run.output(stream)) else {
            // Its file was removed: that is not the end of the output.
            return if before.len == Some(0) { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) };
        };
        let mut bytes = read_at(output, before.from + from, wanted)?;
        if before.len.is_none() {
            // It ran at the last report. Its end is in the journal before the next attempt begins to write, so bytes that were read
            // before a journal without its end are its own.
            self.catch_up(run)?;
            // And these bytes may have been dropped meanwhile: the note is written before that.
            gap = self.gap(attempt, stream);
            if let Some(gap) = gap.filter(|gap| gap.from < from + bytes.len() as u64 && from < gap.to) {
                bytes.truncate(usize::try_from(gap.from.saturating_sub(from)).unwrap_or(usize::MAX));
                left_out = if from < gap.from { left_out } else { gap.to - offset };
            }
        }
        let Some(slice) = self.attempts.get(attempt).and_then(|a| a.slice(stream)) else { return Ok(None) };
        let Some(len) = slice.len else { return Ok(Some(Piece { left_out, bytes, at_end: false })) };
        let left = usize::try_from(len.saturating_sub(offset + left_out)).unwrap_or(usize::MAX);
        bytes.truncate(left);
        // A command may have truncated its own output: then the file ends before the slice does.
        let at_end = bytes.len() == left || (bytes.is_empty() && before.len.is_some());
        Ok(Some(Piece { left_out, bytes, at_end }))
    }

    /// What was dropped of an attempt's output so far.
    fn gap(&self, attempt: AttemptId, stream: Stream) -> Option<Gap> {
        let known = self.attempts.get(attempt)?;
        let cut = match &known.state {
            AttemptState::Ended { end, .. } => end.cut,
            AttemptState::Running { .. } => bound::read_note(&self.runs.get(&known.run?)?.dir, attempt),
            AttemptState::Queued => None,
        };
        cut?.gap(stream)
    }

    /// Frees the blocks of a confirmed attempt in an output that others still need. Where the file system has no holes they are freed
    /// with the run.
    pub fn free(&mut self, run: RunId, stream: Stream, slice: Slice) {
        // First all attempts that began meanwhile: after a command that truncated its output, the next ones began within older slices.
        if self.catch_up(run).is_err() {
            return;
        }
        let Some(of_run) = self.runs.get(&run) else { return };
        let to = slice.from + slice.len.unwrap_or(0);
        let needed = |other: Slice| other.from < to && other.len.is_none_or(|len| other.from + len > slice.from);
        if self.attempts.iter().any(|(_, a)| a.run == Some(run) && a.slice(stream).is_some_and(needed)) {
            return;
        }
        let name = if stream == Stream::Out { "out" } else { "err" };
        let freed = OpenOptions::new().write(true).open(of_run.dir.join(name)).and_then(|file| {
            // A file with a second name belongs to the home.
            let meta = file.metadata()?;
            if meta.len() < to || meta.nlink() > 1 { Ok(()) } else { hole::punch(&file, slice.from, to) }
        });
        if let Err(error) = freed {
            tracing::debug!("{}: {error}", of_run.dir.display());
        }
    }

    /// Applies the records of a run's journal that have not arrived by pipe.
    pub fn catch_up(&mut self, run: RunId) -> io::Result<()> {
        for record in
            self.runs.get_mut(&run).map(super::attempt_table::Run::new_records).transpose()?.unwrap_or_default()
        {
            self.apply(run, record);
        }
        Ok(())
    }

    /// Answers [`crate::protocol::agent::ToAgent::Read`].
    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u32) {
        let known = self.attempts.get(attempt).map(|a| matches!(a.state, AttemptState::Ended { .. }));
        let nothing = |at_end| Piece { left_out: 0, bytes: Vec::new(), at_end };
        let Piece { left_out, bytes, at_end } = match self.piece(attempt, stream, offset, u64::from(max).min(8 << 20)) {
            Ok(piece) => piece.unwrap_or(nothing(known.unwrap_or(true))),
            // It exists, and can't be read now: that is not its end.
            Err(_) => nothing(false),
        };
        self.send(&FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end });
    }
}
