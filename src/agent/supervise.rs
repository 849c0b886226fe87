//! `grid supervise DIR`: runs the attempts of one run, one after the other, and outlives the agent that started it.
//!
//! stdin: requests. stdout: reports. stderr: the run's journal, opened for appending and locked; the lock goes with the descriptor,
//! so it is held without a gap from the agent's start to the supervisor's end. Once these three are duplicated, stdin becomes
//! /dev/null and stdout and stderr become the run's `out` and `err`: a command inherits them without a call.

use super::cancel_note::CancelNote;
use super::journal::{JournalRecord, Writer};
use super::launch::{LaunchPlan, UMASK, Unexecutable};
use super::limits::timespec;
use super::output::{Offsets, cut, length};
use super::process::{self, close_inherited, handle_signals};
use super::prologue::Prologues;
use super::running::{NotSpawned, NotStarted, Running};
use super::spool::why_unusable;
use super::supervisor_files::SupervisorFiles;
use super::{AgentError, installed};
use crate::model::ambient::Ambient;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::clock::Moment;
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, LaneId};
use crate::model::process_attributes::ProcessAttributes;
use crate::protocol::agent::{Refusal, Start, StartMember};
use crate::protocol::frame::{Inbox, Outbox};
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A command that ends sooner is reported once, at its end; only a longer one is reported as running.
const NOTE_AFTER: Duration = Duration::from_millis(2);
/// Reports of short commands are sent together, this often.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// How often the record of an end is written again, if the disk was full.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// Becomes the supervisor of the run in this directory. Returns when there is nothing left to do.
pub fn supervise(run_dir: &Path, ambient: Rc<dyn Ambient>) -> Result<(), AgentError> {
    // The text of a panic would be written to the journal or to a command's output.
    std::panic::set_hook(Box::new(|_| {}));
    close_inherited();
    let _in_use = installed::hold();
    let mut supervisor = Supervisor::start(run_dir, ambient)?;
    failpoint("supervisor-started");
    loop {
        supervisor.start_next();
        if supervisor.is_done() {
            return Ok(());
        }
        supervisor.wait()?;
    }
}

struct Supervisor {
    ambient: Rc<dyn Ambient>,
    dir: PathBuf,
    /// None once the agent is gone.
    requests: Option<File>,
    inbox: Inbox,
    reports: Option<File>,
    outbox: Outbox,
    journal: Writer,
    outputs: [File; 2],
    signals: UnixStream,
    batches: VecDeque<StartBatch>,
    /// The lane whose attempts it runs; None before the first start.
    lane: Option<LaneId>,
    current: Option<Running>,
    flushed: Instant,
    prologues: Prologues,
    /// Its attributes at first, which a task without any of its own gets.
    usual: ProcessAttributes,
    /// Its attributes now.
    own: ProcessAttributes,
}

/// A start and those of its members that have not begun.
struct StartBatch {
    plan: LaunchPlan,
    members: VecDeque<StartMember>,
}

impl Supervisor {
    fn start(run_dir: &Path, ambient: Rc<dyn Ambient>) -> Result<Self, AgentError> {
        let SupervisorFiles { requests, reports, journal, outputs } = SupervisorFiles::take(run_dir)?;
        // Fails only where we lead a session already.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(AgentError::io("subreaper"))?;
        let _ = rustix::thread::set_name(c"grid supervise");
        rustix::process::umask(Mode::from_raw_mode(UMASK));
        std::env::set_current_dir("/").map_err(AgentError::io("/"))?;
        let own = ProcessAttributes::own();
        let signals = handle_signals().map_err(AgentError::io("signals"))?;
        let mut journal = Writer::new(journal).map_err(AgentError::io("journal"))?;
        journal
            .commit_with(&JournalRecord::Opened { process: process::myself() })
            .map_err(AgentError::io("journal"))?;
        Ok(Self {
            flushed: ambient.now().mono,
            ambient,
            dir: run_dir.to_owned(),
            requests: Some(requests),
            inbox: Inbox::default(),
            reports: Some(reports),
            outbox: Outbox::default(),
            journal,
            outputs,
            signals,
            batches: VecDeque::new(),
            lane: None,
            current: None,
            prologues: Prologues::default(),
            usual: own,
            own,
        })
    }

    /// Nothing runs, nothing will come, and everything is written.
    fn is_done(&self) -> bool {
        self.current.is_none() && self.requests.is_none() && !self.journal.has_pending() && self.outbox.is_empty()
    }

    fn report(&mut self, report: &FromSupervisor) {
        if self.reports.is_some() {
            // Reports are small and of our own types: they can always be encoded.
            let _ = self.outbox.push(report);
        }
    }

    fn flush(&mut self) {
        self.flushed = self.ambient.now().mono;
        if let Some(reports) = &mut self.reports
            && !self.outbox.is_empty()
            && self.outbox.flush(reports).is_err()
        {
            self.reports = None;
        }
        if self.reports.is_none() {
            self.outbox = Outbox::default();
        } else {
            failpoint("supervisor-end-sent");
        }
    }

    /// Starts waiting members until one runs.
    fn start_next(&mut self) {
        while self.current.is_none() {
            let Some(batch) = self.batches.front_mut() else { break };
            match batch.members.pop_front() {
                Some(member) => self.start_member(member),
                None => drop(self.batches.pop_front()),
            }
        }
        if self.current.is_none() && self.journal.commit().is_ok() {
            failpoint("supervisor-end-recorded");
        }
    }

    fn start_member(&mut self, member: StartMember) {
        let attempt = member.attempt;
        failpoint("supervisor-before-begin");
        let begun = self.try_start(member);
        // A directory is not kept busy when nothing runs in it.
        let _ = std::env::set_current_dir("/");
        rustix::process::umask(Mode::from_raw_mode(UMASK));
        match begun {
            Ok(running) => self.current = Some(running),
            Err(NotStarted::Refused(why)) => self.report(&FromSupervisor::Refused { attempt, why }),
            Err(NotStarted::Ended(cause, from)) => {
                let (started_at, ended_at, usage) = (None, self.ambient.now().wall, Usage::default());
                let without = self.batches.front().map_or(Vec::new(), |batch| batch.plan.without().to_vec());
                let end = End { cause, started_at, ended_at, usage, out_len: 0, err_len: 0, cut: None, without };
                self.record_end(attempt, end, from);
            }
        }
    }

    fn try_start(&mut self, member: StartMember) -> Result<Running, NotStarted> {
        let Some(batch) = self.batches.front_mut() else {
            return Err(Refusal::Supervisor { error: "its start is gone".to_owned() }.into());
        };
        let attempt = member.attempt;
        batch.plan.enter(&member)?;
        // Also of the files that are made for the command.
        rustix::process::umask(batch.plan.umask());
        self.own.take_on_harmless(batch.plan.attributes().unwrap_or(&self.usual));
        let outputs = batch.plan.outputs(&member)?;
        let from = Offsets { out: length(&self.outputs[0]), err: length(&self.outputs[1]) };
        let Moment { wall: at, since_boot } = self.ambient.moment();
        let (since_boot, without) = (Some(since_boot), batch.plan.without().to_vec());
        let begun = JournalRecord::Begun { attempt, at, since_boot, out: from.out, err: from.err, without };
        self.journal.commit_with(&begun).map_err(|error| Refusal::Spool { error: why_unusable(&self.dir, &error) })?;
        failpoint("supervisor-begun");
        let mut spawned = Running::spawn(&mut batch.plan, member.clone(), outputs, from, &*self.ambient);
        if matches!(spawned, Err(NotSpawned::NoFormat(_))) && batch.plan.go_through_shell() {
            spawned = match batch.plan.outputs(&member) {
                Ok(outputs) => Running::spawn(&mut batch.plan, member.clone(), outputs, from, &*self.ambient),
                Err(why) => return Err(self.take_back(attempt, why)),
            };
        }
        failpoint("supervisor-spawned");
        // The directory may have been removed in between: then nothing has ended, for nothing began.
        let directory = if spawned.is_err() { batch.plan.enter(&member) } else { Ok(()) };
        match (spawned, directory) {
            (Ok(running), _) => Ok(running),
            (Err(NotSpawned::Host(error)), _) => {
                Err(self.take_back(attempt, Refusal::Supervisor { error: error.to_string() }))
            }
            (Err(_), Err(why)) => Err(self.take_back(attempt, why)),
            (Err(NotSpawned::Program(not) | NotSpawned::NoFormat(not)), Ok(())) => {
                let Unexecutable { code, error } = not;
                Err(NotStarted::Ended(Cause::NotExecuted { code, error }, from))
            }
        }
    }

    /// Takes back a begin that is in the journal, but did not happen.
    fn take_back(&mut self, attempt: AttemptId, why: Refusal) -> NotStarted {
        self.journal.add(&JournalRecord::Refused { attempt, why: why.clone() });
        let _ = self.journal.commit();
        NotStarted::Refused(why)
    }

    fn record_end(&mut self, attempt: AttemptId, end: End, Offsets { out, err }: Offsets) {
        failpoint("supervisor-ended-before-record");
        // Written together with the next begin, or at once if there is none.
        self.journal.add(&JournalRecord::Ended { attempt, end: end.clone(), out, err });
        self.report(&FromSupervisor::Ended { attempt, end, out_from: out, err_from: err });
    }

    /// Waits for the next event and handles it.
    fn wait(&mut self) -> Result<(), AgentError> {
        let fresh = self.current.as_ref().is_some_and(|c| !c.noted);
        if !fresh || self.ambient.now().since(self.flushed) >= FLUSH_EVERY {
            self.flush();
            if self.is_done() {
                return Ok(());
            }
        }
        let (requests, signals, timed_out) = {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            fds.extend(self.requests.as_ref().map(|requests| PollFd::new(requests, PollFlags::IN)));
            if let Some(reports) = self.reports.as_ref().filter(|_| !self.outbox.is_empty() && !fresh) {
                fds.push(PollFd::new(reports, PollFlags::OUT));
            }
            if let Some(current) = &self.current {
                fds.extend(current.watched().map(|fd| PollFd::new(fd, PollFlags::IN)));
            }
            let timeout = self.timeout(fresh).map(timespec);
            let ready = match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => return Ok(()),
                other => other.map_err(AgentError::io("poll"))?,
            };
            (self.requests.is_some() && !fds[1].revents().is_empty(), !fds[0].revents().is_empty(), ready == 0)
        };
        if signals {
            self.take_signal();
        }
        if requests {
            self.read_requests();
        }
        self.check(fresh && timed_out);
        Ok(())
    }

    fn timeout(&self, fresh: bool) -> Option<Duration> {
        let check = self.current.as_ref().and_then(Running::next_check);
        let check = check.map(|at| at.saturating_duration_since(self.ambient.now().mono));
        let note = fresh.then_some(NOTE_AFTER);
        let retry = self.journal.has_pending().then_some(JOURNAL_RETRY);
        [check, note, retry].into_iter().flatten().min()
    }

    fn check(&mut self, note: bool) {
        let Some(current) = &mut self.current else { return };
        let (attempt, from) = (current.member.attempt, current.from);
        current.enforce_bound(&self.outputs, &self.dir, self.ambient.now().mono);
        if let Some(mut end) = current.check(&*self.ambient) {
            end.out_len = length(&self.outputs[0]).saturating_sub(from.out);
            end.err_len = length(&self.outputs[1]).saturating_sub(from.err);
            let bound = current.close_bound(&self.outputs, [end.out_len, end.err_len], &self.dir);
            end.cut = bound.or_else(|| cut(&self.outputs[0], &end, &self.journal));
            self.current = None;
            self.record_end(attempt, end.fitting(), from);
        } else if note {
            current.noted = true;
            let (at, process) = (current.started.wall, current.identity());
            let (out_from, err_from, without) = (from.out, from.err, current.without.clone());
            self.journal.add(&JournalRecord::Spawned { attempt, process: process.clone() });
            let _ = self.journal.commit();
            failpoint("supervisor-recorded");
            self.report(&FromSupervisor::Began { attempt, at, process, out_from, err_from, without });
        } else if self.journal.has_pending() && current.noted {
            let _ = self.journal.commit();
        }
    }

    fn read_requests(&mut self) {
        let Some(requests) = &mut self.requests else { return };
        let filled = self.inbox.fill(requests);
        loop {
            match self.inbox.next::<ToSupervisor>() {
                Ok(Some(request)) => self.handle(request),
                Ok(None) => break,
                // That is not one of our agents.
                Err(_) => return self.close(),
            }
        }
        if matches!(filled, Ok(Some(0)) | Err(_)) {
            self.close();
        }
    }

    fn handle(&mut self, request: ToSupervisor) {
        failpoint("supervisor-order-received");
        match request {
            ToSupervisor::Start(mut start) => {
                if self.lane.replace(start.lane) != Some(start.lane) {
                    self.journal.add(&JournalRecord::Lane { lane: start.lane });
                }
                let members: VecDeque<StartMember> = std::mem::take(&mut start.members).into();
                match self.plan(start) {
                    Ok(plan) => self.batches.push_back(StartBatch { plan, members }),
                    Err(why) => {
                        for StartMember { attempt, .. } in members {
                            self.report(&FromSupervisor::Refused { attempt, why: why.clone() });
                        }
                    }
                }
            }
            ToSupervisor::Recall => {
                for attempt in self.drop_waiting(|_| true) {
                    self.report(&FromSupervisor::Recalled { attempt });
                }
            }
            ToSupervisor::Cancel { attempt, grace } => self.cancel(attempt, grace),
        }
    }

    fn plan(&mut self, start: Start) -> Result<LaunchPlan, Refusal> {
        let block = start.inherited.as_ref().and_then(|inherited| inherited.variables.as_ref());
        let lines = start.prologue.as_deref();
        let base = lines.map(|lines| self.prologues.environment(lines, block)).transpose();
        let base = base.map_err(|error| Refusal::Prologue { error })?;
        LaunchPlan::new(start, &self.dir, base, &self.own)
            .map_err(|error| Refusal::Spool { error: why_unusable(&self.dir, &error) })
    }

    fn cancel(&mut self, attempt: AttemptId, grace: Duration) {
        if let Some(current) = self.current.as_mut().filter(|c| c.member.attempt == attempt) {
            return current.terminate(Cause::Cancelled, grace, self.ambient.now().mono);
        }
        for attempt in self.drop_waiting(|a| a == attempt) {
            self.report(&FromSupervisor::Refused { attempt, why: Refusal::Tombstone });
        }
    }

    fn drop_waiting(&mut self, which: impl Fn(AttemptId) -> bool) -> Vec<AttemptId> {
        let mut dropped = Vec::new();
        for batch in &mut self.batches {
            batch.members.retain(|member| {
                let goes = which(member.attempt);
                if goes {
                    dropped.push(member.attempt);
                }
                !goes
            });
        }
        dropped
    }

    /// The agent is gone: nothing more begins, and a later agent may rely on that at once.
    fn close(&mut self) {
        self.requests = None;
        self.reports = None;
        self.outbox = Outbox::default();
        self.batches.clear();
        self.journal.add(&JournalRecord::Closed);
        let _ = self.journal.commit();
        let _ = self.journal.unlock();
        failpoint("supervisor-closed");
    }

    /// A later agent has no pipe to us: it leaves a note and sends TERM. Other signals, and TERM from others, change nothing.
    fn take_signal(&mut self) {
        let _ = io::Read::read(&mut self.signals, &mut [0; 64]);
        if let Some(CancelNote { attempt, grace }) = CancelNote::read(&self.dir) {
            self.cancel(attempt, grace);
        }
    }
}
