//! Bringing long outputs home: piece by piece into files of the spool, before the state says that the task has ended.

use crate::dispatch::attempts::events::Known;
use crate::dispatch::transfer::chunks::OutputPiece;
use crate::dispatch::links::route::Route;
use crate::model::attempt::Stream;
use crate::model::filesystem::has_room_for;
use crate::model::id::AttemptId;
use crate::protocol::agent::{Ended, Event, ToAgent};
use crate::store::Home;
use crate::store::members::Outputs;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// One piece.
const PIECE: u32 = 1 << 20;

/// Outputs on their way.
#[derive(Debug, Default)]
pub struct Fetches {
    open: HashMap<AttemptId, Fetch>,
    /// Brought home; the end is about to be taken in.
    done: HashMap<AttemptId, Outputs>,
}

#[derive(Debug)]
struct Fetch {
    route: Route,
    known: Known,
    ended: Ended,
    streams: Vec<Sink>,
}

#[derive(Debug)]
struct Sink {
    stream: Stream,
    len: u64,
    have: u64,
    file: Option<File>,
}

/// Where the outputs of an ended attempt are.
#[derive(Debug)]
pub enum Where {
    Known(Outputs),
    /// The first pieces to be asked for; the end comes again when all is there.
    OnItsWay(Vec<ToAgent>),
}

/// What follows from a piece.
#[derive(Debug, Default)]
pub struct Next {
    pub ask: Vec<ToAgent>,
    pub whole: Option<Event>,
}

impl Fetches {
    /// Looks where the outputs of an end are, and begins to fetch what is neither here nor too long.
    pub fn outputs(
        &mut self,
        home: &Home,
        known: Known,
        (route, attempt): (Route, AttemptId),
        ended: &Ended,
        limit: u64,
    ) -> Where {
        if let Some(outputs) = self.done.remove(&attempt) {
            return Where::Known(outputs);
        }
        let missing = |bytes: &Option<Vec<u8>>, len: u64| bytes.is_none() && len > 0;
        let end = &ended.end;
        if !missing(&ended.out, end.out_len) && !missing(&ended.err, end.err_len) {
            return Where::Known(Outputs::Database);
        }
        if [Stream::Out, Stream::Err].iter().any(|stream| end.kept(*stream) > limit) {
            return Where::Known(Outputs::Server);
        }
        // What can't be kept here stays on the server and is read from there; a part of it would only take room.
        if !has_room_for(&home.outputs(), end.kept(Stream::Out).saturating_add(end.kept(Stream::Err))) {
            return Where::Known(Outputs::Server);
        }
        let mut streams = Vec::new();
        for (stream, bytes, len) in [(Stream::Out, &ended.out, end.out_len), (Stream::Err, &ended.err, end.err_len)] {
            let Ok(mut file) = home.create_output_file(known.task, known.index, known.number, stream) else {
                remove(home, known);
                return Where::Known(Outputs::Server);
            };
            match bytes {
                Some(bytes) if file.write_all(bytes).and_then(|()| file.sync_data()).is_err() => {
                    remove(home, known);
                    return Where::Known(Outputs::Server);
                }
                None if len > 0 => streams.push(Sink { stream, len, have: 0, file: Some(file) }),
                _ => {}
            }
        }
        let asks = streams.iter().map(|sink| ask(attempt, sink)).collect();
        self.open.insert(attempt, Fetch { route, known, ended: ended.clone(), streams });
        Where::OnItsWay(asks)
    }

    /// Takes a piece; None if it belongs to no fetch.
    pub fn data(&mut self, home: &Home, attempt: AttemptId, stream: Stream, piece: &OutputPiece) -> Option<Next> {
        let fetch = self.open.get_mut(&attempt)?;
        let sink = fetch.streams.iter_mut().find(|s| s.stream == stream)?;
        if piece.offset != sink.have {
            return Some(Next::default());
        }
        let (_, to) = piece.range();
        // What was dropped there is a hole here.
        let skipped = i64::try_from(piece.left_out).map_err(io::Error::other);
        let written = sink.file.as_mut().map_or(Ok(()), |file| {
            file.seek(SeekFrom::Current(skipped?))?;
            file.write_all(&piece.bytes)
        });
        // Nothing, and not the end of it: it can't be read there now. Nor is there more than its end said.
        let broken = written.is_err() || (to == sink.have && !piece.at_end) || to > sink.len;
        sink.have = to;
        if broken || piece.at_end || sink.have >= sink.len {
            let synced = sink.file.take().map_or(Ok(()), |file| file.sync_data());
            sink.have = sink.len;
            if broken || synced.is_err() {
                // It stays on the server and is read from there.
                let fetch = self.open.remove(&attempt)?;
                remove(home, fetch.known);
                self.done.insert(attempt, Outputs::Server);
                return Some(Next { ask: Vec::new(), whole: Some(Event::Ended { attempt, ended: fetch.ended }) });
            }
        } else {
            let next = ask(attempt, sink);
            return Some(Next { ask: vec![next], whole: None });
        }
        if fetch.streams.iter().all(|s| s.have >= s.len) {
            let fetch = self.open.remove(&attempt)?;
            // That it lies here must last as long as the state that says so.
            let last = home.settle(&home.outputs()).is_ok();
            self.done.insert(attempt, if last { Outputs::Spool } else { Outputs::Server });
            return Some(Next { ask: Vec::new(), whole: Some(Event::Ended { attempt, ended: fetch.ended }) });
        }
        Some(Next::default())
    }

    /// The link is lost: the next hello tells the ends again. False if nothing was on its way over it.
    pub fn forget(&mut self, route: Route) -> bool {
        self.open.extract_if(|_, fetch| fetch.route == route).count() > 0
    }

    /// Is something on its way over this link?
    pub fn uses(&self, route: Route) -> bool {
        self.open.values().any(|fetch| fetch.route == route)
    }

    /// Nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Removes what came of an output.
fn remove(home: &Home, known: Known) {
    for stream in [Stream::Out, Stream::Err] {
        let _ = std::fs::remove_file(home.output_file(known.task, known.index, known.number, stream));
    }
}

fn ask(attempt: AttemptId, sink: &Sink) -> ToAgent {
    ToAgent::Read { attempt, stream: sink.stream, offset: sink.have, max: PIECE }
}
