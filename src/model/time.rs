//! Points in time and lengths of time, as stored and as people write them.

use super::zone;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC, by the clock of the host that wrote it. JSON shows RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Now, on this host's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(set_by()))
    }

    /// True if this was at least `length` ago. Also true for a time in the future: the clock was set back since.
    pub fn is_past(self, length: Duration, now: Self) -> bool {
        self > now || self.age_at(now) >= length
    }

    /// How long ago this was at `now`; zero if the clock went back.
    pub fn age_at(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// This time, earlier by a length of time.
    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time, later by a length of time.
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The time in the caller's time zone, as tables show it.
    pub fn local(self) -> String {
        self.in_zone(zone::callers())
    }

    /// The time in a time zone, as tables show it.
    pub fn in_zone(self, zone: TimeZone) -> String {
        self.instant().to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// By how many ms a test has set the wall clock, by the content of a file.
#[cfg(feature = "failpoints")]
fn set_by() -> i64 {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    static SET: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = SET.get_or_init(|| std::env::var_os("GRID_TEST_CLOCK").map(PathBuf::from));
    let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(not(feature = "failpoints"))]
const fn set_by() -> i64 {
    0
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.instant())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { out.collect_str(self) } else { out.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return i64::deserialize(from).map(Self);
        }
        let text = String::deserialize(from)?;
        let instant: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(instant.as_millisecond()))
    }
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    #[error("{0:?} is no length of time: write 90s, 1h30m, 2d, or D-HH:MM:SS")]
    Form(String),
    #[error("{0:?} needs a unit: {0}s, {0}m or {0}h")]
    NoUnit(String),
    #[error("{0:?}: the length of time must be more than nothing and at most 10 years")]
    Range(String),
}

/// Reads `90s`, `1h30m`, `2 days`, `01:30:00`, `1-02:03:04`.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let text = text.trim();
    let form = || BadDuration::Form(text.to_owned());
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadDuration::NoUnit(text.to_owned()));
    }
    let (days, rest) = match text.split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().map_err(|_| form())?, clock),
        None => (0, text),
    };
    let seconds = if rest.contains(':') && rest.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        clock_seconds(rest).ok_or_else(form)?
    } else if days > 0 || text.contains('-') {
        return Err(form());
    } else {
        let span: jiff::Span = rest.parse().map_err(|_| form())?;
        let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| form())?;
        let length = Duration::try_from(length).map_err(|_| form())?;
        return in_range(text, length);
    };
    let total = days.checked_mul(86_400).and_then(|d| d.checked_add(seconds)).ok_or_else(form)?;
    in_range(text, Duration::from_secs(total))
}

/// `HH:MM:SS` or `MM:SS`.
fn clock_seconds(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [h, m, s] if m < 60 && s < 60 => h.checked_mul(3600)?.checked_add(m * 60 + s),
        [m, s] if s < 60 => m.checked_mul(60)?.checked_add(s),
        _ => None,
    }
}

fn in_range(text: &str, length: Duration) -> Result<Duration, BadDuration> {
    if length.is_zero() || length > Duration::from_secs(10 * 366 * 86_400) {
        return Err(BadDuration::Range(text.to_owned()));
    }
    Ok(length)
}

/// A length of time in messages and tables: `4 min`, `3 h`.
pub fn short(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 if length.as_millis() > 0 => format!("{} ms", length.as_millis()),
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The time that a task ran or waits: `1:02:03`.
pub fn clock(length: Duration) -> String {
    let s = length.as_secs();
    match s {
        0..=59 if s < 10 => format!("{:.1}s", length.as_secs_f64()),
        0..=59 => format!("{s}s"),
        60..=3_599 => format!("{}:{:02}", s / 60, s % 60),
        3_600..=86_399 => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
        _ => format!("{}-{:02}:{:02}:{:02}", s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_durations_parse() {
        for (text, seconds) in [
            ("90s", 90),
            ("1h30m", 5400),
            ("2 days", 172_800),
            ("01:30:00", 5400),
            ("1-02:03:04", 93_784),
            ("10:00", 600),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "90", "x", "0s", "-5s", "1-", "1-2h", "00:61:00", "99999999999999999999h", "11y", "1:2:3:4"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_that_is_still_to_come_is_past() {
        let (now, hour) = (Timestamp(10_000_000), Duration::from_secs(3600));
        assert!(
            now.minus(hour).is_past(hour, now) && !now.minus(hour / 2).is_past(hour, now) && !now.is_past(hour, now)
        );
        assert!(now.plus(hour).is_past(hour, now));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn json_keeps_a_timestamp(ms in 0i64..4_102_444_800_000) {
            let json = serde_json::to_string(&Timestamp(ms)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), Timestamp(ms));
        }
    }
}
