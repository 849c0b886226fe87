//! The agent's table of attempts and runs, and how a record of a supervisor changes it.

use super::hole;
use super::journal::{JournalRecord, Reader};
use super::output::{Offsets, inline};
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

/// A run ends after so many members or so much output, so that its files can be removed.
const RUN_MEMBERS: usize = 10_000;
const RUN_BYTES: u64 = 64 << 20;
/// To copy more bytes than this takes longer than to start a supervisor.
const ALONE_BYTES: u64 = 1 << 20;

/// The attempts whose end the home has not confirmed.
#[derive(Debug, Default)]
pub struct AttemptTable {
    attempts: HashMap<AttemptId, Attempt>,
}

/// An attempt: where it runs, and how far it is.
#[derive(Debug)]
pub struct Attempt {
    pub lane: LaneId,
    /// None while no supervisor has it.
    pub run: Option<RunId>,
    pub state: AttemptState,
}

/// The state of an attempt.
#[derive(Debug)]
pub enum AttemptState {
    /// It waits in this agent or at a supervisor, and is not known to have begun.
    Queued,
    Running {
        started_at: Timestamp,
        /// The same since this host's boot, where that is known.
        since_boot: Option<Duration>,
        process: Option<ProcessId>,
        from: Offsets,
        supervised: bool,
        /// As in [`End`].
        without: Vec<String>,
    },
    Ended {
        end: End,
        from: Offsets,
    },
}

/// How an attempt began.
#[derive(Debug)]
pub struct AttemptBegin {
    pub at: Timestamp,
    /// The same since this host's boot, where that is known.
    pub since_boot: Option<Duration>,
    pub process: Option<ProcessId>,
    pub from: Offsets,
    /// As in [`End`].
    pub without: Vec<String>,
}

/// A part of an output file; without a length while it grows.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    pub from: u64,
    pub len: Option<u64>,
}

impl Attempt {
    /// Where its output is; None if it has not begun.
    pub fn slice(&self, stream: Stream) -> Option<Slice> {
        match &self.state {
            AttemptState::Queued => None,
            AttemptState::Running { from, .. } => Some(Slice { from: from.of(stream), len: None }),
            AttemptState::Ended { end, from } => {
                let len = if stream == Stream::Out { end.out_len } else { end.err_len };
                Some(Slice { from: from.of(stream), len: Some(len) })
            }
        }
    }
}

impl AttemptTable {
    /// The attempt, if it is known.
    pub fn get(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    /// The attempt, to be changed.
    pub fn get_mut(&mut self, attempt: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(&attempt)
    }

    /// Adds an attempt, or replaces it.
    pub fn insert(&mut self, id: AttemptId, attempt: Attempt) {
        self.attempts.insert(id, attempt);
    }

    /// Removes an attempt.
    pub fn remove(&mut self, attempt: AttemptId) -> Option<Attempt> {
        self.attempts.remove(&attempt)
    }

    /// All attempts.
    pub fn iter(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }
}

/// A run: the directory in which one supervisor runs attempts.
#[derive(Debug)]
pub struct Run {
    pub dir: PathBuf,
    pub lane: LaneId,
    pub boot: BootId,
    pub journal: File,
    pub reader: Reader,
    /// The outputs, once the supervisor has made them.
    pub out: Option<File>,
    pub err: Option<File>,
    /// Attempts that began here and are not confirmed.
    pub unconfirmed: usize,
    /// Members given to this run, and bytes in its outputs: at some size the next run begins.
    pub fed: usize,
    pub size: u64,
    pub supervisor: Option<ProcessId>,
    /// The supervisor has exited.
    pub gone: bool,
    confirmed: Option<File>,
    /// Every confirmation is stored in the file.
    pub remembers: bool,
}

impl Run {
    /// Does it take no more members? `alone`: the next output should have its files to itself, if that is worth starting a supervisor.
    pub const fn is_full(&self, alone: bool) -> bool {
        self.fed >= RUN_MEMBERS || self.size >= if alone { ALONE_BYTES } else { RUN_BYTES }
    }

    /// Opens its journal, and the outputs if they exist.
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

    /// Opens the two outputs, if the supervisor has made them by now.
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

    /// The file of one of the outputs.
    pub fn output(&self, stream: Stream) -> Option<&File> {
        if stream == Stream::Out { self.out.as_ref() } else { self.err.as_ref() }
    }

    /// The records that its journal got since the last call.
    pub fn new_records(&mut self) -> io::Result<Vec<JournalRecord>> {
        self.reader.new_records(&self.journal)
    }

    /// Stores that the home has these ends, for later agents.
    pub fn store_confirmed(&mut self, attempts: &[AttemptId]) -> io::Result<()> {
        if self.confirmed.is_none() {
            let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
            self.confirmed = Some(options.open(self.dir.join("confirmed"))?);
        }
        let Some(file) = &mut self.confirmed else { return Ok(()) };
        let lines: String = attempts.iter().map(|a| format!("{a}\n")).collect();
        file.write_all(lines.as_bytes())
    }

    /// The attempts whose ends the home has confirmed to earlier agents.
    pub fn read_confirmed(&self) -> Vec<AttemptId> {
        let text = std::fs::read_to_string(self.dir.join("confirmed")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Agent {
    /// Records what a supervisor did. The same record may arrive by pipe and by journal.
    pub fn apply(&mut self, run: RunId, record: JournalRecord) {
        match record {
            JournalRecord::Opened { process } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.supervisor = Some(process);
                }
            }
            JournalRecord::Begun { attempt, at, since_boot, out, err, without } => {
                let begin = AttemptBegin { at, since_boot, process: None, from: Offsets { out, err }, without };
                self.record_begin(run, attempt, begin);
            }
            JournalRecord::Spawned { attempt, process } => self.record_process(attempt, process),
            JournalRecord::Ended { attempt, end, out, err } => {
                self.record_end(run, attempt, end.fitting(), Offsets { out, err });
            }
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

    /// Records that the command is about to run, or that it runs as this process.
    pub fn record_begin(&mut self, run: RunId, attempt: AttemptId, begin: AttemptBegin) {
        // The attempt may have been given to another run since: then this journal has nothing new about it.
        let Some(known) = self.attempts.get_mut(attempt).filter(|known| known.run == Some(run)) else { return };
        if matches!(known.state, AttemptState::Queued) {
            let AttemptBegin { at: started_at, since_boot, from, without, .. } = begin;
            let (process, supervised) = (None, true);
            known.state = AttemptState::Running { started_at, since_boot, process, from, supervised, without };
            if let Some(run) = self.runs.get_mut(&run) {
                run.unconfirmed += 1;
            }
        }
        if let Some(process) = begin.process {
            self.record_process(attempt, process);
        }
    }

    /// Records the process of an attempt, once.
    fn record_process(&mut self, attempt: AttemptId, id: ProcessId) {
        let Some(Attempt { state: AttemptState::Running { process, started_at, without, .. }, .. }) =
            self.attempts.get_mut(attempt)
        else {
            return;
        };
        if process.is_none() {
            *process = Some(id.clone());
            failpoint("agent-began-read");
            let without = without.clone();
            self.events.push(Event::Began { attempt, at: *started_at, process: Some(id), without });
        }
    }

    /// Records the end. Small outputs are sent with it.
    pub fn record_end(&mut self, run_id: RunId, attempt: AttemptId, end: End, from: Offsets) {
        let now = self.ambient.now().mono;
        let Some(known) = self.attempts.get_mut(attempt) else { return };
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        match known.state {
            AttemptState::Ended { .. } => return,
            AttemptState::Queued => run.unconfirmed += 1,
            AttemptState::Running { .. } => {}
        }
        failpoint("agent-end-read");
        run.size = run.size.max(from.out + end.out_len).max(from.err + end.err_len);
        known.state = AttemptState::Ended { end, from };
        if let Some(lane) = self.lanes.get_mut(&known.lane) {
            lane.member_done(run_id, now);
        }
        if let Some(ended) = self.with_outputs(attempt) {
            self.events.push(Event::Ended { attempt, ended });
        }
    }

    /// The end of an attempt with its small outputs, as it is sent to the home.
    pub fn with_outputs(&mut self, attempt: AttemptId) -> Option<Ended> {
        let known = self.attempts.get(attempt)?;
        let AttemptState::Ended { end, .. } = &known.state else { return None };
        let run = self.runs.get_mut(&known.run?)?;
        // The home asks later for outputs that can't be read now.
        let _ = run.open_outputs();
        let out = inline(run.out.as_ref(), known.slice(Stream::Out)?);
        let err = inline(run.err.as_ref(), known.slice(Stream::Err)?);
        Some(Ended { end: end.clone(), out, err })
    }

    /// Removes an attempt that will not run here. False if it is not of this run, or has ended.
    pub fn drop_unended(&mut self, run: RunId, attempt: AttemptId) -> bool {
        match self.attempts.get(attempt).filter(|known| known.run == Some(run)).map(|known| &known.state) {
            None | Some(AttemptState::Ended { .. }) => return false,
            Some(AttemptState::Running { .. }) => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.unconfirmed = run.unconfirmed.saturating_sub(1);
                }
            }
            Some(AttemptState::Queued) => {}
        }
        let gone = self.attempts.remove(attempt);
        self.drop_workdir(attempt);
        if let Some(lane) = gone.and_then(|a| self.lanes.get_mut(&a.lane)) {
            lane.member_done(run, self.ambient.now().mono);
        }
        true
    }

    /// Removes records and outputs of ends that the home has. Short outputs are removed with their run.
    pub fn confirm(&mut self, attempts: &[AttemptId]) {
        let mut by_run: HashMap<RunId, Vec<AttemptId>> = HashMap::new();
        let mut long = Vec::new();
        for attempt in attempts {
            if let Some(known @ Attempt { run: Some(run), state: AttemptState::Ended { .. }, .. }) =
                self.attempts.get(*attempt)
            {
                by_run.entry(*run).or_default().push(*attempt);
                let slices = [Stream::Out, Stream::Err].map(|stream| Some((*run, stream, known.slice(stream)?)));
                long.extend(slices.into_iter().flatten().filter(|(.., s)| s.len >= Some(hole::MIN_LENGTH)));
                self.attempts.remove(*attempt);
                self.drop_workdir(*attempt);
            }
        }
        let mut emptied = Vec::new();
        for (id, attempts) in by_run {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            run.unconfirmed = run.unconfirmed.saturating_sub(attempts.len());
            if run.gone && run.unconfirmed == 0 {
                self.remove_if_done(id);
            } else {
                // On a full disk nothing is stored: then the home gets these ends twice, and confirms them twice.
                run.remembers &= run.store_confirmed(&attempts).is_ok();
                emptied.push(id);
            }
        }
        for (run, stream, slice) in long {
            self.free(run, stream, slice);
        }
        for run in emptied {
            self.truncate_idle_run(run);
        }
        failpoint("agent-confirmed");
    }

    /// Removes a run whose supervisor has exited and whose ends are all confirmed.
    pub fn remove_if_done(&mut self, id: RunId) {
        if self.runs.get(&id).is_some_and(|run| run.gone && run.unconfirmed == 0)
            && let Some(run) = self.runs.remove(&id)
        {
            let _ = std::fs::remove_dir_all(&run.dir);
            failpoint("agent-run-removed");
        }
    }
}
