//! Parses the indexes of an array, `1-10:2%4`, and how many of its members run at once.

use super::task::Members;
use std::str::FromStr;

/// A text that is no array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArray {
    #[error("array {0:?}: write A-B, A-B:STEP or A-B%AT_ONCE, for example 1-100:2%4")]
    Form(String),
    #[error("array {0:?} is empty: the first index is above the last")]
    Empty(String),
    #[error("array {0:?}: the step and the number at once must be 1 or more")]
    Zero(String),
    #[error("array {0:?} has more than 10,000,000 members")]
    TooLarge(String),
}

/// Reads `1-10:2%4`.
pub fn parse_array(text: &str) -> Result<Members, BadArray> {
    let form = || BadArray::Form(text.to_owned());
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse::<u32>().map_err(|_| form()) } else { Err(form()) }
    };
    let (range, at_once) = match text.split_once('%') {
        Some((range, at_once)) => (range, Some(number(at_once)?)),
        None => (text, None),
    };
    let (range, step) = match range.split_once(':') {
        Some((range, step)) => (range, number(step)?),
        None => (range, 1),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    if step == 0 || at_once == Some(0) {
        return Err(BadArray::Zero(text.to_owned()));
    }
    let span = last.checked_sub(first).ok_or_else(|| BadArray::Empty(text.to_owned()))?;
    if span / step >= 10_000_000 || last == u32::MAX {
        return Err(BadArray::TooLarge(text.to_owned()));
    }
    let count = span / step + 1;
    Ok(Members::Range { first, step, count, at_once })
}

/// How many members of an array may run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtOnce {
    /// As many as there is room for.
    Any,
    Most(u32),
    /// So many for each hundred processors of the submitting host, as GNU parallel counts.
    Percent(u32),
}

impl AtOnce {
    /// The bound on a host with so many processors, at least 1; None: there is none.
    pub fn most(self, cpus: u32) -> Option<u32> {
        match self {
            Self::Any => None,
            Self::Most(most) => Some(most),
            Self::Percent(percent) => {
                let share = u64::from(percent) * u64::from(cpus) / 100;
                Some(u32::try_from(share).unwrap_or(u32::MAX).max(1))
            }
        }
    }
}

/// A text that says no number of members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number: write 4, 150% (of the processors here), or 0 for as many as there is room for")]
pub struct BadAtOnce(String);

impl FromStr for AtOnce {
    type Err = BadAtOnce;

    fn from_str(text: &str) -> Result<Self, BadAtOnce> {
        let bad = || BadAtOnce(text.chars().take(60).collect());
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<u32>().map_err(|_| bad()) } else { Err(bad()) }
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent).and_then(|n| if n == 0 { Err(bad()) } else { Ok(Self::Percent(n)) }),
            None => number(text).map(|n| if n == 0 { Self::Any } else { Self::Most(n) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arrays_of_slurm_parse() {
        assert_eq!(parse_array("1-10:2%4"), Ok(Members::Range { first: 1, step: 2, count: 5, at_once: Some(4) }));
        assert_eq!(parse_array("7"), Ok(Members::Range { first: 7, step: 1, count: 1, at_once: None }));
        for bad in ["", "a", "5-1", "1-", "-3", "1-3:0", "1-3%0", "1-3%", "0-4294967295", "1--3", "1-2-3", "1,2"] {
            assert!(parse_array(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_at_once_are_counted_or_a_share_of_the_processors() {
        let most = |text: &str, cpus| text.parse::<AtOnce>().unwrap().most(cpus);
        assert_eq!([most("4", 2), most("0", 2), most("150%", 8), most("10%", 2)], [Some(4), None, Some(12), Some(1)]);
        for bad in ["", "-1", "4x", "%", "0%", "1.5", "99999999999"] {
            assert!(bad.parse::<AtOnce>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_array_parser_panic(text in "[0-9:%,-]{0,24}") {
            let _ = parse_array(&text);
        }
    }
}
