//! Long outputs on their way home: chunk by chunk into files of the spool, before the end is recorded.

use super::chunks::OutputChunk;
use super::ending::{Ending, ReportedEnd};
use super::results::Brought;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::filesystem::has_room_for;
use crate::model::id::{AttemptId, AttemptKey};
use crate::model::resources::Bytes;
use crate::protocol::agent::{Ended, ToAgent};
use crate::store::Home;
use crate::store::members::Outputs;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Bytes asked for at a time.
const CHUNK: u32 = 1 << 20;

/// Outputs on their way.
#[derive(Debug, Default)]
pub struct OutputFetches {
    open: BTreeMap<AttemptId, OutputFetch>,
}

#[derive(Debug)]
struct OutputFetch {
    report: ReportedEnd,
    brought: Option<Brought>,
    sinks: Vec<StreamSink>,
}

/// One stream: where it goes, and how much of it has come.
#[derive(Debug)]
struct StreamSink {
    stream: Stream,
    len: u64,
    have: u64,
    file: File,
}

/// What follows from a chunk.
#[derive(Debug, Default)]
pub struct FetchStep {
    pub ask: Vec<ToAgent>,
    pub ending: Option<Ending>,
}

/// Is a stream too long to have come with its end?
fn is_long(bytes: Option<&Vec<u8>>, len: u64) -> bool {
    bytes.is_none() && len > 0
}

/// Where the outputs of an end are kept: with the end in the database, or, being longer than `output_limit`, on the server. None:
/// they are to be fetched. The limit is read for long ones only.
pub fn kept_at<E>(ended: &Ended, output_limit: impl FnOnce() -> Result<Bytes, E>) -> Result<Option<Outputs>, E> {
    let end = &ended.end;
    if !is_long(ended.out.as_ref(), end.out_len) && !is_long(ended.err.as_ref(), end.err_len) {
        return Ok(Some(Outputs::Database));
    }
    let Bytes(limit) = output_limit()?;
    let over = [Stream::Out, Stream::Err].iter().any(|stream| end.kept(*stream) > limit);
    Ok(over.then_some(Outputs::Server))
}

impl OutputFetches {
    /// Expects the outputs of an end; [`OutputFetches::begin`] follows once the transaction is committed.
    pub fn expect(&mut self, report: ReportedEnd, brought: Option<Brought>) {
        self.open.insert(report.attempt, OutputFetch { report, brought, sinks: Vec::new() });
    }

    /// Creates the files of an expected output. Where there is no room for it, or no file can be made, it stays on the server and is
    /// read from there: a part of it would only take room.
    pub fn begin(&mut self, home: &Home, attempt: AttemptId) -> FetchStep {
        let Some(fetch) = self.open.get_mut(&attempt) else { return FetchStep::default() };
        let end = &fetch.report.ended.end;
        let room = has_room_for(&home.outputs(), end.kept(Stream::Out).saturating_add(end.kept(Stream::Err)));
        match if room { sinks(home, &fetch.report) } else { Err(io::ErrorKind::StorageFull.into()) } {
            Ok(sinks) => {
                fetch.sinks = sinks;
                let ask = fetch.sinks.iter().map(|sink| sink.ask(attempt)).collect();
                FetchStep { ask, ending: None }
            }
            Err(_) => self.leave_there(home, attempt),
        }
    }

    /// Takes a chunk. None: it belongs to no output on its way.
    pub fn chunk(&mut self, home: &Home, attempt: AttemptId, stream: Stream, chunk: &OutputChunk) -> Option<FetchStep> {
        let fetch = self.open.get_mut(&attempt)?;
        let sink = fetch.sinks.iter_mut().find(|sink| sink.stream == stream)?;
        if chunk.offset != sink.have {
            return Some(FetchStep::default());
        }
        let Ok(is_whole) = sink.take(chunk) else { return Some(self.leave_there(home, attempt)) };
        if !is_whole {
            return Some(FetchStep { ask: vec![sink.ask(attempt)], ending: None });
        }
        if fetch.sinks.iter().any(|sink| sink.have < sink.len) {
            return Some(FetchStep::default());
        }
        // The files last as long as the state that says that they are here.
        if home.settle(&home.outputs()).is_err() {
            return Some(self.leave_there(home, attempt));
        }
        Some(self.close(attempt, Outputs::Spool))
    }

    /// The output stays on the server; what came of it is removed.
    fn leave_there(&mut self, home: &Home, attempt: AttemptId) -> FetchStep {
        if let Some(fetch) = self.open.get(&attempt) {
            remove(home, fetch.report.key);
        }
        self.close(attempt, Outputs::Server)
    }

    fn close(&mut self, attempt: AttemptId, outputs: Outputs) -> FetchStep {
        let fetch = self.open.remove(&attempt);
        let ending = fetch.map(|OutputFetch { report, brought, .. }| Ending::Settled(report, brought, outputs));
        FetchStep { ask: Vec::new(), ending }
    }

    /// Forgets what came over a link that is lost: its agent reports the ends again. False: nothing was on its way there.
    pub fn forget(&mut self, route: Route) -> bool {
        self.open.extract_if(.., |_, fetch| fetch.report.route == route).count() > 0
    }

    /// Is an output on its way over this link?
    pub fn uses(&self, route: Route) -> bool {
        self.open.values().any(|fetch| fetch.report.route == route)
    }

    /// Is the output of this attempt on its way?
    pub fn has(&self, attempt: AttemptId) -> bool {
        self.open.contains_key(&attempt)
    }

    /// Nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Creates the files of both streams. A short one is whole at once.
fn sinks(home: &Home, report: &ReportedEnd) -> io::Result<Vec<StreamSink>> {
    let (key, ended) = (report.key, &report.ended);
    let mut sinks = Vec::new();
    for (stream, bytes, len) in
        [(Stream::Out, &ended.out, ended.end.out_len), (Stream::Err, &ended.err, ended.end.err_len)]
    {
        let mut file = home.create_output_file(key, stream).map_err(io::Error::other)?;
        match bytes {
            Some(bytes) => file.write_all(bytes).and_then(|()| file.sync_data())?,
            None if len > 0 => sinks.push(StreamSink { stream, len, have: 0, file }),
            None => {}
        }
    }
    Ok(sinks)
}

impl StreamSink {
    fn ask(&self, attempt: AttemptId) -> ToAgent {
        ToAgent::Read { attempt, stream: self.stream, offset: self.have, max: CHUNK }
    }

    /// Writes a chunk; true: the stream is whole, and on the disk.
    fn take(&mut self, chunk: &OutputChunk) -> io::Result<bool> {
        let (_, to) = chunk.range();
        // Nothing, and not the end of it: it can't be read there now. Nor is there more than its end said.
        if (to == self.have && !chunk.at_end) || to > self.len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // What was dropped there is a hole here.
        self.file.seek(SeekFrom::Current(i64::try_from(chunk.left_out).map_err(io::Error::other)?))?;
        self.file.write_all(&chunk.bytes)?;
        self.have = to;
        if !chunk.at_end && self.have < self.len {
            return Ok(false);
        }
        self.have = self.len;
        self.file.sync_data()?;
        Ok(true)
    }
}

/// Removes what came of an output.
fn remove(home: &Home, key: AttemptKey) {
    for stream in [Stream::Out, Stream::Err] {
        let _ = std::fs::remove_file(home.output_file(key, stream));
    }
}
