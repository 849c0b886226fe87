//! Long outputs on their way home, before the end is recorded: on the own host a file of the spool is a second name of what the command
//! wrote; elsewhere, and where that can't be, it is filled chunk by chunk.

use super::chunks::OutputChunk;
use super::ending::{Ending, ReportedEnd, Results};
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::failpoint::failpoint;
use crate::model::filesystem::has_room_for;
use crate::model::id::{AttemptId, AttemptKey};
use crate::model::resources::Bytes;
use crate::protocol::agent::{Ended, ToAgent};
use crate::store::Home;
use crate::store::members::Outputs;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

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
    results: Results,
    sinks: Vec<StreamSink>,
}

/// One stream: how long it is, and how much of it is here.
#[derive(Debug)]
struct StreamSink {
    stream: Stream,
    len: u64,
    have: u64,
    /// Where its chunks go; None: it is to be a second name, and its agent has not answered.
    file: Option<File>,
}

/// What follows from what an agent says of an output.
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
    pub fn expect(&mut self, report: ReportedEnd, results: Results) {
        self.open.insert(report.attempt, OutputFetch { report, results, sinks: Vec::new() });
    }

    /// Makes way for the files of an expected output. `links`: its agent can give what it has a second name here, for which no room is
    /// needed. Where a copy has no room, or no file can be made, the output stays on the server and is read from there: a part of it would
    /// only take room.
    pub fn begin(&mut self, home: &Home, attempt: AttemptId, links: bool) -> FetchStep {
        let Some(fetch) = self.open.get_mut(&attempt) else { return FetchStep::default() };
        // What an earlier dispatcher left may be a second name of what is still to come: it is not written to.
        remove(home, fetch.report.key);
        let asked = sinks(home, &fetch.report).and_then(|sinks| {
            fetch.sinks = sinks;
            if links { fetch.ask_for_links(home, attempt) } else { fetch.copy(home, attempt) }
        });
        match asked {
            Ok(ask) => FetchStep { ask, ending: None },
            Err(_) => self.leave_there(home, attempt),
        }
    }

    /// Takes an agent's word on a second name. What has none is copied.
    pub fn linked(&mut self, home: &Home, attempt: AttemptId, stream: Stream, linked: bool) -> FetchStep {
        let Some(fetch) = self.open.get_mut(&attempt) else { return FetchStep::default() };
        let path = home.output_file(fetch.report.key, stream);
        let waits = |sink: &&mut StreamSink| sink.stream == stream && sink.file.is_none() && sink.have < sink.len;
        let Some(sink) = fetch.sinks.iter_mut().find(waits) else { return FetchStep::default() };
        if linked && is_whole(&path, sink.len) {
            sink.have = sink.len;
            return self.settle(home, attempt);
        }
        match fetch.copy_one(home, attempt, stream) {
            Ok(ask) => FetchStep { ask: ask.into_iter().collect(), ending: None },
            Err(_) => self.leave_there(home, attempt),
        }
    }

    /// Takes a chunk. None: it belongs to no output on its way.
    pub fn chunk(&mut self, home: &Home, attempt: AttemptId, stream: Stream, chunk: &OutputChunk) -> Option<FetchStep> {
        let fetch = self.open.get_mut(&attempt)?;
        let sink = fetch.sinks.iter_mut().find(|sink| sink.stream == stream)?;
        if chunk.offset != sink.have || sink.file.is_none() {
            return Some(FetchStep::default());
        }
        let Ok(is_whole) = sink.take(chunk) else { return Some(self.leave_there(home, attempt)) };
        if !is_whole {
            return Some(FetchStep { ask: vec![sink.ask(attempt)], ending: None });
        }
        Some(self.settle(home, attempt))
    }

    /// Once all of it is here: the files last as long as the state that says so.
    fn settle(&mut self, home: &Home, attempt: AttemptId) -> FetchStep {
        let left = |fetch: &OutputFetch| fetch.sinks.iter().any(|sink| sink.have < sink.len);
        if self.open.get(&attempt).is_none_or(left) {
            return FetchStep::default();
        }
        if home.settle(&home.outputs()).is_err() {
            return self.leave_there(home, attempt);
        }
        failpoint("dispatcher-output-settled");
        self.close(attempt, Outputs::Spool)
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
        let ending = fetch.map(|OutputFetch { report, results, .. }| Ending::Settled(report, results, outputs));
        FetchStep { ask: Vec::new(), ending }
    }

    /// Forgets what came over a link that is lost: its agent reports the ends again. False: nothing was on its way there.
    pub fn forget(&mut self, route: Route) -> bool {
        let before = self.open.len();
        self.open.retain(|_, fetch| fetch.report.route != route);
        self.open.len() < before
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

impl OutputFetch {
    /// Asks for second names.
    fn ask_for_links(&self, home: &Home, attempt: AttemptId) -> io::Result<Vec<ToAgent>> {
        let ask = |sink: &StreamSink| {
            let path = std::path::absolute(home.output_file(self.report.key, sink.stream))?;
            Ok(ToAgent::Link { attempt, stream: sink.stream, to: path.into_os_string().into() })
        };
        self.sinks.iter().map(ask).collect()
    }

    /// Begins to copy all.
    fn copy(&mut self, home: &Home, attempt: AttemptId) -> io::Result<Vec<ToAgent>> {
        let end = &self.report.ended.end;
        let bytes = self.sinks.iter().fold(0_u64, |bytes, sink| bytes.saturating_add(end.kept(sink.stream)));
        if !has_room_for(&home.outputs(), bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.sinks.iter_mut().map(|sink| sink.open(home, self.report.key, attempt)).collect()
    }

    /// Begins to copy one stream.
    fn copy_one(&mut self, home: &Home, attempt: AttemptId, stream: Stream) -> io::Result<Option<ToAgent>> {
        if !has_room_for(&home.outputs(), self.report.ended.end.kept(stream)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sink = self.sinks.iter_mut().find(|sink| sink.stream == stream);
        sink.map(|sink| sink.open(home, self.report.key, attempt)).transpose()
    }
}

/// Is the file with a second name there, as long as its end says, and on the disk?
fn is_whole(path: &Path, len: u64) -> bool {
    let synced = || {
        let file = File::open(path)?;
        file.sync_data()?;
        Ok::<_, io::Error>(file.metadata()?.len() == len)
    };
    synced().unwrap_or(false)
}

/// The streams that are still to come. A short one is written at once.
fn sinks(home: &Home, report: &ReportedEnd) -> io::Result<Vec<StreamSink>> {
    let (key, ended) = (report.key, &report.ended);
    let mut sinks = Vec::new();
    for (stream, bytes, len) in
        [(Stream::Out, &ended.out, ended.end.out_len), (Stream::Err, &ended.err, ended.end.err_len)]
    {
        match bytes {
            Some(bytes) => {
                let mut file = home.create_output_file(key, stream).map_err(io::Error::other)?;
                file.write_all(bytes).and_then(|()| file.sync_data())?;
            }
            None if len > 0 => sinks.push(StreamSink { stream, len, have: 0, file: None }),
            None => {}
        }
    }
    Ok(sinks)
}

impl StreamSink {
    /// Creates its file and asks for the first chunk.
    fn open(&mut self, home: &Home, key: AttemptKey, attempt: AttemptId) -> io::Result<ToAgent> {
        self.file = Some(home.create_output_file(key, self.stream).map_err(io::Error::other)?);
        Ok(self.ask(attempt))
    }

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
        let file = self.file.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        // What was dropped there is a hole here.
        file.seek(SeekFrom::Current(i64::try_from(chunk.left_out).map_err(io::Error::other)?))?;
        file.write_all(&chunk.bytes)?;
        self.have = to;
        if !chunk.at_end && self.have < self.len {
            return Ok(false);
        }
        file.sync_data()?;
        self.have = self.len;
        Ok(true)
    }
}

/// Removes what came of an output.
fn remove(home: &Home, key: AttemptKey) {
    for stream in [Stream::Out, Stream::Err] {
        let _ = std::fs::remove_file(home.output_file(key, stream));
    }
}
