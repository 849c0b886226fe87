//! Commands and supervisors that are not on a pipe of ours: watched by pidfd, steered by signals.

use super::book::{Attempt, AttemptState};
use super::process;
use super::serve::Agent;
use super::spool::{RunId, write_atomically};
use crate::model::attempt::{Cause, ProcessId};
use crate::model::id::{AttemptId, LaneId};
use crate::protocol::agent::Event;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// A command that outlived its supervisor.
#[derive(Debug)]
pub struct Orphan {
    process: ProcessId,
    pub pidfd: OwnedFd,
    /// Set once we are ending it.
    pub kill_at: Option<Instant>,
    cancelled: bool,
}

impl Agent {
    /// A supervisor of an earlier agent still has its last command: its end will stand in the journal.
    pub fn watch_supervisor(&mut self, run: RunId, pidfd: OwnedFd) -> io::Result<()> {
        self.supervisors.insert(run, pidfd);
        if let Some(run_dir) = self.runs.get(&run).map(|r| r.dir.join("journal")) {
            self.watcher.watch(&run_dir, run);
        }
        // It may have ended between the reading of the journal and the watch.
        self.catch_up(run)
    }

    /// Begun, not ended, and the supervisor is gone: is the command still there? An error: that can't be seen.
    pub fn adopt(&mut self, attempt: AttemptId) -> io::Result<()> {
        let Some(Attempt { state: AttemptState::Running { process, supervised, .. }, .. }) = self.book.get_mut(attempt)
        else {
            return Ok(());
        };
        // Without a record of its pid, what it was given shows which it is.
        let found = match process {
            Some(id) => Some(id.clone()),
            None => process::marked(attempt)?.into_iter().next(),
        };
        let open = found.as_ref().map(process::open).transpose()?.flatten();
        match found.zip(open) {
            Some((id, pidfd)) => {
                *supervised = false;
                *process = Some(id.clone());
                self.orphans.insert(attempt, Orphan { process: id, pidfd, kill_at: None, cancelled: false });
                self.events.push(Event::Orphaned { attempt });
            }
            None => {
                end_marked(attempt);
                self.lose(attempt, "its supervisor was killed, and the command is gone too: its exit code is unknown");
            }
        }
        Ok(())
    }

    /// TERM now, KILL after the grace.
    pub fn cancel_orphan(&mut self, attempt: AttemptId, grace: Duration) {
        let Some(orphan) = self.orphans.get_mut(&attempt) else { return };
        if process::has_ended(&orphan.pidfd) {
            return;
        }
        orphan.cancelled = true;
        let kill_at = Instant::now() + grace;
        orphan.kill_at = Some(orphan.kill_at.map_or(kill_at, |at| at.min(kill_at)));
        signal_orphan(orphan, attempt, Signal::TERM);
    }

    /// Looks after all that has no pipe. Called in every round: it is cheap where nothing happened.
    pub fn look_after_orphans(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (attempt, orphan) in &mut self.orphans {
            if orphan.kill_at.is_some_and(|at| now >= at) && !process::has_ended(&orphan.pidfd) {
                orphan.kill_at = Some(now + Duration::from_secs(1));
                signal_orphan(orphan, *attempt, Signal::KILL);
            }
        }
        let over = |orphan: &Orphan| process::has_ended(&orphan.pidfd);
        let ended: Vec<AttemptId> = self.orphans.iter().filter(|(_, o)| over(o)).map(|(id, _)| *id).collect();
        let mut free: Vec<LaneId> = Vec::new();
        for attempt in ended {
            let Some(orphan) = self.orphans.remove(&attempt) else { continue };
            // What it left behind would be its supervisor's to end.
            end_marked(attempt);
            let run = self.book.get(attempt).and_then(|a| a.run);
            if orphan.cancelled {
                self.end_without_supervisor(attempt, Cause::Cancelled);
            } else {
                self.lose(attempt, "its supervisor was killed; the command ended later, its exit code is unknown");
            }
            if let Some(run) = run {
                free.extend(self.runs.get(&run).map(|r| r.lane));
                self.remove_if_done(run);
            }
        }
        let left: Vec<RunId> =
            self.supervisors.iter().filter(|(_, fd)| process::has_ended(fd)).map(|(id, _)| *id).collect();
        for run in left {
            self.supervisors.remove(&run);
            self.watcher.unwatch(run);
            free.extend(self.runs.get(&run).map(|r| r.lane));
            self.supervisor_gone(run)?;
        }
        for lane in free {
            self.feed(lane);
        }
        Ok(())
    }

    /// Asks a supervisor that we have no pipe to.
    pub fn cancel_by_note(&mut self, run: RunId, attempt: AttemptId, grace: Duration) {
        let Some(run) = self.runs.get(&run) else { return };
        let note = format!("{attempt} {}", grace.as_millis());
        if write_atomically(&run.dir, "cancel", note.as_bytes()).is_ok()
            && let Some(supervisor) = &run.supervisor
        {
            process::signal(supervisor, Signal::TERM);
        }
    }
}

/// What [`Agent::cancel_by_note`] left for the supervisor of this run.
pub fn read_cancel_note(run_dir: &Path) -> Option<(AttemptId, Duration)> {
    let note = std::fs::read_to_string(run_dir.join("cancel")).ok()?;
    let (attempt, grace) = note.split_once(' ')?;
    Some((attempt.parse().ok()?, Duration::from_millis(grace.parse().ok()?)))
}

/// The command, its group, and whoever carries its mark.
fn signal_orphan(orphan: &Orphan, attempt: AttemptId, signal: Signal) {
    // The command leads its group, and lives: the group's number can't be another's.
    if let Some(pid) = Pid::from_raw(orphan.process.pid)
        && matches!(process::open(&orphan.process), Ok(Some(_)))
        && getpgid(Some(pid)) == Ok(pid)
    {
        let _ = kill_process_group(pid, signal);
    }
    process::signal_marked(attempt, signal);
}

/// Ends what a command left behind, at once: there is nobody who could wait for it.
fn end_marked(attempt: AttemptId) {
    process::signal_marked(attempt, Signal::KILL);
}
