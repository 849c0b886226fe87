//! The attempt that a supervisor has at the moment: from the spawn until nothing of it is left.

use super::bound::Bound;
use super::launch::{Order, Unexecutable};
use super::limits::{Deadline, MEM_INTERVAL};
use super::{process, tree};
use crate::model::attempt::{Cause, Cut, End, ProcessId, Usage};
use crate::model::clock::{Moment, since_boot};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Refusal, StartMember};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// From TERM to KILL at a limit.
pub const LIMIT_GRACE: Duration = Duration::from_secs(10);
/// From TERM to KILL for what a command left behind at its own end.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// "File size limit exceeded".
const SIGXFSZ: u8 = 25;

/// A command and, after it, what it left behind.
#[derive(Debug)]
pub struct Running {
    pub member: StartMember,
    pub out_from: u64,
    pub err_from: u64,
    pub started: Moment,
    /// Known to the journal and the agent as running.
    pub noted: bool,
    pub deadline: Option<Deadline>,
    child: Child,
    pidfd: OwnedFd,
    mem_limit: Option<Bytes>,
    mem_next: Instant,
    bound: Option<Bound>,
    /// Why we are ending it.
    asked: Option<Cause>,
    kill_at: Option<Instant>,
    /// Set once the command itself is over.
    over: Option<(ExitStatus, Usage, Timestamp)>,
    /// Then these are still there.
    leftovers: Vec<OwnedFd>,
}

/// Why there is nothing running after a spawn.
#[derive(Debug)]
pub enum NotSpawned {
    /// The program is to blame: an end.
    Program(Unexecutable),
    /// No `#!` and no binary: it may be a script for sh.
    NoFormat(Unexecutable),
    /// The host is to blame (processes, memory, descriptors): it never ran and may be tried again.
    Host(io::Error),
}

/// Why a member is not running after its turn came.
#[derive(Debug)]
pub enum NotBegun {
    Refused(Refusal),
    /// Not executable: that is an end. With the offsets of its (empty) outputs.
    Ended(Cause, (u64, u64)),
}

impl From<Refusal> for NotBegun {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl Running {
    /// Spawns the member's command.
    pub fn spawn(
        order: &mut Order,
        member: StartMember,
        outputs: Option<[Stdio; 2]>,
        from: (u64, u64),
    ) -> Result<Self, NotSpawned> {
        let input = order.input().map_err(NotSpawned::Host)?;
        let redirected = input.is_some() || outputs.is_some();
        let deadline = order.time_limit().map(Deadline::after).transpose().map_err(NotSpawned::Host)?;
        let mem_limit = order.mem_limit();
        let started = Moment::now();
        let command = order.command(&member).map_err(NotSpawned::Program)?;
        if let Some(input) = input {
            command.stdin(input);
        }
        if let Some([out, err]) = outputs {
            command.stdout(out).stderr(err);
        }
        let program = command.get_program().to_owned();
        let child = command.spawn();
        // Not to be kept open, and not for the next member.
        if redirected {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        }
        let child = child.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => NotSpawned::Host(error),
            Some(Errno::NOEXEC) => NotSpawned::NoFormat(Unexecutable::of(program.as_ref(), &error)),
            _ => NotSpawned::Program(Unexecutable::of(program.as_ref(), &error)),
        })?;
        // The child is ours and not yet waited for, so its pid can't have gone to another.
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let mut child = child;
        let pidfd = pidfd.map_err(|error| {
            let _ = child.kill();
            let _ = child.wait();
            NotSpawned::Host(error.into())
        })?;
        let now = Instant::now();
        Ok(Self {
            bound: order.max_output().map(|limit| Bound::new(limit, from, now)),
            member,
            out_from: from.0,
            err_from: from.1,
            started,
            noted: false,
            deadline,
            child,
            pidfd,
            mem_limit,
            mem_next: now + MEM_INTERVAL,
            asked: None,
            kill_at: None,
            over: None,
            leftovers: Vec::new(),
        })
    }

    /// What poll has to watch: the command, or after it what it left.
    pub fn watched(&self) -> &[OwnedFd] {
        if self.over.is_some() { &self.leftovers } else { std::slice::from_ref(&self.pidfd) }
    }

    /// The process, with its start time.
    pub fn identity(&self) -> ProcessId {
        let pid = self.pid().as_raw_nonzero().get();
        process::identity(pid).unwrap_or(ProcessId { pid, start_time: 0 })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// When to look again though nothing has moved.
    pub fn next_look(&self) -> Option<Instant> {
        let mem = self.mem_limit.filter(|_| self.over.is_none() && self.asked.is_none()).map(|_| self.mem_next);
        [self.kill_at, mem, self.bound.as_ref().map(Bound::next)].into_iter().flatten().min()
    }

    /// Keeps its outputs within their bound, once it is due. What ends within milliseconds is looked at once, at its end.
    pub fn keep_bound(&mut self, outputs: &[File; 2], run_dir: &Path) {
        let Some(bound) = self.bound.as_mut().filter(|_| self.noted) else { return };
        let now = Instant::now();
        if now >= bound.next() && bound.look(outputs, run_dir, self.member.attempt, now) {
            // As of a file that grows beyond a limit of the system. What it writes in a grace is dropped too.
            self.end(Cause::Signalled { signal: SIGXFSZ }, LEFTOVER_GRACE);
        }
    }

    /// Why its outputs, which have these lengths now that it is over, are not whole.
    pub fn close_bound(&mut self, outputs: &[File; 2], lens: [u64; 2], run_dir: &Path) -> Option<Cut> {
        self.bound.as_mut()?.close(outputs, lens, run_dir, self.member.attempt)
    }

    /// TERM now, KILL after the grace; nothing if the command has already ended by itself.
    pub fn end(&mut self, cause: Cause, grace: Duration) {
        if self.over.is_some() || process::has_ended(&self.pidfd) {
            // Its own end stands; but what it left behind need not be waited for longer than that.
            return;
        }
        let kill_at = Instant::now() + grace;
        if self.asked.is_some() {
            self.kill_at = self.kill_at.map(|at| at.min(kill_at));
            return;
        }
        self.asked = Some(cause);
        self.kill_at = Some(kill_at);
        self.signal_tree(Signal::TERM);
    }

    /// The group, and whoever left it (our descendants: everything below a subreaper is this attempt's).
    fn signal_tree(&self, signal: Signal) {
        if self.over.is_none() {
            let _ = kill_process_group(self.pid(), signal);
        }
        let group = self.over.is_none().then(|| self.pid());
        let others: Vec<ProcessId> = tree::descendants(rustix::process::getpid().as_raw_nonzero().get())
            .into_iter()
            .map(|s| s.id)
            .filter(|id| {
                let its = Pid::from_raw(id.pid).and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
                group.is_none() || its != group
            })
            .collect();
        tree::signal_all(&others, signal);
    }

    /// Takes note of what has happened. Some: nothing of the attempt is left, and this is its end, without lengths.
    pub fn look(&mut self) -> Option<End> {
        if self.over.is_none() {
            if process::has_ended(&self.pidfd) {
                self.bury();
            } else {
                self.enforce();
                return None;
            }
        }
        if tree::reap() {
            return self.finish();
        }
        // Its outputs are complete only when nobody is left who could write to them.
        let now = Instant::now();
        if self.kill_at.is_none() {
            self.kill_at = Some(now + LEFTOVER_GRACE);
            self.signal_tree(Signal::TERM);
        } else if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = Some(now + LEFTOVER_GRACE);
            self.signal_tree(Signal::KILL);
        }
        if tree::reap() {
            return self.finish();
        }
        let me = rustix::process::getpid().as_raw_nonzero().get();
        self.leftovers = tree::descendants(me).iter().filter_map(|s| process::open(&s.id).ok().flatten()).collect();
        // What is left now is zombies of others, or grid's own processes, which do not belong to the attempt.
        if self.leftovers.is_empty() { self.finish() } else { None }
    }

    fn bury(&mut self) {
        let ended_at = self.started.end_at(since_boot());
        let (status, usage) = match self.child.wait4() {
            Ok(used) => {
                let cpu = used.rusage.utime + used.rusage.stime;
                let cpu_ms = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
                (used.status, Usage { cpu_ms, max_rss: Bytes(used.rusage.maxrss) })
            }
            // Can't happen to a child that nobody else waits for; KILL is the status that claims least.
            Err(_) => (ExitStatus::from_raw(9), Usage::default()),
        };
        self.over = Some((status, usage, ended_at));
        self.deadline = None;
    }

    fn enforce(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = Some(now + LEFTOVER_GRACE);
            self.signal_tree(Signal::KILL);
        } else if self.asked.is_none() && self.deadline.as_ref().is_some_and(Deadline::passed) {
            self.deadline = None;
            self.end(Cause::TimeLimit, LIMIT_GRACE);
        } else if self.asked.is_none() && self.mem_limit.is_some() && now >= self.mem_next {
            self.mem_next = now + MEM_INTERVAL;
            let used = tree::resident(rustix::process::getpid().as_raw_nonzero().get());
            if self.mem_limit.is_some_and(|limit| used > limit) {
                // Memory goes on growing during a grace: it gets none.
                self.asked = Some(Cause::OutOfMemory);
                self.kill_at = Some(now + LEFTOVER_GRACE);
                self.signal_tree(Signal::KILL);
            }
        }
    }

    fn finish(&mut self) -> Option<End> {
        let (status, usage, ended_at) = self.over.take()?;
        let own = match (status.code(), status.signal()) {
            (Some(code), _) => Cause::Exited { code: u8::try_from(code).unwrap_or(u8::MAX) },
            (None, signal) => Cause::Signalled { signal: signal.and_then(|s| u8::try_from(s).ok()).unwrap_or(0) },
        };
        let cause = self.asked.take().unwrap_or(own);
        Some(End { cause, started_at: Some(self.started.wall), ended_at, usage, out_len: 0, err_len: 0, cut: None })
    }
}
