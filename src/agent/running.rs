//! The attempt that a supervisor runs at the moment: from the spawn until none of its processes is left.

use super::bound::Bound;
use super::launch::{LaunchPlan, Unexecutable};
use super::limits::{Deadline, Limits, PassedLimit};
use super::output::Offsets;
use super::termination::{LEFTOVER_GRACE, Termination};
use super::{process, tree};
use crate::model::ambient::Ambient;
use crate::model::attempt::{Cause, Cut, End, ProcessId, Usage};
use crate::model::clock::Moment;
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
const LIMIT_GRACE: Duration = Duration::from_secs(10);

/// The signal "File size limit exceeded".
const SIGXFSZ: u8 = 25;

/// A command and, after its end, the processes that it left behind.
#[derive(Debug)]
pub struct Running {
    pub member: StartMember,
    /// Where its outputs begin.
    pub from: Offsets,
    pub started: Moment,
    /// Variables of a virtual environment that it runs without.
    pub without: Vec<String>,
    /// Known to the journal and the agent as running.
    pub noted: bool,
    child: Child,
    pidfd: OwnedFd,
    limits: Limits,
    bound: Option<Bound>,
    termination: Termination,
    /// Set once the command itself has ended.
    exit: Option<CommandExit>,
    /// Then these processes are still there.
    leftovers: Vec<OwnedFd>,
}

/// The end of a command, though not of what it left behind.
#[derive(Debug)]
struct CommandExit {
    status: ExitStatus,
    usage: Usage,
    at: Timestamp,
}

/// Why a spawn failed.
#[derive(Debug)]
pub enum NotSpawned {
    /// By the program: the attempt ends.
    Program(Unexecutable),
    /// By the format of the program: no `#!` and no binary. It may be a script for sh.
    NoFormat(Unexecutable),
    /// By the host (processes, memory, descriptors): the attempt never ran and may be tried again.
    Host(io::Error),
}

/// Why a member was not started.
#[derive(Debug)]
pub enum NotStarted {
    Refused(Refusal),
    /// It is not executable: the attempt ends. With the offsets of its (empty) outputs.
    Ended(Cause, Offsets),
}

impl From<Refusal> for NotStarted {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl Running {
    /// Spawns the member's command.
    pub fn spawn(
        plan: &mut LaunchPlan,
        member: StartMember,
        outputs: Option<[Stdio; 2]>,
        from: Offsets,
        ambient: &dyn Ambient,
    ) -> Result<Self, NotSpawned> {
        let input = plan.input().map_err(NotSpawned::Host)?;
        let redirected = input.is_some() || outputs.is_some();
        let deadline = plan.time_limit().map(|length| Deadline::at(ambient.moment().since_boot + length));
        let deadline = deadline.transpose().map_err(NotSpawned::Host)?;
        let (mem_limit, max_output, without) = (plan.mem_limit(), plan.max_output(), plan.without().to_vec());
        let started = ambient.moment();
        let command = plan.command(&member).map_err(NotSpawned::Program)?;
        if let Some(input) = input {
            command.stdin(input);
        }
        if let Some([out, err]) = outputs {
            command.stdout(out).stderr(err);
        }
        let program = command.get_program().to_owned();
        let child = command.spawn();
        // The files are closed, and the next member gets its own.
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
        let now = ambient.now().mono;
        Ok(Self {
            member,
            from,
            started,
            without,
            noted: false,
            child,
            pidfd,
            limits: Limits::new(deadline, mem_limit, now),
            bound: max_output.map(|limit| Bound::new(limit, from, now)),
            termination: Termination::default(),
            exit: None,
            leftovers: Vec::new(),
        })
    }

    /// What poll has to watch: the command and its time limit, or after it what it left.
    pub fn watched(&self) -> impl Iterator<Item = &OwnedFd> {
        let processes = if self.exit.is_some() { &self.leftovers } else { std::slice::from_ref(&self.pidfd) };
        processes.iter().chain(self.limits.timer())
    }

    /// The process, with its start time.
    pub fn identity(&self) -> ProcessId {
        let pid = self.pid().as_raw_nonzero().get();
        process::identity(pid).unwrap_or(ProcessId { pid, start_time: 0 })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// When to check again though nothing has happened.
    pub fn next_check(&self) -> Option<Instant> {
        let bound = self.bound.as_ref().map(Bound::next);
        [self.termination.kill_at(), self.limits.next_measurement(), bound].into_iter().flatten().min()
    }

    /// Keeps its outputs within their bound, once that is due. An attempt that ends within milliseconds is checked once, at its end.
    pub fn enforce_bound(&mut self, outputs: &[File; 2], run_dir: &Path, now: Instant) {
        let Some(bound) = self.bound.as_mut().filter(|_| self.noted) else { return };
        if now >= bound.next() && bound.check(outputs, run_dir, self.member.attempt, now) {
            // As of a file that grows beyond a limit of the system. What it writes in a grace is dropped too.
            self.terminate(Cause::Signalled { signal: SIGXFSZ }, LEFTOVER_GRACE, now);
        }
    }

    /// Why its outputs, which have these lengths at the end, are not whole.
    pub fn close_bound(&mut self, outputs: &[File; 2], lens: [u64; 2], run_dir: &Path) -> Option<Cut> {
        self.bound.as_mut()?.close(outputs, lens, run_dir, self.member.attempt)
    }

    /// Sends TERM now and KILL after the grace; nothing if the command has already ended.
    pub fn terminate(&mut self, cause: Cause, grace: Duration, now: Instant) {
        if self.exit.is_some() || process::has_ended(&self.pidfd) {
            return;
        }
        self.limits = Limits::default();
        if let Some(signal) = self.termination.request(cause, grace, now) {
            self.signal_tree(signal);
        }
    }

    /// Signals the group and the processes that left it: all descendants of a subreaper belong to its attempt.
    fn signal_tree(&self, signal: Signal) {
        if self.exit.is_none() {
            let _ = kill_process_group(self.pid(), signal);
        }
        let group = self.exit.is_none().then(|| self.pid());
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
    pub fn check(&mut self, ambient: &dyn Ambient) -> Option<End> {
        if self.exit.is_none() {
            if process::has_ended(&self.pidfd) {
                self.collect_exit(ambient.moment().since_boot);
            } else {
                self.enforce_limits(ambient);
                return None;
            }
        }
        if tree::reap() {
            return self.finish();
        }
        // Its outputs are complete only when no process is left that could write to them.
        if let Some(signal) = self.termination.due_for_leftovers(ambient.now().mono) {
            self.signal_tree(signal);
        }
        if tree::reap() {
            return self.finish();
        }
        let me = rustix::process::getpid().as_raw_nonzero().get();
        self.leftovers = tree::descendants(me).iter().filter_map(|s| process::open(&s.id).ok().flatten()).collect();
        // Only zombies of others are left, or grid's own processes, which do not belong to the attempt.
        if self.leftovers.is_empty() { self.finish() } else { None }
    }

    fn collect_exit(&mut self, since_boot: Duration) {
        let at = self.started.end_at(since_boot);
        let (status, usage) = match self.child.wait4() {
            Ok(used) => {
                let cpu = used.rusage.utime + used.rusage.stime;
                let cpu_ms = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
                (used.status, Usage { cpu_ms, max_rss: Bytes(used.rusage.maxrss) })
            }
            // Impossible for a child that only we wait for; KILL is the status that claims least.
            Err(_) => (ExitStatus::from_raw(9), Usage::default()),
        };
        self.exit = Some(CommandExit { status, usage, at });
        self.limits = Limits::default();
    }

    fn enforce_limits(&mut self, ambient: &dyn Ambient) {
        let now = ambient.now().mono;
        if let Some(signal) = self.termination.due(now) {
            return self.signal_tree(signal);
        }
        let resident = || tree::resident(rustix::process::getpid().as_raw_nonzero().get());
        match self.limits.passed(ambient.moment().since_boot, now, resident) {
            Some(PassedLimit::Time) => self.terminate(Cause::TimeLimit, LIMIT_GRACE, now),
            Some(PassedLimit::Memory) => {
                // Memory goes on growing during a grace: it gets none.
                self.limits = Limits::default();
                let signal = self.termination.request_kill(Cause::OutOfMemory, now);
                self.signal_tree(signal);
            }
            None => {}
        }
    }

    fn finish(&mut self) -> Option<End> {
        let CommandExit { status, usage, at: ended_at } = self.exit.take()?;
        let own = match (status.code(), status.signal()) {
            (Some(code), _) => Cause::Exited { code: u8::try_from(code).unwrap_or(u8::MAX) },
            (None, signal) => Cause::Signalled { signal: signal.and_then(|s| u8::try_from(s).ok()).unwrap_or(0) },
        };
        let cause = self.termination.take_cause().unwrap_or(own);
        let (started_at, without) = (Some(self.started.wall), std::mem::take(&mut self.without));
        Some(End { cause, started_at, ended_at, usage, out_len: 0, err_len: 0, cut: None, without })
    }
}
