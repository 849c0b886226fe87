//! Time limits, on a clock that also counts while the host sleeps, and memory limits.

use crate::model::clock::since_boot;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::Duration;

/// How often a task's memory is looked at, where it has a limit.
pub const MEM_INTERVAL: Duration = Duration::from_millis(500);

/// A time limit: readable from the deadline on.
#[derive(Debug)]
pub struct Deadline {
    timer: OwnedFd,
    at: Duration,
}

impl Deadline {
    /// From now on.
    pub fn after(length: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let at = since_boot() + length;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value: timespec(at) };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(Self { timer, at })
    }

    /// For poll.
    pub fn fd(&self) -> &OwnedFd {
        &self.timer
    }

    /// Is it over?
    pub fn passed(&self) -> bool {
        since_boot() >= self.at
    }
}

/// As the system's calls take it.
pub fn timespec(length: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX), tv_nsec: length.subsec_nanos().into() }
}
