//! `grid supervise DIR`: runs the attempts of one run, one after the other, and outlives whoever started it.
//!
//! stdin: orders. stdout: reports. stderr: the run's journal, opened for appending and locked; the lock goes with the descriptor,
//! so from the agent's first breath to our last nobody can think that nothing will begin. Once these three are put aside,
//! stdin becomes /dev/null and stdout and stderr the run's `out` and `err`: a command inherits them without a call.

use super::journal::{JournalRecord, Writer};
use super::launch::{Order, Unexecutable};
use super::limits::timespec;
use super::output::cut;
use super::process::{self, close_inherited, handle_signals};
use super::prologue::Prologues;
use super::running::{NotBegun, NotSpawned, Running};
use super::spool::why_unusable;
use super::{AgentError, installed};
use crate::model::attempt::{Cause, End, Usage};
use crate::model::clock::Moment;
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Refusal, Start, StartMember};
use crate::protocol::frame::{Inbox, Outbox};
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A command that ends sooner is reported once, at its end; only a longer one is reported as running.
const NOTE_AFTER: Duration = Duration::from_millis(2);
/// Reports of short commands wait this long for company.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// How often an end that found no room on the disk is tried again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// Becomes the supervisor of the run in this directory. Returns when there is nothing left to do.
pub fn supervise(run_dir: &Path) -> Result<(), AgentError> {
    // A panic's text would land in the journal or in somebody's output.
    std::panic::set_hook(Box::new(|_| {}));
    close_inherited();
    let _in_use = installed::hold();
    let mut supervisor = Supervisor::start(run_dir)?;
    failpoint("supervisor-started");
    loop {
        supervisor.begin_next();
        if supervisor.is_done() {
            return Ok(());
        }
        supervisor.wait()?;
    }
}

struct Supervisor {
    dir: PathBuf,
    /// None once the agent is gone.
    orders: Option<File>,
    inbox: Inbox,
    reports: Option<File>,
    outbox: Outbox,
    journal: Writer,
    outputs: [File; 2],
    signals: UnixStream,
    batches: VecDeque<Batch>,
    /// Whose attempts it runs; None before the first order. Who was started beforehand could not know.
    lane: Option<LaneId>,
    current: Option<Running>,
    flushed: Instant,
    prologues: Prologues,
}

/// An order and those of its members that have not begun.
struct Batch {
    order: Order,
    members: VecDeque<StartMember>,
}

impl Supervisor {
    fn start(run_dir: &Path) -> Result<Self, AgentError> {
        let aside = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let failed = |what: &'static str| AgentError::io::<io::Error>(what);
        let orders = aside(io::stdin().as_fd()).map_err(failed("orders"))?;
        let reports = aside(io::stdout().as_fd()).map_err(failed("reports"))?;
        let journal = aside(io::stderr().as_fd()).map_err(failed("journal"))?;
        let output =
            |name: &str| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(run_dir.join(name));
        let outputs = [output("out").map_err(failed("out"))?, output("err").map_err(failed("err"))?];
        let null = File::open("/dev/null").map_err(failed("/dev/null"))?;
        rustix::stdio::dup2_stdin(&null).map_err(AgentError::io("stdin"))?;
        rustix::stdio::dup2_stdout(&outputs[0]).map_err(AgentError::io("stdout"))?;
        rustix::stdio::dup2_stderr(&outputs[1]).map_err(AgentError::io("stderr"))?;
        for pipe in [&orders, &reports] {
            rustix::fs::fcntl_setfl(pipe, rustix::fs::fcntl_getfl(pipe).unwrap_or(OFlags::empty()) | OFlags::NONBLOCK)
                .map_err(AgentError::io("pipes"))?;
        }
        // Fails only where we lead a session already.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(AgentError::io("subreaper"))?;
        let _ = rustix::thread::set_name(c"grid supervise");
        rustix::process::umask(Mode::from_raw_mode(0o022));
        std::env::set_current_dir("/").map_err(failed("/"))?;
        let signals = handle_signals().map_err(failed("signals"))?;
        let mut journal = Writer::new(journal).map_err(failed("journal"))?;
        journal.commit_with(&JournalRecord::Opened { process: process::myself() }).map_err(failed("journal"))?;
        Ok(Self {
            dir: run_dir.to_owned(),
            orders: Some(orders),
            inbox: Inbox::default(),
            reports: Some(reports),
            outbox: Outbox::default(),
            journal,
            outputs,
            signals,
            batches: VecDeque::new(),
            lane: None,
            current: None,
            flushed: Instant::now(),
            prologues: Prologues::default(),
        })
    }

    /// Nothing runs, nothing will come, all is written.
    fn is_done(&self) -> bool {
        self.current.is_none() && self.orders.is_none() && !self.journal.has_pending() && self.outbox.is_empty()
    }

    fn report(&mut self, report: &FromSupervisor) {
        if self.reports.is_some() {
            // Reports are small and of our own types: they can always be encoded.
            let _ = self.outbox.push(report);
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
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

    /// Begins waiting members until one runs.
    fn begin_next(&mut self) {
        while self.current.is_none() {
            let Some(batch) = self.batches.front_mut() else { break };
            match batch.members.pop_front() {
                Some(member) => self.begin(member),
                None => drop(self.batches.pop_front()),
            }
        }
        if self.current.is_none() && self.journal.commit().is_ok() {
            failpoint("supervisor-end-recorded");
        }
    }

    fn begin(&mut self, member: StartMember) {
        let attempt = member.attempt;
        failpoint("supervisor-before-begin");
        let begun = self.try_begin(member);
        // We hold nobody's directory when nothing runs in it.
        let _ = std::env::set_current_dir("/");
        match begun {
            Ok(running) => self.current = Some(running),
            Err(NotBegun::Refused(why)) => self.report(&FromSupervisor::Refused { attempt, why }),
            Err(NotBegun::Ended(cause, (out_from, err_from))) => {
                let (started_at, ended_at) = (None, Timestamp::now());
                let end =
                    End { cause, started_at, ended_at, usage: Usage::default(), out_len: 0, err_len: 0, cut: None };
                self.record_end(attempt, end, out_from, err_from);
            }
        }
    }

    fn try_begin(&mut self, member: StartMember) -> Result<Running, NotBegun> {
        let Some(batch) = self.batches.front_mut() else {
            return Err(Refusal::Supervisor { error: "its order is gone".to_owned() }.into());
        };
        let attempt = member.attempt;
        batch.order.enter(&member)?;
        let outputs = batch.order.outputs(&member)?;
        let from = (length(&self.outputs[0]), length(&self.outputs[1]));
        let Moment { wall: at, since_boot } = Moment::now();
        let begun = JournalRecord::Begun { attempt, at, since_boot: Some(since_boot), out: from.0, err: from.1 };
        self.journal.commit_with(&begun).map_err(|error| Refusal::Spool { error: why_unusable(&self.dir, &error) })?;
        failpoint("supervisor-begun");
        let mut spawned = Running::spawn(&mut batch.order, member.clone(), outputs, from);
        if matches!(spawned, Err(NotSpawned::NoFormat(_))) && batch.order.go_through_shell() {
            spawned = match batch.order.outputs(&member) {
                Ok(outputs) => Running::spawn(&mut batch.order, member.clone(), outputs, from),
                Err(why) => return Err(self.take_back(attempt, why)),
            };
        }
        failpoint("supervisor-spawned");
        // The directory may have gone since we looked: then nothing has ended, for nothing began.
        let directory = if spawned.is_err() { batch.order.enter(&member) } else { Ok(()) };
        match (spawned, directory) {
            (Ok(running), _) => Ok(running),
            (Err(NotSpawned::Host(error)), _) => {
                Err(self.take_back(attempt, Refusal::Supervisor { error: error.to_string() }))
            }
            (Err(_), Err(why)) => Err(self.take_back(attempt, why)),
            (Err(NotSpawned::Program(not) | NotSpawned::NoFormat(not)), Ok(())) => {
                let Unexecutable { code, error } = not;
                Err(NotBegun::Ended(Cause::NotExecuted { code, error }, from))
            }
        }
    }

    /// A begin that is in the journal, but did not happen.
    fn take_back(&mut self, attempt: AttemptId, why: Refusal) -> NotBegun {
        self.journal.add(&JournalRecord::Refused { attempt, why: why.clone() });
        let _ = self.journal.commit();
        NotBegun::Refused(why)
    }

    fn record_end(&mut self, attempt: AttemptId, end: End, out_from: u64, err_from: u64) {
        failpoint("supervisor-ended-before-record");
        // Written together with the next begin, or at once if there is none.
        self.journal.add(&JournalRecord::Ended { attempt, end: end.clone(), out: out_from, err: err_from });
        self.report(&FromSupervisor::Ended { attempt, end, out_from, err_from });
    }

    /// Waits for whatever comes first and takes note of it.
    fn wait(&mut self) -> Result<(), AgentError> {
        let fresh = self.current.as_ref().is_some_and(|c| !c.noted);
        if !fresh || self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush();
            if self.is_done() {
                return Ok(());
            }
        }
        let (orders, signals, timed_out) = {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            fds.extend(self.orders.as_ref().map(|orders| PollFd::new(orders, PollFlags::IN)));
            if let Some(reports) = self.reports.as_ref().filter(|_| !self.outbox.is_empty() && !fresh) {
                fds.push(PollFd::new(reports, PollFlags::OUT));
            }
            if let Some(current) = &self.current {
                fds.extend(current.watched().iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
                fds.extend(current.deadline.as_ref().map(|d| PollFd::new(d.fd(), PollFlags::IN)));
            }
            let timeout = self.timeout(fresh).map(timespec);
            let ready = match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => return Ok(()),
                other => other.map_err(AgentError::io("poll"))?,
            };
            (self.orders.is_some() && !fds[1].revents().is_empty(), !fds[0].revents().is_empty(), ready == 0)
        };
        if signals {
            self.take_signal();
        }
        if orders {
            self.take_orders();
        }
        self.look(fresh && timed_out);
        Ok(())
    }

    fn timeout(&self, fresh: bool) -> Option<Duration> {
        let look = self.current.as_ref().and_then(Running::next_look);
        let look = look.map(|at| at.saturating_duration_since(Instant::now()));
        let note = fresh.then_some(NOTE_AFTER);
        let retry = self.journal.has_pending().then_some(JOURNAL_RETRY);
        [look, note, retry].into_iter().flatten().min()
    }

    fn look(&mut self, note: bool) {
        let Some(current) = &mut self.current else { return };
        current.keep_bound(&self.outputs, &self.dir);
        if let Some(mut end) = current.look() {
            let (attempt, out_from, err_from) = (current.member.attempt, current.out_from, current.err_from);
            end.out_len = length(&self.outputs[0]).saturating_sub(out_from);
            end.err_len = length(&self.outputs[1]).saturating_sub(err_from);
            let bound = current.close_bound(&self.outputs, [end.out_len, end.err_len], &self.dir);
            end.cut = bound.or_else(|| cut(&self.outputs[0], &end, &self.journal));
            self.current = None;
            self.record_end(attempt, end.fitting(), out_from, err_from);
        } else if note {
            current.noted = true;
            let (attempt, at, process) = (current.member.attempt, current.started.wall, current.identity());
            let (out_from, err_from) = (current.out_from, current.err_from);
            self.journal.add(&JournalRecord::Spawned { attempt, process: process.clone() });
            let _ = self.journal.commit();
            failpoint("supervisor-recorded");
            self.report(&FromSupervisor::Began { attempt, at, process, out_from, err_from });
        } else if self.journal.has_pending() && current.noted {
            let _ = self.journal.commit();
        }
    }

    fn take_orders(&mut self) {
        let Some(orders) = &mut self.orders else { return };
        let filled = self.inbox.fill(orders);
        loop {
            match self.inbox.next::<ToSupervisor>() {
                Ok(Some(order)) => self.take(order),
                Ok(None) => break,
                // Whoever speaks so is no agent of ours.
                Err(_) => return self.close(),
            }
        }
        if matches!(filled, Ok(Some(0)) | Err(_)) {
            self.close();
        }
    }

    fn take(&mut self, order: ToSupervisor) {
        failpoint("supervisor-order-received");
        match order {
            ToSupervisor::Start(mut start) => {
                if self.lane.replace(start.lane) != Some(start.lane) {
                    self.journal.add(&JournalRecord::Lane { lane: start.lane });
                }
                let members: VecDeque<StartMember> = std::mem::take(&mut start.members).into();
                match self.order(start) {
                    Ok(order) => self.batches.push_back(Batch { order, members }),
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

    fn order(&mut self, start: Start) -> Result<Order, Refusal> {
        let lines = start.prologue.as_deref();
        let base = lines.map(|lines| self.prologues.environment(lines)).transpose();
        let base = base.map_err(|error| Refusal::Prologue { error })?;
        Order::new(start, &self.dir, base).map_err(|error| Refusal::Spool { error: why_unusable(&self.dir, &error) })
    }

    fn cancel(&mut self, attempt: AttemptId, grace: Duration) {
        if let Some(current) = self.current.as_mut().filter(|c| c.member.attempt == attempt) {
            return current.end(Cause::Cancelled, grace);
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

    /// The agent is gone: what has not begun never will, and a later agent may know that at once.
    fn close(&mut self) {
        self.orders = None;
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
        if let Some((attempt, grace)) = super::orphans::read_cancel_note(&self.dir) {
            self.cancel(attempt, grace);
        }
    }
}

fn length(file: &File) -> u64 {
    rustix::fs::fstat(file).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}
