//! Ctrl-C and TERM while `grid run` submits and follows: the first cancels, the second leaves.

use super::OpsError;
use super::selecting::Chosen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The signals that came, as bytes in a pipe.
#[derive(Debug)]
pub struct Interrupts {
    pipe: UnixStream,
    count: u32,
    cancelled: bool,
    /// What lets a second signal end the process, as long as there is no task to be cancelled.
    ending: Vec<SigId>,
}

impl Interrupts {
    /// From here on a signal waits for the task: were it to end the process between the submit and the first look at the task, that
    /// would run on with nobody to cancel it.
    pub fn listen() -> Result<Self, OpsError> {
        let failed = |error: std::io::Error| OpsError::Grid(format!("signals can't be caught: {error}"));
        let (pipe, write) = UnixStream::pair().map_err(failed)?;
        pipe.set_nonblocking(true).map_err(failed)?;
        let once = Arc::new(AtomicBool::new(false));
        let mut ending = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            ending.push(flag::register_conditional_default(signal, Arc::clone(&once)).map_err(failed)?);
            ending.push(flag::register(signal, Arc::clone(&once)).map_err(failed)?);
            let write = write.try_clone().map_err(failed)?;
            low_level::pipe::register(signal, write).map_err(failed)?;
        }
        Ok(Self { pipe, count: 0, cancelled: false, ending })
    }

    /// There is a task now: a second signal leaves it alone, in words.
    pub fn submitted(&mut self) {
        for id in self.ending.drain(..) {
            low_level::unregister(id);
        }
    }

    /// How many came so far.
    pub fn take(&mut self) -> u32 {
        let mut bytes = [0; 16];
        while let Ok(n @ 1..) = self.pipe.read(&mut bytes) {
            self.count += u32::try_from(n).unwrap_or(1);
        }
        self.count
    }

    /// The task was cancelled for one.
    pub const fn cancelled(&mut self) {
        self.cancelled = true;
    }

    /// Why nobody follows the task any more.
    pub fn left(&self, what: Chosen) -> OpsError {
        OpsError::Grid(if self.cancelled {
            format!("left; task {what} is being cancelled: `grid wait {what}` tells when it has ended")
        } else {
            format!("left; task {what} goes on: `grid wait {what}`, `grid cancel {what}`")
        })
    }

    /// Did one come that was not taken?
    pub fn came(&self) -> bool {
        self.came_within(Duration::ZERO).unwrap_or(false)
    }

    /// Readable when one came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Waits a while for one.
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
