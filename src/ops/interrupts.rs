//! Ctrl-C and TERM while `grid run` submits and follows: the first cancels the task, the second returns at once.

use super::OpsError;
use super::selecting::Chosen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The signals that came, as bytes in a pipe.
#[derive(Debug)]
pub struct Interrupts {
    pipe: UnixStream,
    count: u32,
    /// The number of the last signal; 0 before the first.
    last: Arc<AtomicUsize>,
    /// The task that the first signal cancels.
    task: Option<Chosen>,
    cancelled: bool,
    /// Handlers by which a second signal ends the process, until there is a task to cancel.
    ending: Vec<SigId>,
}

impl Interrupts {
    /// Starts to collect signals. A signal that ended the process between the submit and the first look at the task
    /// would leave the task running.
    pub fn listen() -> Result<Self, OpsError> {
        let failed = |error: std::io::Error| OpsError::Grid(format!("signals can't be caught: {error}"));
        let (pipe, write) = UnixStream::pair().map_err(failed)?;
        pipe.set_nonblocking(true).map_err(failed)?;
        let once = Arc::new(AtomicBool::new(false));
        let last = Arc::new(AtomicUsize::new(0));
        let mut ending = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // First: from the first handler on the system's own action is over, and a signal that is not in the pipe is lost.
            let write = write.try_clone().map_err(failed)?;
            low_level::pipe::register(signal, write).map_err(failed)?;
            ending.push(flag::register_conditional_default(signal, Arc::clone(&once)).map_err(failed)?);
            ending.push(flag::register(signal, Arc::clone(&once)).map_err(failed)?);
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&last), number).map_err(failed)?;
        }
        Ok(Self { pipe, count: 0, last, task: None, cancelled: false, ending })
    }

    /// Sets the task: the first signal cancels it, the second returns with a message.
    pub fn submitted(&mut self, task: Chosen) {
        self.task = Some(task);
        for id in self.ending.drain(..) {
            low_level::unregister(id);
        }
    }

    /// Takes the signals that have come; gives how many there were in all.
    pub fn take(&mut self) -> u32 {
        let mut bytes = [0; 16];
        while let Ok(n @ 1..) = self.pipe.read(&mut bytes) {
            self.count += u32::try_from(n).unwrap_or(1);
        }
        self.count
    }

    /// The task that the first signal cancels: the whole array, whichever member is followed.
    pub fn task_or(&self, followed: Chosen) -> Chosen {
        self.task.unwrap_or(followed)
    }

    /// Records that the first signal has cancelled the task.
    pub const fn cancelled(&mut self) {
        self.cancelled = true;
    }

    /// The last signal, if a signal has cancelled the task: a shell expects that the command ends by it.
    pub fn cancelled_by(&self) -> Option<i32> {
        if self.cancelled { self.last_signal() } else { None }
    }

    fn last_signal(&self) -> Option<i32> {
        i32::try_from(self.last.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }

    /// The error by which a second signal ends the follow.
    pub fn interrupted(&self, followed: Chosen) -> OpsError {
        let what = self.task_or(followed);
        let words = if self.cancelled {
            format!("task {what} is being cancelled; `grid wait {what}` tells when it has ended")
        } else {
            format!("task {what} keeps running: `grid wait {what}`, `grid cancel {what}`")
        };
        OpsError::Interrupted { words, signal: self.last_signal().unwrap_or(SIGINT) }
    }

    /// True if a signal came that was not taken.
    pub fn came(&self) -> bool {
        self.came_within(Duration::ZERO).unwrap_or(false)
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Waits for a signal, at most this long.
    pub fn came_within(&self, limit: Duration) -> Result<bool, OpsError> {
        let timeout =
            Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(1), tv_nsec: limit.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(OpsError::Grid(error.to_string())),
        }
    }
}
