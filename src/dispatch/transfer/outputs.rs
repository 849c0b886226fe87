//! Fetches of long outputs, before their ends are recorded. On this host a spool file is a second name (hard link) of the
//! command's output; on other hosts, and if linking fails, the file is filled chunk by chunk.

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

/// Bytes requested at a time.
const CHUNK: u32 = 1 << 20;

/// Fetches of outputs.
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

/// One stream: its length, and how much of it is fetched.
#[derive(Debug)]
struct StreamSink {
    stream: Stream,
    len: u64,
    have: u64,
    /// Where its chunks go. None: a second name was requested, and the agent has not answered.
    file: Option<File>,
}

/// The next step of a fetch of an output.
#[derive(Debug, Default)]
pub struct FetchStep {
    pub ask: Vec<ToAgent>,
    pub ending: Option<Ending>,
}

/// True if a stream is too long to have been sent with its end.
fn is_long(bytes: Option<&Vec<u8>>, len: u64) -> bool {
    bytes.is_none() && len > 0
}

/// Where the outputs of an end are kept: in the database with the end, or on the server if they are longer than `output_limit`.
/// None: they have to be fetched. The limit is read for long ones only.
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
    /// Adds a fetch for the outputs of an end; [`OutputFetches::begin`] follows after the commit.
    pub fn expect(&mut self, report: ReportedEnd, results: Results) {
        self.open.insert(report.attempt, OutputFetch { report, results, sinks: Vec::new() });
    }

    /// Starts the fetch of an output. `links`: the agent can make a second name of its output here, which needs no room. If a copy
    /// has no room, or its file can't be made, the output stays on the server and is read there: a part of it would only use up
    /// room.
    pub fn begin(&mut self, home: &Home, attempt: AttemptId, links: bool) -> FetchStep {
        let Some(fetch) = self.open.get_mut(&attempt) else { return FetchStep::default() };
        // A file of an earlier dispatcher may be a second name of the agent's output: it must not be written to.
        remove(home, fetch.report.key);
        let asked = sinks(home, &fetch.report).and_then(|sinks| {
            fetch.sinks = sinks;
            if links { fetch.ask_for_links(home, attempt) } else { fetch.copy(home, attempt) }
        });
        match asked {
            Ok(ask) => FetchStep { ask, ending: None },
            Err(_) => self.leave_on_server(home, attempt),
        }
    }

    /// Handles an agent's answer about a second name. Without one the stream is copied.
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
            Err(_) => self.leave_on_server(home, attempt),
        }
    }

    /// Handles a chunk. None: it belongs to no fetch.
    pub fn chunk(&mut self, home: &Home, attempt: AttemptId, stream: Stream, chunk: &OutputChunk) -> Option<FetchStep> {
        let fetch = self.open.get_mut(&attempt)?;
        let sink = fetch.sinks.iter_mut().find(|sink| sink.stream == stream)?;
        if chunk.offset != sink.have || sink.file.is_none() {
            return Some(FetchStep::default());
        }
        let Ok(is_whole) = sink.take(chunk) else { return Some(self.leave_on_server(home, attempt)) };
        if !is_whole {
            return Some(FetchStep { ask: vec![sink.ask(attempt)], ending: None });
        }
        Some(self.settle(home, attempt))
    }

    /// Ends a fetch once everything has arrived: the files are on the disk before the state says so.
    fn settle(&mut self, home: &Home, attempt: AttemptId) -> FetchStep {
        let left = |fetch: &OutputFetch| fetch.sinks.iter().any(|sink| sink.have < sink.len);
        if self.open.get(&attempt).is_none_or(left) {
            return FetchStep::default();
        }
        if home.settle(&home.outputs()).is_err() {
            return self.leave_on_server(home, attempt);
        }
        failpoint("dispatcher-output-settled");
        self.close(attempt, Outputs::Spool)
    }

    /// Leaves the output on the server and removes the fetched part.
    fn leave_on_server(&mut self, home: &Home, attempt: AttemptId) -> FetchStep {
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

    /// Forgets the fetches over a lost link: its agent reports the ends again. False: there were none.
    pub fn forget(&mut self, route: Route) -> bool {
        let before = self.open.len();
        self.open.retain(|_, fetch| fetch.report.route != route);
        self.open.len() < before
    }

    /// True if an output is fetched over this link.
    pub fn uses(&self, route: Route) -> bool {
        self.open.values().any(|fetch| fetch.report.route == route)
    }

    /// True if the output of this attempt is being fetched.
    pub fn has(&self, attempt: AttemptId) -> bool {
        self.open.contains_key(&attempt)
    }

    /// True if nothing is being fetched.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl OutputFetch {
    /// Requests second names for all streams.
    fn ask_for_links(&self, home: &Home, attempt: AttemptId) -> io::Result<Vec<ToAgent>> {
        let ask = |sink: &StreamSink| {
            let path = std::path::absolute(home.output_file(self.report.key, sink.stream))?;
            Ok(ToAgent::Link { attempt, stream: sink.stream, to: path.into_os_string().into() })
        };
        self.sinks.iter().map(ask).collect()
    }

    /// Starts to copy all streams.
    fn copy(&mut self, home: &Home, attempt: AttemptId) -> io::Result<Vec<ToAgent>> {
        let end = &self.report.ended.end;
        let bytes = self.sinks.iter().fold(0_u64, |bytes, sink| bytes.saturating_add(end.kept(sink.stream)));
        if !has_room_for(&home.outputs(), bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.sinks.iter_mut().map(|sink| sink.open(home, self.report.key, attempt)).collect()
    }

    /// Starts to copy one stream.
    fn copy_one(&mut self, home: &Home, attempt: AttemptId, stream: Stream) -> io::Result<Option<ToAgent>> {
        if !has_room_for(&home.outputs(), self.report.ended.end.kept(stream)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sink = self.sinks.iter_mut().find(|sink| sink.stream == stream);
        sink.map(|sink| sink.open(home, self.report.key, attempt)).transpose()
    }
}

/// True if the file with a second name exists, is as long as its end says, and is on the disk.
fn is_whole(path: &Path, len: u64) -> bool {
    let synced = || {
        let file = File::open(path)?;
        file.sync_data()?;
        Ok::<_, io::Error>(file.metadata()?.len() == len)
    };
    synced().unwrap_or(false)
}

/// The streams that have to be fetched. A short one is written at once.
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
    /// Creates its file and gives the request for the first chunk.
    fn open(&mut self, home: &Home, key: AttemptKey, attempt: AttemptId) -> io::Result<ToAgent> {
        self.file = Some(home.create_output_file(key, self.stream).map_err(io::Error::other)?);
        Ok(self.ask(attempt))
    }

    fn ask(&self, attempt: AttemptId) -> ToAgent {
        ToAgent::Read { attempt, stream: self.stream, offset: self.have, max: CHUNK }
    }

    /// Writes a chunk. True: the stream is complete and on the disk.
    fn take(&mut self, chunk: &OutputChunk) -> io::Result<bool> {
        let (_, to) = chunk.range();
        // An empty chunk before the end: the agent can't read the output now. Nor may it be longer than its end says.
        if (to == self.have && !chunk.at_end) || to > self.len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        // Bytes that were dropped are a hole here.
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

/// Removes the fetched part of an output.
fn remove(home: &Home, key: AttemptKey) {
    for stream in [Stream::Out, Stream::Err] {
        let _ = std::fs::remove_file(home.output_file(key, stream));
    }
}
