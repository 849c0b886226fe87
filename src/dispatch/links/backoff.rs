//! How long the dispatcher waits before it tries a link again.

use crate::link::trouble::Retry;
use std::time::Duration;

/// The first pause, and the longest ones: for troubles that may pass by themselves, and for those that a person has to fix.
pub const WAIT_MIN: Duration = Duration::from_millis(50);
pub const WAIT_SOON: Duration = Duration::from_secs(30);
pub const WAIT_SELDOM: Duration = Duration::from_secs(600);
/// The pause while callers keep asking for the link.
pub const URGED_PAUSE: Duration = Duration::from_secs(1);

/// The pause that follows `pause`.
pub fn next_pause(pause: Duration, retry: Retry) -> Duration {
    match retry {
        Retry::Soon => (pause * 3).clamp(Duration::from_millis(500), WAIT_SOON),
        Retry::Seldom => (pause * 3).clamp(WAIT_SOON, WAIT_SELDOM),
    }
}

/// A pause changed by up to a quarter, by a chance from 0 to 1, so that links refused together are not retried together.
pub fn jittered(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + chance / 2.0)
}
