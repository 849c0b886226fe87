//! How long a link that was lost, or can't be had, is left alone.

use crate::link::trouble::Retry;
use std::time::Duration;

/// The first pause, and the longest ones: where it may pass by itself, and where somebody has to do something.
pub const WAIT_MIN: Duration = Duration::from_millis(50);
pub const WAIT_SOON: Duration = Duration::from_secs(30);
pub const WAIT_SELDOM: Duration = Duration::from_secs(600);
/// The pause where callers ask again and again.
pub const URGED_PAUSE: Duration = Duration::from_secs(1);

/// The pause behind this one.
pub fn next_pause(pause: Duration, retry: Retry) -> Duration {
    match retry {
        Retry::Soon => (pause * 3).clamp(Duration::from_millis(500), WAIT_SOON),
        Retry::Seldom => (pause * 3).clamp(WAIT_SOON, WAIT_SELDOM),
    }
}

/// A quarter more or less, by a chance from 0 to 1: many that were turned away together must not come back together.
pub fn jittered(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + chance / 2.0)
}
