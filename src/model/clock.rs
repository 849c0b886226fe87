//! Two clocks: the wall clock, which people and daemons set, and the time since boot (sleep included), which only goes forward.
//! The second measures durations; both together show whether the first can be trusted.

use super::id::BootId;
use super::time::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Both clocks of this host at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub wall: Timestamp,
    pub since_boot: Duration,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), since_boot: since_boot() }
    }

    /// The end of what began at this moment and ended at this time since boot, unaffected by changes of the wall clock meanwhile.
    pub fn end_at(self, since_boot: Duration) -> Timestamp {
        self.wall.plus(since_boot.saturating_sub(self.since_boot))
    }
}

/// Largest difference in ms between the two clocks that is not a step: NTP adjusts the wall clock gradually.
pub const STEP: u64 = 10_000;

impl Moment {
    /// By how many ms the wall clock was set since an earlier moment of this boot; None if it was not.
    pub fn set_since(self, earlier: Self) -> Option<i64> {
        let truly = self.since_boot.saturating_sub(earlier.since_boot);
        let by = self.wall.0.saturating_sub(earlier.wall.plus(truly).0);
        (by.unsigned_abs() > STEP).then_some(by)
    }
}

/// Time since boot, sleep included.
pub fn since_boot() -> Duration {
    // By libc: rustix looks for the vDSO where valgrind has none. The clock is there since Linux 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Both clocks, and the boot that they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub moment: Moment,
    pub boot: BootId,
}

/// Largest difference between the two clocks within one boot that NTP alone makes.
const DRIFT: Duration = Duration::from_secs(3600);
/// Longest time that a host may be off before its clock is doubted.
const OFF: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time that a wall clock must be steady after it was set to be trusted.
const STEADY: Duration = Duration::from_secs(24 * 3600);

impl Reading {
    /// Now.
    pub fn now() -> Self {
        Self { moment: Moment::now(), boot: BootId::of_this_host() }
    }

    /// True if the wall clock was set since an earlier reading.
    fn was_set_since(&self, last: &Self) -> bool {
        let passed = i128::from(self.moment.wall.0) - i128::from(last.moment.wall.0);
        let millis = |length: Duration| i128::try_from(length.as_millis()).unwrap_or(i128::MAX);
        if self.boot == last.boot {
            let truly = millis(self.moment.since_boot) - millis(last.moment.since_boot);
            return (passed - truly).abs() > millis(DRIFT);
        }
        // The host was off for the time before this boot.
        let off = passed - millis(self.moment.since_boot);
        off < -millis(DRIFT) || off > millis(OFF)
    }

    /// Since when the wall clock is doubted; None if it is trusted. `last` is the previous reading, and since when the clock was doubted then.
    pub fn doubt(&self, last: Option<(&Self, Option<Timestamp>)>) -> Option<Timestamp> {
        let Some((last, doubted)) = last else { return Some(self.moment.wall) };
        if self.was_set_since(last) {
            return Some(self.moment.wall);
        }
        doubted.filter(|since| since.age_at(self.moment.wall) < STEADY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    /// A reading: seconds of the wall clock, seconds since boot, which boot.
    fn at(wall: u64, since_boot: u64, boot: &str) -> Reading {
        let wall = Timestamp(i64::try_from(wall * 1000).unwrap());
        Reading { moment: Moment { wall, since_boot: Duration::from_secs(since_boot) }, boot: BootId(boot.into()) }
    }

    fn doubted(last: &Reading, since: Option<Timestamp>, now: &Reading) -> bool {
        now.doubt(Some((last, since))).is_some()
    }

    #[test]
    fn length_is_measured_by_the_monotonic_clock() {
        let begun = Moment { wall: Timestamp(1_000_000), since_boot: Duration::from_secs(50) };
        assert_eq!(begun.end_at(Duration::from_secs(53)), Timestamp(1_003_000));
        assert_eq!(begun.end_at(Duration::from_secs(49)), Timestamp(1_000_000));
    }

    #[test]
    fn step_of_the_wall_clock_is_distinguished_from_elapsed_time() {
        let by =
            |wall: u64, since_boot: u64| at(wall, since_boot, "a").moment.set_since(at(100 * DAY, HOUR, "a").moment);
        assert_eq!((by(101 * DAY, HOUR + DAY), by(100 * DAY + 9, HOUR)), (None, None));
        assert_eq!(by(130 * DAY + 5, HOUR + 5), Some(30 * 86_400_000));
        assert_eq!(by(99 * DAY + 5, HOUR + 5), Some(-86_400_000));
    }

    #[test]
    fn clock_that_matches_the_time_since_boot_is_trusted() {
        let last = at(100 * DAY, HOUR, "a");
        assert!(!doubted(&last, None, &at(100 * DAY + 300, HOUR + 300, "a")));
        // The host slept, or was seldom used, for three months.
        assert!(!doubted(&last, None, &at(190 * DAY, HOUR + 90 * DAY, "a")));
        assert!(!doubted(&last, None, &at(100 * DAY + 290, HOUR + 300, "a")));
    }

    #[test]
    fn clock_that_ran_away_is_doubted() {
        let last = at(100 * DAY, HOUR, "a");
        assert!(doubted(&last, None, &at(130 * DAY, HOUR + 300, "a")));
        assert!(doubted(&last, None, &at(99 * DAY, HOUR + 300, "a")));
    }

    #[test]
    fn clock_after_a_restart_is_doubted_where_the_host_was_off_for_too_long_or_not_at_all() {
        let last = at(100 * DAY, HOUR, "a");
        assert!(!doubted(&last, None, &at(102 * DAY, 60, "b")));
        // An empty battery sets the clock to 1970, or to the day of the firmware.
        assert!(doubted(&last, None, &at(DAY, 60, "b")));
        assert!(doubted(&last, None, &at(130 * DAY, 60, "b")));
        // The host booted long ago, and the home was not used since.
        assert!(!doubted(&last, None, &at(160 * DAY, 59 * DAY, "b")));
    }

    #[test]
    fn doubted_clock_is_trusted_after_a_steady_day() {
        let last = at(130 * DAY, 2 * HOUR, "a");
        let since = Some(last.moment.wall);
        assert!(doubted(&last, since, &at(130 * DAY + HOUR, 3 * HOUR, "a")));
        assert!(!doubted(&last, since, &at(131 * DAY, 26 * HOUR, "a")));
        // The clock was set again meanwhile: the day starts over.
        assert!(doubted(&last, since, &at(100 * DAY, 26 * HOUR, "a")));
    }

    #[test]
    fn clock_without_an_earlier_reading_is_doubted() {
        assert!(at(100 * DAY, HOUR, "a").doubt(None).is_some());
    }
}
