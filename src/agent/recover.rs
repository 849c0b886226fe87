//! After a death: what a spool says of attempts whose agent or supervisor is gone.

use super::AgentError;
use super::book::{Attempt, AttemptState, Run};
use super::journal::{JournalRecord, Reader};
use super::process;
use super::serve::Agent;
use super::spool::RunId;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::clock::{Moment, since_boot as since_boot_now};
use crate::model::id::AttemptId;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Held, HeldState, INLINE_MAX};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a supervisor whose agent left may take to say that nothing more begins.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Small outputs of an inventory travel with it up to this size together; the others are asked for.
const INVENTORY_INLINE: u64 = 4 << 20;

impl Agent {
    /// Reads the runs that earlier agents left. Afterwards nothing in them is still to begin.
    pub fn recover(&mut self, left: Vec<RunId>) -> Result<(), AgentError> {
        for id in left {
            let dir = self.spool.run_dir(id);
            if !lock_once(&dir.join("journal"), CLOSE_WAIT) {
                return Err(AgentError::Unfit(format!(
                    "the supervisor of {} does not answer (is it stopped?): its task may still begin",
                    dir.display()
                )));
            }
            self.recover_run(id, &dir)?;
        }
        // What was found is told by the inventory.
        self.events.clear();
        Ok(())
    }

    fn recover_run(&mut self, id: RunId, dir: &Path) -> Result<(), AgentError> {
        // What can't be read now (too many open files, a sick disk) is there all the same: without it, what runs would be
        // taken for never begun.
        let unreadable = |error: io::Error| AgentError::Unfit(format!("{}: {error}", dir.display()));
        let mut reader = Reader::default();
        let records = match File::open(dir.join("journal")) {
            Ok(file) => reader.news(&file).map_err(unreadable)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(error)),
        };
        let Some(header) = reader.header() else {
            // Its agent died before the first line: no supervisor was ever started here.
            let _ = std::fs::remove_dir_all(dir);
            return Ok(());
        };
        let mut run = Run::open(dir.to_owned(), header.lane, header.boot.clone()).map_err(unreadable)?;
        run.reader = reader;
        let (mut lane, other_boot) = (run.lane, run.boot != self.boot);
        let confirmed: HashSet<AttemptId> = run.read_confirmed().into_iter().collect();
        self.runs.insert(id, run);
        for record in records {
            if let JournalRecord::Lane { lane: next } = &record {
                lane = *next;
            }
            if let JournalRecord::Begun { attempt, .. } | JournalRecord::Ended { attempt, .. } = &record {
                if confirmed.contains(attempt) {
                    continue;
                }
                if self.book.get(*attempt).is_none() {
                    self.book.insert(*attempt, Attempt { lane, run: Some(id), state: AttemptState::Queued });
                }
            }
            self.apply(id, record);
        }
        let supervisor = self.runs.get(&id).and_then(|r| r.supervisor.clone()).filter(|_| !other_boot);
        // Who can't be seen, for want of descriptors, is not gone.
        let supervisor = supervisor.map(|s| process::open(&s)).transpose().map_err(unreadable)?.flatten();
        let looked = match supervisor {
            Some(pidfd) => self.watch_supervisor(id, pidfd),
            None => self.supervisor_gone(id),
        };
        looked.map_err(unreadable)
    }

    /// A run's supervisor is no more: what it had begun and not ended has lost it. An error: that can't be seen, and nothing is LOST.
    pub fn supervisor_gone(&mut self, id: RunId) -> io::Result<()> {
        // Its last words may be younger than our last look.
        self.catch_up(id)?;
        let Some(run) = self.runs.get_mut(&id) else { return Ok(()) };
        run.gone = true;
        run.open_outputs()?;
        let other_boot = run.boot != self.boot;
        let journal = run.dir.join("journal");
        let is_left = |a: &Attempt| a.run == Some(id) && matches!(a.state, AttemptState::Running { .. });
        let left: Vec<AttemptId> = self.book.iter().filter(|(_, a)| is_left(a)).map(|(id, _)| id).collect();
        if !left.is_empty() && !other_boot {
            // A child between fork and exec still holds the lock: once it is free, every command shows its own face.
            lock_once(&journal, Duration::from_secs(1));
        }
        for attempt in left {
            if other_boot {
                self.lose(attempt, "the host was restarted while it ran");
            } else {
                self.adopt(attempt)?;
            }
        }
        self.remove_if_done(id);
        Ok(())
    }

    /// An end of which nobody knows more than that it must have been.
    pub fn lose(&mut self, attempt: AttemptId, why: &str) {
        self.end_without_supervisor(attempt, Cause::Lost { why: why.to_owned() });
    }

    /// Writes the end in the supervisor's stead, so that every later agent says the same.
    pub fn end_without_supervisor(&mut self, attempt: AttemptId, cause: Cause) {
        let Some(Attempt { run: Some(id), state, .. }) = self.book.get(attempt) else { return };
        let AttemptState::Running { started_at, since_boot: begun, out_from, err_from, .. } = state else { return };
        let (id, started_at, begun, out, err) = (*id, *started_at, *begun, *out_from, *err_from);
        let Some(run) = self.runs.get(&id) else { return };
        let len = |file: &Option<File>| file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        let end = End {
            cause,
            started_at: Some(started_at),
            ended_at: found_at(started_at, begun.filter(|_| run.boot == self.boot)),
            usage: Usage::default(),
            out_len: len(&run.out).saturating_sub(out),
            err_len: len(&run.err).saturating_sub(err),
            cut: super::bound::noted(&run.dir, attempt),
        }
        .fitting();
        let record = JournalRecord::Ended { attempt, end: end.clone(), out, err };
        if let Ok(file) = OpenOptions::new().append(true).open(run.dir.join("journal"))
            && let Ok(mut journal) = super::journal::Writer::new(file)
        {
            journal.end_line();
            let _ = journal.commit_with(&record);
        }
        self.ended(id, attempt, end, (out, err));
    }

    /// Everything that the spool holds for the home.
    pub fn inventory(&mut self) -> Vec<Held> {
        let mut budget = INVENTORY_INLINE;
        let known: Vec<AttemptId> = self.book.iter().map(|(id, _)| id).collect();
        let mut held = Vec::with_capacity(known.len());
        for attempt in known {
            let Some(known) = self.book.get(attempt) else { continue };
            let lane = known.lane;
            let state = match &known.state {
                AttemptState::Queued => HeldState::Queued,
                AttemptState::Running { started_at, process, supervised, .. } => {
                    HeldState::Running { started_at: *started_at, process: process.clone(), supervised: *supervised }
                }
                AttemptState::Ended { .. } => {
                    let Some(mut ended) = self.with_outputs(attempt) else { continue };
                    for (stream, len) in [(&mut ended.out, ended.end.out_len), (&mut ended.err, ended.end.err_len)] {
                        match budget.checked_sub(len) {
                            Some(left) if len <= INLINE_MAX => budget = left,
                            _ => *stream = None,
                        }
                    }
                    HeldState::Ended(ended)
                }
            };
            held.push(Held { attempt, lane, state });
        }
        held
    }
}

/// When an end was found that nobody wrote down: after what was measured since the begin. Of another boot nothing was measured, and it is
/// the time at which it was found; it did not end before it began.
fn found_at(started_at: Timestamp, begun: Option<Duration>) -> Timestamp {
    begun.map_or_else(
        || Timestamp::now().max(started_at),
        |since_boot| Moment { wall: started_at, since_boot }.end_at(since_boot_now()),
    )
}

/// Waits until nobody holds the journal's lock. False: somebody still does.
fn lock_once(journal: &Path, patience: Duration) -> bool {
    let file = match File::open(journal) {
        Ok(file) => file,
        // Somebody may, where it can't be looked at.
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let began = Instant::now();
    while file.try_lock().is_err() {
        if began.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
