//! Parses how people name tasks: `12`, `12.3`, `12-15`, `last`, `all`.

use super::id::{Index, TaskId};
use std::fmt;
use std::str::FromStr;

/// One word of a command line that names tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    Task(TaskId),
    Member(TaskId, Index),
    /// A range, with both ends.
    Span(TaskId, TaskId),
    /// The caller's newest task.
    Last,
    /// The caller's own tasks, as the verb means it.
    All,
}

/// A text that names no tasks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no task: write 12, 12.3 (a member), 12-15, last or all")]
pub struct BadSelector(String);

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let bad = || BadSelector(text.chars().take(60).collect());
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let id = |part: &str| if digits(part) { part.parse().map(TaskId).map_err(|_| bad()) } else { Err(bad()) };
        match text {
            "last" => Ok(Self::Last),
            "all" => Ok(Self::All),
            _ => {
                if let Some((task, index)) = text.split_once('.') {
                    if !digits(index) {
                        return Err(bad());
                    }
                    Ok(Self::Member(id(task)?, Index(index.parse().map_err(|_| bad())?)))
                } else if let Some((from, to)) = text.split_once('-') {
                    let (from, to) = (id(from)?, id(to)?);
                    if from > to { Err(bad()) } else { Ok(Self::Span(from, to)) }
                } else {
                    Ok(Self::Task(id(text)?))
                }
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => id.fmt(f),
            Self::Member(id, index) => write!(f, "{id}.{index}"),
            Self::Span(from, to) => write!(f, "{from}-{to}"),
            Self::Last => f.write_str("last"),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn selector_that_parses_is_written_the_same(text in "[0-9a-z.-]{0,12}") {
            if let Ok(selector) = text.parse::<Selector>() {
                let again: Selector = selector.to_string().parse().unwrap();
                prop_assert_eq!(again, selector);
            }
        }
    }

    #[test]
    fn words_and_numbers_of_selectors_parse() {
        assert_eq!("12.3".parse(), Ok(Selector::Member(TaskId(12), Index(3))));
        assert_eq!("12-15".parse(), Ok(Selector::Span(TaskId(12), TaskId(15))));
        for bad in ["", "x", "-1", "15-12", "1.", "1.x", "+5", "1-2-3", "99999999999999999999"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
