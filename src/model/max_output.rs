//! The bound of each of a command's two output streams, and what happens beyond it.

use super::attempt::Gap;
use super::resources::{BadSize, Bytes};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes that are kept of the beginning of an output beyond its bound, and as many of its end.
const KEPT: u64 = 64 << 20;
/// The smallest bound: a smaller one would cut outputs that are sent with the end.
const LEAST: u64 = 64 << 10;
/// The word for no bound.
const NONE: &str = "none";
/// The word after the size by which the task is ended.
const KILL: &str = "kill";

/// A bound, as `1G`, `1G,kill` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaxOutput {
    /// The bound of each of the two outputs.
    pub bytes: Bytes,
    /// End the task beyond it.
    pub kill: bool,
}

/// The accepted forms, for messages.
const RANGE: &str = "write 64K or more, as 1G, with ,kill to end the task beyond it, or `none` for no bound";

/// A text that is no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMaxOutput {
    #[error("{0}; {RANGE}")]
    Size(#[from] BadSize),
    #[error("{0:?} is too little; {RANGE}")]
    Little(String),
    #[error("{0:?} is no bound; {RANGE}")]
    Form(String),
}

impl Default for MaxOutput {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl MaxOutput {
    /// The default bound.
    pub const DEFAULT: Self = Self { bytes: Bytes(1 << 30), kill: false };

    /// Reads `1G`, `1G,kill` or `none`.
    pub fn parse(text: &str) -> Result<Self, BadMaxOutput> {
        let (size, kill) = match text.trim().split_once(',') {
            Some((size, KILL)) => (size, true),
            Some(_) => return Err(BadMaxOutput::Form(text.to_owned())),
            None => (text.trim(), false),
        };
        if size == NONE && !kill {
            return Ok(Self { bytes: Bytes(u64::MAX), kill });
        }
        match Bytes::parse(size)? {
            Bytes(bytes) if bytes < LEAST => Err(BadMaxOutput::Little(size.to_owned())),
            bytes => Ok(Self { bytes, kill }),
        }
    }

    /// True if it is a bound.
    pub const fn is_one(self) -> bool {
        self.bytes.0 != u64::MAX
    }

    /// True if an output of this length is beyond it.
    pub const fn is_passed(self, len: u64) -> bool {
        len > self.bytes.0
    }

    /// The part that is left out of an output of this length.
    pub fn gap(self, len: u64) -> Option<Gap> {
        let kept = KEPT.min(self.bytes.0 / 2);
        self.is_passed(len).then(|| Gap { from: kept, to: len - kept })
    }
}

impl fmt::Display for MaxOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = if self.bytes.0 == u64::MAX { NONE.to_owned() } else { exact(self.bytes) };
        f.pad(&if self.kill { format!("{size},{KILL}") } else { size })
    }
}

/// A size that reads as the same number of bytes.
fn exact(bytes: Bytes) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let whole = units.iter().find(|(shift, _)| bytes.0.is_multiple_of(1 << shift));
    whole.map_or_else(|| format!("{}B", bytes.0), |(shift, unit)| format!("{}{unit}", bytes.0 >> shift))
}

impl FromStr for MaxOutput {
    type Err = BadMaxOutput;

    fn from_str(text: &str) -> Result<Self, BadMaxOutput> {
        Self::parse(text)
    }
}

impl TryFrom<String> for MaxOutput {
    type Error = BadMaxOutput;

    fn try_from(text: String) -> Result<Self, BadMaxOutput> {
        Self::parse(&text)
    }
}

impl From<MaxOutput> for String {
    fn from(bound: MaxOutput) -> Self {
        bound.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for text in ["1G", "1G,kill", "100K", "65537B", "none"] {
            assert_eq!(MaxOutput::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(MaxOutput::parse("1024M").unwrap(), MaxOutput::DEFAULT);
        for bad in ["", "1", "1G,stop", "none,kill", "63K", ",kill", "1G,"] {
            assert!(MaxOutput::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn error_of_a_bound_names_the_least_and_the_word_for_none() {
        for bad in ["1", "unlimited", "63K", "1G,stop", "none,kill"] {
            let error = MaxOutput::parse(bad).unwrap_err().to_string();
            assert!(error.contains("64K") && error.contains("`none`"), "{error}");
        }
    }

    #[test]
    fn gap_leaves_both_ends_and_never_more_than_the_bound() {
        let bound = |text: &str| MaxOutput::parse(text).unwrap();
        assert_eq!(bound("1G").gap(1 << 30), None);
        let gap = bound("1G").gap(3 << 30).unwrap();
        assert_eq!((gap.from, (3 << 30) - gap.to), (64 << 20, 64 << 20));
        let gap = bound("1M").gap((1 << 20) + 1).unwrap();
        assert_eq!((gap.from, gap.to), (512 << 10, (512 << 10) + 1));
        assert_eq!(bound("none").gap(u64::MAX), None);
    }
}
