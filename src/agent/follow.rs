//! `logs -f`: sends outputs as they grow, by inotify instead of polling.

use super::output::Piece;
use super::serve::Agent;
use super::spool::RunId;
use crate::model::attempt::Stream;
use crate::model::id::AttemptId;
use crate::protocol::agent::FromAgent;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::path::Path;

/// Bytes in one message, and bytes in the outbox above which nothing is added.
const PIECE: u64 = 64 << 10;
const BACKLOG: usize = 1 << 20;

/// The offsets up to which a follower has an attempt's outputs.
#[derive(Debug)]
pub struct OutputFollower {
    /// None once the whole stream is sent.
    out: Option<u64>,
    err: Option<u64>,
}

/// Reports the runs whose files have changed.
#[derive(Debug)]
pub struct Watcher {
    fd: OwnedFd,
    watches: HashMap<i32, RunId>,
}

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?, watches: HashMap::new() })
    }

    /// For poll.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Watches a file of a run; repeated calls change nothing.
    pub fn watch(&mut self, file: &Path, run: RunId) {
        if let Ok(watch) = add_watch(&self.fd, file, WatchFlags::MODIFY) {
            self.watches.insert(watch, run);
        }
    }

    /// Stops watching the files of a run.
    pub fn unwatch(&mut self, run: RunId) {
        let gone: Vec<i32> = self.watches.iter().filter(|(_, r)| **r == run).map(|(w, _)| *w).collect();
        for watch in gone {
            self.watches.remove(&watch);
            // Fails where the file has gone, and the watch with it.
            let _ = remove_watch(&self.fd, watch);
        }
    }

    /// The runs whose files have changed.
    pub fn changed_runs(&mut self) -> Vec<RunId> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        let mut runs = Vec::new();
        while let Ok(event) = reader.next() {
            runs.extend(self.watches.get(&event.wd()));
        }
        runs.sort_unstable();
        runs.dedup();
        runs
    }
}

impl Agent {
    /// Follows an attempt's outputs from these offsets on.
    pub fn follow(&mut self, attempt: AttemptId, out: u64, err: u64) {
        self.follows.insert(attempt, OutputFollower { out: Some(out), err: Some(err) });
    }

    /// Stops following an attempt.
    pub fn unfollow(&mut self, attempt: AttemptId) {
        self.follows.remove(&attempt);
        if let Some(run) = self.attempts.get(attempt).and_then(|a| a.run)
            && !self.supervisors.contains_key(&run)
            && !self.follows.keys().any(|a| self.attempts.get(*a).and_then(|a| a.run) == Some(run))
        {
            self.watcher.unwatch(run);
        }
    }

    /// Sends followers what is new, as long as the link takes it.
    pub fn pump(&mut self) {
        let followed: Vec<AttemptId> = self.follows.keys().copied().collect();
        for attempt in followed {
            let run = self.attempts.get(attempt).and_then(|a| a.run);
            if let Some(run_id) = run
                && let Some(run) = self.runs.get_mut(&run_id)
            {
                let _ = run.open_outputs();
                // Before the first read, so that no change is missed.
                for name in ["out", "err"] {
                    self.watcher.watch(&run.dir.join(name), run_id);
                }
            }
            for stream in [Stream::Out, Stream::Err] {
                self.pump_stream(attempt, stream);
            }
            if self.follows.get(&attempt).is_some_and(|f| f.out.is_none() && f.err.is_none()) {
                self.unfollow(attempt);
            }
        }
    }

    fn pump_stream(&mut self, attempt: AttemptId, stream: Stream) {
        loop {
            let Some(follow) = self.follows.get_mut(&attempt) else { return };
            let place = if stream == Stream::Out { &mut follow.out } else { &mut follow.err };
            let Some(offset) = *place else { return };
            if self.outbox.len() > BACKLOG {
                return;
            }
            let unknown = self.attempts.get(attempt).is_none();
            let piece = match self.piece(attempt, stream, offset, PIECE) {
                Ok(Some(piece)) => piece,
                // It is confirmed or was never here: nothing will come.
                Ok(None) if unknown => Piece { left_out: 0, bytes: Vec::new(), at_end: true },
                _ => return,
            };
            if piece.bytes.is_empty() && piece.left_out == 0 && !piece.at_end {
                return;
            }
            let next = (!piece.at_end).then_some(offset + piece.left_out + piece.bytes.len() as u64);
            if let Some(follow) = self.follows.get_mut(&attempt) {
                let place = if stream == Stream::Out { &mut follow.out } else { &mut follow.err };
                *place = next;
            }
            let Piece { left_out, bytes, at_end } = piece;
            self.send(&FromAgent::Data { attempt, stream, offset, left_out, bytes, at_end });
        }
    }
}
