//! Two clocks: the wall clock, which people and daemons set, and the time since boot (sleep included), which only goes forward.
//! How long something took is told by the second; whether the first can be believed, by both.

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

    /// The end of what began at this moment, at so long after boot: it took what it took, wherever the wall clock was set to meanwhile.
    pub fn end_at(self, since_boot: Duration) -> Timestamp {
        self.wall.plus(since_boot.saturating_sub(self.since_boot))
    }
}

/// The wall clock goes with the time since boot, but for what NTP does to it little by little.
pub const STEP: u64 = 10_000;

impl Moment {
    /// By how many ms the wall clock was set since an earlier moment of this boot; None: it was not.
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

/// Both clocks, and of which boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub moment: Moment,
    pub boot: BootId,
}

/// Within one boot the two clocks part by no more than this where only NTP has a hand in it.
const DRIFT: Duration = Duration::from_secs(3600);
/// A host may be off for so long before its clock is doubted.
const OFF: Duration = Duration::from_secs(7 * 24 * 3600);
/// A wall clock that was set is believed after it has been steady for so long.
const STEADY: Duration = Duration::from_secs(24 * 3600);

impl Reading {
    /// Now.
    pub fn now() -> Self {
        Self { moment: Moment::now(), boot: BootId::of_this_host() }
    }

    /// Was the wall clock set since an earlier reading?
    fn was_set_since(&self, last: &Self) -> bool {
        let passed = i128::from(self.moment.wall.0) - i128::from(last.moment.wall.0);
        let millis = |length: Duration| i128::try_from(length.as_millis()).unwrap_or(i128::MAX);
        if self.boot == last.boot {
            let truly = millis(self.moment.since_boot) - millis(last.moment.since_boot);
            return (passed - truly).abs() > millis(DRIFT);
        }
        // It ran for as long as it is up, and was off before that.
        let off = passed - millis(self.moment.since_boot);
        off < -millis(DRIFT) || off > millis(OFF)
    }

    /// Since when the wall clock is not believed; none: it is. `last` is the reading before, and since when it was doubted then.
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
    fn length_is_told_by_the_clock_that_only_goes_forward() {
        let begun = Moment { wall: Timestamp(1_000_000), since_boot: Duration::from_secs(50) };
        assert_eq!(begun.end_at(Duration::from_secs(53)), Timestamp(1_003_000));
        assert_eq!(begun.end_at(Duration::from_secs(49)), Timestamp(1_000_000));
    }

    #[test]
    fn step_of_the_wall_clock_is_told_from_time_that_passes() {
        let by =
            |wall: u64, since_boot: u64| at(wall, since_boot, "a").moment.set_since(at(100 * DAY, HOUR, "a").moment);
        assert_eq!((by(101 * DAY, HOUR + DAY), by(100 * DAY + 9, HOUR)), (None, None));
        assert_eq!(by(130 * DAY + 5, HOUR + 5), Some(30 * 86_400_000));
        assert_eq!(by(99 * DAY + 5, HOUR + 5), Some(-86_400_000));
    }

    #[test]
    fn clock_that_goes_with_the_time_since_boot_is_believed() {
        let last = at(100 * DAY, HOUR, "a");
        assert!(!doubted(&last, None, &at(100 * DAY + 300, HOUR + 300, "a")));
        // Asleep or seldom used for three months.
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
        // A battery that is empty: 1970, or the day of the firmware.
        assert!(doubted(&last, None, &at(DAY, 60, "b")));
        assert!(doubted(&last, None, &at(130 * DAY, 60, "b")));
        // It came up long ago, and the home was not looked at since.
        assert!(!doubted(&last, None, &at(160 * DAY, 59 * DAY, "b")));
    }

    #[test]
    fn doubted_clock_is_believed_after_a_steady_day() {
        let last = at(130 * DAY, 2 * HOUR, "a");
        let since = Some(last.moment.wall);
        assert!(doubted(&last, since, &at(130 * DAY + HOUR, 3 * HOUR, "a")));
        assert!(!doubted(&last, since, &at(131 * DAY, 26 * HOUR, "a")));
        // Set again meanwhile: the day begins anew.
        assert!(doubted(&last, since, &at(100 * DAY, 26 * HOUR, "a")));
    }

    #[test]
    fn clock_of_which_nothing_is_known_is_doubted() {
        assert!(at(100 * DAY, HOUR, "a").doubt(None).is_some());
    }
}
