//! Time and random numbers as an argument of decisions, so that a test or a simulation can repeat
//! them.

use super::clock::Moment;
use super::time::Timestamp;
use std::time::{Duration, Instant};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, for people and the database.
    pub wall: Timestamp,
    /// The monotonic clock, for durations and deadlines.
    pub mono: Instant,
}

impl Now {
    /// Time since an earlier moment.
    pub fn since(&self, earlier: Instant) -> Duration {
        self.mono.saturating_duration_since(earlier)
    }
}

/// A source of time and random numbers.
pub trait Ambient: std::fmt::Debug {
    /// The current moment.
    fn now(&self) -> Now;

    /// The wall clock and the time since boot.
    fn moment(&self) -> Moment;

    /// A random number of at least 0 and less than 1.
    fn chance(&self) -> f64;
}

/// The clocks of this host, and its random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Ambient for System {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), mono: Instant::now() }
    }

    fn moment(&self) -> Moment {
        Moment::now()
    }

    fn chance(&self) -> f64 {
        // The last bits of a UUID of version 7 are random.
        f64::from(uuid::Uuid::now_v7().as_u128() as u32) / (f64::from(u32::MAX) + 1.0)
    }
}
