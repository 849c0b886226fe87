//! Outputs: a run's attempts append to two files; an attempt's output is a slice of each.

use super::book::{AttemptState, Slice};
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

/// Is what an attempt wrote all of it? Where its disk had no room, more may have been written than is there.
pub fn cut(output: &File, end: &End, journal: &Writer) -> Option<Cut> {
    /// A write fails that needs a block more; some file systems keep a few for themselves.
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
    /// So many bytes before it were dropped: it begins behind them.
    pub left_out: u64,
    pub bytes: Vec<u8>,
    /// The stream has ended and this is its last piece.
    pub at_end: bool,
}

impl Agent {
    /// Reads a piece of an attempt's output, never a byte of the attempt after it.
    pub fn piece(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u64) -> io::Result<Option<Piece>> {
        let known = self.book.get(attempt).and_then(|a| Some((a.run?, a.slice(stream)?)));
        let Some((run, before)) = known else { return Ok(None) };
        let Some(of_run) = self.runs.get_mut(&run) else { return Ok(None) };
        of_run.open_outputs()?;
        let mut gap = self.gap(attempt, stream);
        let mut left_out = gap.map_or(0, |gap| gap.left_at(offset));
        let from = offset + left_out;
        let wanted = before.len.map_or(max, |len| max.min(len.saturating_sub(from)));
        let wanted = gap.filter(|gap| gap.from > from).map_or(wanted, |gap| wanted.min(gap.from - from));
        let Some(output) = self.runs.get(&run).and_then(|run| run.output(stream)) else {
            // Its file was removed: that is no end of it.
            return if before.len == Some(0) { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) };
        };
        let mut bytes = read_at(output, before.from + from, wanted)?;
        if before.len.is_none() {
            // Still running when we last heard. Its end stands in the journal before the next one begins to write,
            // so what was read before a journal without its end is its own.
            self.catch_up(run)?;
            // And what was read may have been dropped meanwhile: that is noted before it is.
            gap = self.gap(attempt, stream);
            if let Some(gap) = gap.filter(|gap| gap.from < from + bytes.len() as u64 && from < gap.to) {
                bytes.truncate(usize::try_from(gap.from.saturating_sub(from)).unwrap_or(usize::MAX));
                left_out = if from < gap.from { left_out } else { gap.to - offset };
            }
        }
        let Some(slice) = self.book.get(attempt).and_then(|a| a.slice(stream)) else { return Ok(None) };
        let Some(len) = slice.len else { return Ok(Some(Piece { left_out, bytes, at_end: false })) };
        let left = usize::try_from(len.saturating_sub(offset + left_out)).unwrap_or(usize::MAX);
        bytes.truncate(left);
        // A command may have cut its own output short: then the file ends before the slice does.
        let at_end = bytes.len() == left || (bytes.is_empty() && before.len.is_some());
        Ok(Some(Piece { left_out, bytes, at_end }))
    }

    /// What was dropped of an attempt's output so far.
    fn gap(&self, attempt: AttemptId, stream: Stream) -> Option<Gap> {
        let known = self.book.get(attempt)?;
        let cut = match &known.state {
            AttemptState::Ended { end, .. } => end.cut,
            AttemptState::Running { .. } => bound::noted(&self.runs.get(&known.run?)?.dir, attempt),
            AttemptState::Queued => None,
        };
        cut?.gap(stream)
    }

    /// Frees what a confirmed attempt takes of an output that others still need. Where the file system has no holes it goes with
    /// the run.
    pub fn free(&mut self, run: RunId, stream: Stream, slice: Slice) {
        // Whoever began meanwhile is to be known: a command that cut its output short made its successors begin in older slices.
        if self.catch_up(run).is_err() {
            return;
        }
        let Some(of_run) = self.runs.get(&run) else { return };
        let to = slice.from + slice.len.unwrap_or(0);
        let needed = |other: Slice| other.from < to && other.len.is_none_or(|len| other.from + len > slice.from);
        if self.book.iter().any(|(_, a)| a.run == Some(run) && a.slice(stream).is_some_and(needed)) {
            return;
        }
        let name = if stream == Stream::Out { "out" } else { "err" };
        let freed = OpenOptions::new().write(true).open(of_run.dir.join(name)).and_then(|file| {
            // A file with a second name is the home's.
            let meta = file.metadata()?;
            if meta.len() < to || meta.nlink() > 1 { Ok(()) } else { hole::punch(&file, slice.from, to) }
        });
        if let Err(error) = freed {
            tracing::debug!("{}: {error}", of_run.dir.display());
        }
    }

    /// Applies what stands in a run's journal and has not come by pipe.
    pub fn catch_up(&mut self, run: RunId) -> io::Result<()> {
        for record in self.runs.get_mut(&run).map(super::book::Run::news).transpose()?.unwrap_or_default() {
            self.apply(run, record);
        }
        Ok(())
    }

    /// Answers [`crate::protocol::agent::ToAgent::Read`].
    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u32) {
        let known = self.book.get(attempt).map(|a| matches!(a.state, AttemptState::Ended { .. }));
        let nothing = |at_end| Piece { left_out: 0, bytes: Vec::new(), at_end };
        let Piece { left_out, bytes, at_end } = match self.piece(attempt, stream, offset, u64::from(max).min(8 << 20)) {
            Ok(piece) => piece.unwrap_or(nothing(known.unwrap_or(true))),
            // It is there, and can't be read now: that is no end.
            Err(_) => nothing(false),
        };
        self.send(&FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end });
    }
}
