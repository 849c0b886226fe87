//! The period of a cron job: lengths of time that the five fields of a crontab can express evenly.

use crate::model::time::parse_duration;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A period that divides an hour or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    minutes: u64,
}

/// A text that is no period for cron.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvery {
    #[error("{0}")]
    Time(String),
    #[error(
        "cron can't say every {0}: take minutes that divide an hour (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30), hours that divide a day (1, 2, 3, 4, 6, 8, 12), or 24h"
    )]
    Uneven(String),
}

impl FromStr for Every {
    type Err = BadEvery;

    fn from_str(text: &str) -> Result<Self, BadEvery> {
        let length = parse_duration(text).map_err(|error| BadEvery::Time(error.to_string()))?;
        let minutes = length.as_secs() / 60;
        let even = minutes > 0
            && Duration::from_secs(minutes * 60) == length
            && (minutes < 60 && 60 % minutes == 0 || minutes % 60 == 0 && 1440 % minutes == 0);
        if even { Ok(Self { minutes }) } else { Err(BadEvery::Uneven(text.to_owned())) }
    }
}

impl Every {
    /// The first five fields of a line.
    pub fn fields(self) -> String {
        match self.minutes {
            1 => "* * * * *".to_owned(),
            60 => "0 * * * *".to_owned(),
            1440 => "0 0 * * *".to_owned(),
            minutes if minutes < 60 => format!("*/{minutes} * * * *"),
            minutes => format!("0 */{} * * *", minutes / 60),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minutes < 60 { write!(f, "{}min", self.minutes) } else { write!(f, "{}h", self.minutes / 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_that_divides_an_hour_or_a_day_is_accepted() {
        for (text, fields) in [
            ("1min", "* * * * *"),
            ("5min", "*/5 * * * *"),
            ("300s", "*/5 * * * *"),
            ("1h", "0 * * * *"),
            ("6h", "0 */6 * * *"),
            ("1d", "0 0 * * *"),
        ] {
            assert_eq!(text.parse::<Every>().unwrap().fields(), fields, "{text}");
        }
        for bad in ["7min", "90s", "30s", "45min", "5h", "2d", "90min"] {
            assert!(matches!(bad.parse::<Every>(), Err(BadEvery::Uneven(_))), "{bad}");
        }
        assert!(matches!("5".parse::<Every>(), Err(BadEvery::Time(_))));
    }
}
