//! What the agent knows of each attempt and each run, and how a record of a supervisor changes it.

use super::hole;
use super::journal::{JournalRecord, Reader};
use super::output::inline;
use super::serve::Agent;
use super::spool::RunId;
use crate::model::attempt::{End, ProcessId, Stream};
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, BootId, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Ended, Event};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A run ends after so many members or so much output, so that its files can go some day.
const RUN_MEMBERS: usize = 10_000;
const RUN_BYTES: u64 = 64 << 20;
/// To copy more than this takes longer than to start a supervisor.
const ALONE_BYTES: u64 = 1 << 20;

/// Everything that is not confirmed.
#[derive(Debug, Default)]
pub struct Book {
    attempts: HashMap<AttemptId, Attempt>,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    pub lane: LaneId,
    /// None while it waits in this agent.
    pub run: Option<RunId>,
    pub state: AttemptState,
}

/// How far it is.
#[derive(Debug)]
pub enum AttemptState {
    /// In this agent or at a supervisor; not known to have begun.
    Queued,
    Running {
        started_at: Timestamp,
        /// The same since this host's boot, where that is known.
        since_boot: Option<Duration>,
        process: Option<ProcessId>,
        out_from: u64,
        err_from: u64,
        supervised: bool,
    },
    Ended {
        end: End,
        out_from: u64,
        err_from: u64,
    },
}

/// A part of an output file; without a length while it grows.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    pub from: u64,
    pub len: Option<u64>,
}

impl Attempt {
    /// Where its output lies; None if it has not begun.
    pub fn slice(&self, stream: Stream) -> Option<Slice> {
        let pick = |out, err| if stream == Stream::Out { out } else { err };
        match &self.state {
            AttemptState::Queued => None,
            AttemptState::Running { out_from, err_from, .. } => {
                Some(Slice { from: pick(*out_from, *err_from), len: None })
            }
            AttemptState::Ended { end, out_from, err_from } => {
                let len = Some(pick(end.out_len, end.err_len));
                Some(Slice { from: pick(*out_from, *err_from), len })
            }
        }
    }
}

impl Book {
    /// What is known of it.
    pub fn get(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    /// For changes.
    pub fn get_mut(&mut self, attempt: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(&attempt)
    }

    /// Takes it up, or changes it.
    pub fn insert(&mut self, id: AttemptId, attempt: Attempt) {
        self.attempts.insert(id, attempt);
    }

    /// Forgets it.
    pub fn remove(&mut self, attempt: AttemptId) -> Option<Attempt> {
        self.attempts.remove(&attempt)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }
}

/// One run: a supervisor's directory.
#[derive(Debug)]
pub struct Run {
    pub dir: PathBuf,
    pub lane: LaneId,
    pub boot: BootId,
    pub journal: File,
    pub reader: Reader,
    /// The outputs, once they are there.
    pub out: Option<File>,
    pub err: Option<File>,
    /// Attempts that began here and are not confirmed.
    pub unconfirmed: usize,
    /// Members given to this run, and bytes in its outputs: at some size the next run begins.
    pub fed: usize,
    pub size: u64,
    pub supervisor: Option<ProcessId>,
    /// The supervisor has left.
    pub gone: bool,
    confirmed: Option<File>,
    /// Every confirmation was written down.
    pub remembers: bool,
}

impl Run {
    /// Does it take no more members? `alone`: what comes next is to lie alone in its files, as far as that is worth another supervisor.
    pub const fn is_full(&self, alone: bool) -> bool {
        self.fed >= RUN_MEMBERS || self.size >= if alone { ALONE_BYTES } else { RUN_BYTES }
    }

    /// Opens what is there of it.
    pub fn open(dir: PathBuf, lane: LaneId, boot: BootId) -> io::Result<Self> {
        let journal = File::open(dir.join("journal"))?;
        let mut run = Self {
            dir,
            lane,
            boot,
            journal,
            reader: Reader::default(),
            out: None,
            err: None,
            unconfirmed: 0,
            fed: 0,
            size: 0,
            supervisor: None,
            gone: false,
            confirmed: None,
            remembers: true,
        };
        run.open_outputs()?;
        Ok(run)
    }

    /// The supervisor makes the two files; before it is up there are none.
    pub fn open_outputs(&mut self) -> io::Result<()> {
        for (file, name) in [(&mut self.out, "out"), (&mut self.err, "err")] {
            if file.is_none() {
                *file = match File::open(self.dir.join(name)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    opened => Some(opened?),
                };
            }
        }
        Ok(())
    }

    /// One of the outputs.
    pub fn output(&self, stream: Stream) -> Option<&File> {
        if stream == Stream::Out { self.out.as_ref() } else { self.err.as_ref() }
    }

    /// New records of its journal.
    pub fn news(&mut self) -> io::Result<Vec<JournalRecord>> {
        self.reader.news(&self.journal)
    }

    /// Remembers beyond this agent that the home has these ends.
    pub fn store_confirmed(&mut self, attempts: &[AttemptId]) -> io::Result<()> {
        if self.confirmed.is_none() {
            let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
            self.confirmed = Some(options.open(self.dir.join("confirmed"))?);
        }
        let Some(file) = &mut self.confirmed else { return Ok(()) };
        let lines: String = attempts.iter().map(|a| format!("{a}\n")).collect();
        file.write_all(lines.as_bytes())
    }

    /// What earlier agents were told that the home has.
    pub fn read_confirmed(&self) -> Vec<AttemptId> {
        let text = std::fs::read_to_string(self.dir.join("confirmed")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Agent {
    /// Takes note of what a supervisor did; the same record may come by pipe and by journal.
    pub fn apply(&mut self, run: RunId, record: JournalRecord) {
        match record {
            JournalRecord::Opened { process } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.supervisor = Some(process);
                }
            }
            JournalRecord::Begun { attempt, at, since_boot, out, err } => {
                self.begun(run, attempt, (at, since_boot), None, (out, err));
            }
            JournalRecord::Spawned { attempt, process } => self.spawned(attempt, process),
            JournalRecord::Ended { attempt, end, out, err } => self.ended(run, attempt, end.fitting(), (out, err)),
            JournalRecord::Refused { attempt, why } => {
                if self.drop_unended(run, attempt) {
                    self.events.push(Event::Refused { attempt, why });
                }
            }
            JournalRecord::Closed => {}
            JournalRecord::Lane { lane } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.lane = lane;
                }
            }
        }
    }

    /// The command is about to run, or (with a process) runs.
    pub fn begun(
        &mut self,
        run: RunId,
        attempt: AttemptId,
        (at, since_boot): (Timestamp, Option<Duration>),
        process: Option<ProcessId>,
        (out_from, err_from): (u64, u64),
    ) {
        // Of an attempt that was given to another run since, this one's journal says nothing new.
        let Some(known) = self.book.get_mut(attempt).filter(|known| known.run == Some(run)) else { return };
        if matches!(known.state, AttemptState::Queued) {
            let (supervised, process) = (true, None);
            known.state = AttemptState::Running { started_at: at, since_boot, process, out_from, err_from, supervised };
            if let Some(run) = self.runs.get_mut(&run) {
                run.unconfirmed += 1;
            }
        }
        if let Some(process) = process {
            self.spawned(attempt, process);
        }
    }

    /// The first word of a process is the one that is passed on.
    fn spawned(&mut self, attempt: AttemptId, id: ProcessId) {
        let Some(Attempt { state: AttemptState::Running { process, started_at, .. }, .. }) = self.book.get_mut(attempt)
        else {
            return;
        };
        if process.is_none() {
            *process = Some(id.clone());
            failpoint("agent-began-read");
            self.events.push(Event::Began { attempt, at: *started_at, process: Some(id) });
        }
    }

    /// It is over; its small outputs travel with the news.
    pub fn ended(&mut self, run_id: RunId, attempt: AttemptId, end: End, (out_from, err_from): (u64, u64)) {
        let Some(known) = self.book.get_mut(attempt) else { return };
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        match known.state {
            AttemptState::Ended { .. } => return,
            AttemptState::Queued => run.unconfirmed += 1,
            AttemptState::Running { .. } => {}
        }
        failpoint("agent-end-read");
        run.size = run.size.max(out_from + end.out_len).max(err_from + end.err_len);
        known.state = AttemptState::Ended { end, out_from, err_from };
        if let Some(lane) = self.lanes.get_mut(&known.lane) {
            lane.answered(run_id);
        }
        if let Some(ended) = self.with_outputs(attempt) {
            self.events.push(Event::Ended { attempt, ended });
        }
    }

    /// The end of an attempt as the home gets it.
    pub fn with_outputs(&mut self, attempt: AttemptId) -> Option<Ended> {
        let known = self.book.get(attempt)?;
        let AttemptState::Ended { end, .. } = &known.state else { return None };
        let run = self.runs.get_mut(&known.run?)?;
        // What can't be read now is asked for later.
        let _ = run.open_outputs();
        let out = inline(run.out.as_ref(), known.slice(Stream::Out)?);
        let err = inline(run.err.as_ref(), known.slice(Stream::Err)?);
        Some(Ended { end: end.clone(), out, err })
    }

    /// It will not run here after all. False if it is not ours or has ended.
    pub fn drop_unended(&mut self, run: RunId, attempt: AttemptId) -> bool {
        match self.book.get(attempt).filter(|known| known.run == Some(run)).map(|known| &known.state) {
            None | Some(AttemptState::Ended { .. }) => return false,
            Some(AttemptState::Running { .. }) => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.unconfirmed = run.unconfirmed.saturating_sub(1);
                }
            }
            Some(AttemptState::Queued) => {}
        }
        let gone = self.book.remove(attempt);
        self.drop_work(attempt);
        if let Some(lane) = gone.and_then(|a| self.lanes.get_mut(&a.lane)) {
            lane.answered(run);
        }
        true
    }

    /// The home has these ends: records and outputs may go. Short outputs go with their run, once all of it is done with.
    pub fn confirm(&mut self, attempts: &[AttemptId]) {
        let mut by_run: HashMap<RunId, Vec<AttemptId>> = HashMap::new();
        let mut long = Vec::new();
        for attempt in attempts {
            if let Some(known @ Attempt { run: Some(run), state: AttemptState::Ended { .. }, .. }) =
                self.book.get(*attempt)
            {
                by_run.entry(*run).or_default().push(*attempt);
                let slices = [Stream::Out, Stream::Err].map(|stream| Some((*run, stream, known.slice(stream)?)));
                long.extend(slices.into_iter().flatten().filter(|(.., s)| s.len >= Some(hole::WORTH)));
                self.book.remove(*attempt);
                self.drop_work(*attempt);
            }
        }
        let mut emptied = Vec::new();
        for (id, attempts) in by_run {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            run.unconfirmed = run.unconfirmed.saturating_sub(attempts.len());
            if run.gone && run.unconfirmed == 0 {
                self.remove_if_done(id);
            } else {
                // On a full disk it is forgotten: then the home hears of these ends twice, and confirms twice.
                run.remembers &= run.store_confirmed(&attempts).is_ok();
                emptied.push(id);
            }
        }
        for (run, stream, slice) in long {
            self.free(run, stream, slice);
        }
        for run in emptied {
            self.empty(run);
        }
        failpoint("agent-confirmed");
    }

    /// A run whose supervisor has left and whose ends are all confirmed leaves nothing behind.
    pub fn remove_if_done(&mut self, id: RunId) {
        if self.runs.get(&id).is_some_and(|run| run.gone && run.unconfirmed == 0)
            && let Some(run) = self.runs.remove(&id)
        {
            let _ = std::fs::remove_dir_all(&run.dir);
            failpoint("agent-run-removed");
        }
    }
}
