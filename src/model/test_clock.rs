//! A clock that only the test moves.

use super::ambient::{Ambient, Now};
use super::clock::Moment;
use super::time::Timestamp;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The monotonic and the wall clock of a test.
#[derive(Debug)]
pub struct TestClock {
    began: Instant,
    passed: Cell<Duration>,
    /// Milliseconds by which the wall clock was set.
    set: Cell<i64>,
}

/// The start time of all tests: 2027-01-15.
const BEGAN: Timestamp = Timestamp(1_800_000_000_000);

impl Default for TestClock {
    /// A clock that does not move by itself.
    fn default() -> Self {
        Self { began: Instant::now(), passed: Cell::new(Duration::ZERO), set: Cell::new(0) }
    }
}

impl TestClock {
    /// A clock that does not move by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.passed.set(self.passed.get() + by);
    }

    /// Sets the wall clock, forward or back.
    pub fn set_wall(&self, by_ms: i64) {
        self.set.set(self.set.get() + by_ms);
    }
}

impl Ambient for TestClock {
    fn now(&self) -> Now {
        let wall = Timestamp(BEGAN.plus(self.passed.get()).0 + self.set.get());
        Now { wall, mono: self.began + self.passed.get() }
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.now().wall, since_boot: Duration::from_secs(3600) + self.passed.get() }
    }

    fn chance(&self) -> f64 {
        0.5
    }
}
