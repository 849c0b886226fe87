//! Time limits, on a clock that also counts while the host sleeps, and memory limits.

use rustix::fd::OwnedFd;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
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
        let at = boottime() + length;
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
        boottime() >= self.at
    }
}

/// Time since boot, sleep included.
fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// As the system's calls take it.
pub fn timespec(length: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX), tv_nsec: length.subsec_nanos().into() }
}
