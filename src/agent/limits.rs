//! The limits of an attempt that runs: time, on a clock that also counts while the host sleeps, and memory.

use crate::model::resources::Bytes;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::{Duration, Instant};

/// How often a task's memory is measured, where it has a limit.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// A time limit: readable from the deadline on.
#[derive(Debug)]
pub struct Deadline {
    timer: OwnedFd,
    /// Since boot.
    at: Duration,
}

impl Deadline {
    /// At so long after boot.
    pub fn at(at: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value: timespec(at) };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(Self { timer, at })
    }
}

/// A memory limit, and when the memory is measured next.
#[derive(Debug)]
struct MemoryLimit {
    most: Bytes,
    next: Instant,
}

/// The limits of one attempt.
#[derive(Debug, Default)]
pub struct Limits {
    time: Option<Deadline>,
    memory: Option<MemoryLimit>,
}

/// The limit that an attempt passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedLimit {
    Time,
    Memory,
}

impl Limits {
    /// Of an attempt that starts now.
    pub fn new(time: Option<Deadline>, memory: Option<Bytes>, now: Instant) -> Self {
        Self { time, memory: memory.map(|most| MemoryLimit { most, next: now + MEASURE_EVERY }) }
    }

    /// For poll: readable once the time is over.
    pub fn timer(&self) -> Option<&OwnedFd> {
        self.time.as_ref().map(|deadline| &deadline.timer)
    }

    /// When the memory is to be measured.
    pub fn next_measurement(&self) -> Option<Instant> {
        self.memory.as_ref().map(|memory| memory.next)
    }

    /// The limit that is passed by now. `resident` measures the memory, where that is due.
    pub fn passed(
        &mut self,
        since_boot: Duration,
        now: Instant,
        resident: impl FnOnce() -> Bytes,
    ) -> Option<PassedLimit> {
        if self.time.as_ref().is_some_and(|deadline| since_boot >= deadline.at) {
            return Some(PassedLimit::Time);
        }
        let memory = self.memory.as_mut().filter(|memory| now >= memory.next)?;
        memory.next = now + MEASURE_EVERY;
        (resident() > memory.most).then_some(PassedLimit::Memory)
    }
}

/// As the system's calls take it.
pub fn timespec(length: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX), tv_nsec: length.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ambient::Ambient;
    use crate::model::test_clock::TestClock;

    fn passed(limits: &mut Limits, clock: &TestClock, resident: impl FnOnce() -> Bytes) -> Option<PassedLimit> {
        limits.passed(clock.moment().since_boot, clock.now().mono, resident)
    }

    fn unmeasured() -> Bytes {
        panic!("the memory is measured")
    }

    #[test]
    fn time_limit_is_passed_at_its_deadline_whatever_the_wall_clock_says() {
        let clock = TestClock::new();
        let deadline = Deadline::at(clock.moment().since_boot + Duration::from_secs(60)).unwrap();
        let mut limits = Limits::new(Some(deadline), None, clock.now().mono);
        assert!(limits.timer().is_some());
        clock.set_wall(86_400_000);
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(passed(&mut limits, &clock, unmeasured), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(passed(&mut limits, &clock, unmeasured), Some(PassedLimit::Time));
    }

    #[test]
    fn memory_is_measured_twice_a_second() {
        let clock = TestClock::new();
        let mut limits = Limits::new(None, Some(Bytes(100)), clock.now().mono);
        assert_eq!(passed(&mut limits, &clock, unmeasured), None);
        for _ in 0..3 {
            clock.advance(Duration::from_millis(499));
            assert_eq!(passed(&mut limits, &clock, unmeasured), None);
            clock.advance(Duration::from_millis(1));
            assert_eq!(limits.next_measurement(), Some(clock.now().mono));
            assert_eq!(passed(&mut limits, &clock, || Bytes(100)), None);
        }
        clock.advance(MEASURE_EVERY);
        assert_eq!(passed(&mut limits, &clock, || Bytes(101)), Some(PassedLimit::Memory));
    }

    #[test]
    fn attempt_without_limits_has_nothing_to_wait_for() {
        let mut limits = Limits::default();
        assert!(limits.timer().is_none() && limits.next_measurement().is_none());
        assert_eq!(passed(&mut limits, &TestClock::new(), unmeasured), None);
    }
}
