//! Parses the indexes of an array: `1-10:2%4`.

use super::task::Members;

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

    proptest! {
        #[test]
        fn no_text_makes_the_array_parser_panic(text in "[0-9:%,-]{0,24}") {
            let _ = parse_array(&text);
        }
    }
}
