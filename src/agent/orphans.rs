//! Commands and supervisors without a pipe to this agent: watched by pidfd, controlled by signals.

use super::attempt_table::{Attempt, AttemptState};
use super::cancel_note::CancelNote;
use super::process;
use super::serve::Agent;
use super::spool::RunId;
use super::termination::Termination;
use crate::model::attempt::{Cause, ProcessId};
use crate::model::id::{AttemptId, LaneId};
use crate::protocol::agent::Event;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};
use std::io;
use std::time::Duration;

/// A command that outlived its supervisor.
#[derive(Debug)]
pub struct Orphan {
    process: ProcessId,
    pub pidfd: OwnedFd,
    pub termination: Termination,
}

impl Agent {
    /// Watches a supervisor of an earlier agent, which still runs its last command: the end will be in the journal.
    pub fn watch_supervisor(&mut self, run: RunId, pidfd: OwnedFd) -> io::Result<()> {
        self.supervisors.insert(run, pidfd);
        if let Some(run_dir) = self.runs.get(&run).map(|r| r.dir.join("journal")) {
            self.watcher.watch(&run_dir, run);
        }
        // It may have ended between the reading of the journal and the watch.
        self.catch_up(run)
    }

    /// Adopts the command of an attempt whose supervisor is gone, or records that the attempt is LOST if the command is gone too. An
    /// error: that can't be found out.
    pub fn adopt(&mut self, attempt: AttemptId) -> io::Result<()> {
        let Some(Attempt { state: AttemptState::Running { process, supervised, .. }, .. }) =
            self.attempts.get_mut(attempt)
        else {
            return Ok(());
        };
        // Without a record of its pid, its environment shows which process it is.
        let found = match process {
            Some(id) => Some(id.clone()),
            None => process::marked(attempt)?.into_iter().next(),
        };
        let open = found.as_ref().map(process::open).transpose()?.flatten();
        match found.zip(open) {
            Some((id, pidfd)) => {
                *supervised = false;
                *process = Some(id.clone());
                self.orphans.insert(attempt, Orphan { process: id, pidfd, termination: Termination::default() });
                self.events.push(Event::Orphaned { attempt });
            }
            None => {
                kill_marked(attempt);
                self.record_lost(
                    attempt,
                    "its supervisor was killed, and the command is gone too: its exit code is unknown",
                );
            }
        }
        Ok(())
    }

    /// Sends TERM now, KILL after the grace.
    pub fn cancel_orphan(&mut self, attempt: AttemptId, grace: Duration) {
        let Some(orphan) = self.orphans.get_mut(&attempt) else { return };
        if process::has_ended(&orphan.pidfd) {
            return;
        }
        orphan.termination.request(Cause::Cancelled, grace, self.ambient.now().mono);
        // A second cancel sends TERM once more.
        signal_orphan(orphan, attempt, Signal::TERM);
    }

    /// Checks the commands and supervisors without a pipe. It is called in every round, and cheap where nothing happened.
    pub fn check_orphans(&mut self) -> io::Result<()> {
        let now = self.ambient.now().mono;
        for (attempt, orphan) in &mut self.orphans {
            if let Some(signal) = orphan.termination.due(now).filter(|_| !process::has_ended(&orphan.pidfd)) {
                signal_orphan(orphan, *attempt, signal);
            }
        }
        let over = |orphan: &Orphan| process::has_ended(&orphan.pidfd);
        let ended: Vec<AttemptId> = self.orphans.iter().filter(|(_, o)| over(o)).map(|(id, _)| *id).collect();
        let mut free: Vec<LaneId> = Vec::new();
        for attempt in ended {
            let Some(orphan) = self.orphans.remove(&attempt) else { continue };
            // There is no supervisor that would stop what it left behind.
            kill_marked(attempt);
            let run = self.attempts.get(attempt).and_then(|a| a.run);
            if orphan.termination.is_requested() {
                self.end_without_supervisor(attempt, Cause::Cancelled);
            } else {
                self.record_lost(
                    attempt,
                    "its supervisor was killed; the command ended later, its exit code is unknown",
                );
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

    /// Cancels at a supervisor without a pipe: by a note in its directory and a signal.
    pub fn cancel_by_note(&mut self, run: RunId, attempt: AttemptId, grace: Duration) {
        let Some(run) = self.runs.get(&run) else { return };
        let left = CancelNote { attempt, grace }.leave(&run.dir);
        if left.is_ok()
            && let Some(supervisor) = &run.supervisor
        {
            process::signal(supervisor, Signal::TERM);
        }
    }
}

/// Signals the command, its group, and every process with its mark.
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

/// Kills what a command left behind, at once: no supervisor waits for it.
fn kill_marked(attempt: AttemptId) {
    process::signal_marked(attempt, Signal::KILL);
}
