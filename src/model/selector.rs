//! Parses how people name tasks: `12`, `12.3`, `12.3-5`, `12.failed`, `12-15`, `last`, `all`, and by the name of a task.

use super::id::{Index, TaskId};
use std::fmt;
use std::str::FromStr;

/// One word of a command line that names tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One task, or members of it.
    One(TaskWord, Option<MemberWord>),
    /// A range, with both ends.
    Span(TaskId, TaskId),
    /// The caller's tasks of a name.
    AllNamed(String),
    /// The caller's own tasks, as the verb means it.
    All,
}

/// A word for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskWord {
    Id(TaskId),
    /// The caller's newest task.
    Last,
    /// The caller's newest task of a name. If there is none, what follows the last dot may say members.
    Named(String),
}

/// Members of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberWord {
    One(Index),
    /// A range, with both ends.
    Range(Index, Index),
    /// Those that failed.
    Failed,
}

/// A text that names no tasks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no task: write 12, 12.3 (a member), 12.3-5, 12.failed, 12-15, last, all, or the name of a task (name:NAME)"
)]
pub struct BadSelector(String);

impl Selector {
    /// The task with this id.
    pub const fn id(task: TaskId) -> Self {
        Self::One(TaskWord::Id(task), None)
    }

    /// Does it name one task or one member, whatever there is?
    pub const fn is_single(&self) -> bool {
        matches!(self, Self::One(_, None | Some(MemberWord::One(_))))
    }
}

/// Precedes a name that could be read as something else.
const NAME: &str = "name:";
/// Follows a name to say all tasks that have it.
const ALL_NAMED: &str = ":all";

fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn range<T: FromStr + PartialOrd>(text: &str) -> Option<(T, T)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (number(from)?, number(to)?);
    (from <= to).then_some((from, to))
}

impl FromStr for MemberWord {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        if text == "failed" {
            return Ok(Self::Failed);
        }
        let one = number(text).map(|index| Self::One(Index(index)));
        let several = || range(text).map(|(from, to)| Self::Range(Index(from), Index(to)));
        one.or_else(several).ok_or_else(|| bad(text))
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        if let Some(name) = text.strip_prefix(NAME) {
            let (name, all) = name.strip_suffix(ALL_NAMED).map_or((name, false), |name| (name, true));
            return match (name, all) {
                ("", _) => Err(bad(text)),
                (name, true) => Ok(Self::AllNamed(name.to_owned())),
                (name, false) => Ok(Self::One(TaskWord::Named(name.to_owned()), None)),
            };
        }
        let (task, members) = match text.split_once('.') {
            Some((task, members)) => (task, Some(members)),
            None => (text, None),
        };
        let word = match task {
            "all" if members.is_none() => return Ok(Self::All),
            "last" => TaskWord::Last,
            _ if task.starts_with(|c: char| c.is_ascii_digit()) => match (range(task), members) {
                (Some((from, to)), None) => return Ok(Self::Span(TaskId(from), TaskId(to))),
                _ => TaskWord::Id(TaskId(number(task).ok_or_else(|| bad(text))?)),
            },
            _ if text.starts_with(char::is_alphabetic) => {
                return Ok(match text.strip_suffix(ALL_NAMED) {
                    Some(name) => Self::AllNamed(name.to_owned()),
                    None => Self::One(TaskWord::Named(text.to_owned()), None),
                });
            }
            _ => return Err(bad(text)),
        };
        let members = members.map(str::parse).transpose().map_err(|_| bad(text))?;
        Ok(Self::One(word, members))
    }
}

fn bad(text: &str) -> BadSelector {
    BadSelector(text.chars().take(60).collect())
}

impl fmt::Display for TaskWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Last => f.write_str("last"),
            Self::Named(name) => write!(f, "{NAME}{name}"),
        }
    }
}

impl fmt::Display for MemberWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(index) => index.fmt(f),
            Self::Range(from, to) => write!(f, "{from}-{to}"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(task, None) => task.fmt(f),
            Self::One(task, Some(members)) => write!(f, "{task}.{members}"),
            Self::Span(from, to) => write!(f, "{from}-{to}"),
            Self::AllNamed(name) => write!(f, "{NAME}{name}{ALL_NAMED}"),
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
        fn selector_that_parses_is_written_the_same(text in "(name:)?[0-9a-z.-]{0,12}(:all)?") {
            if let Ok(selector) = text.parse::<Selector>() {
                let again: Selector = selector.to_string().parse().unwrap();
                prop_assert_eq!(again, selector);
            }
        }
    }

    #[test]
    fn words_and_numbers_of_selectors_parse() {
        let id = |id| TaskWord::Id(TaskId(id));
        let named = |name: &str| Ok(Selector::One(TaskWord::Named(name.to_owned()), None));
        assert_eq!("12.3".parse(), Ok(Selector::One(id(12), Some(MemberWord::One(Index(3))))));
        assert_eq!("12.3-5".parse(), Ok(Selector::One(id(12), Some(MemberWord::Range(Index(3), Index(5))))));
        assert_eq!("last.failed".parse(), Ok(Selector::One(TaskWord::Last, Some(MemberWord::Failed))));
        assert_eq!("12-15".parse(), Ok(Selector::Span(TaskId(12), TaskId(15))));
        assert_eq!("build".parse(), named("build"));
        assert_eq!("name:12".parse(), named("12"), "digits alone are an id");
        assert_eq!("build.3".parse(), named("build.3"), "whether that is a member is seen where names are known");
        for all in ["name:build:all", "build:all"] {
            assert_eq!(all.parse(), Ok(Selector::AllNamed("build".to_owned())));
        }
        for bad in
            ["", "-1", "15-12", "1.", "1.x", "1.5-3", "12-15.failed", "+5", "1-2-3", "99999999999999999999", "name:"]
        {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
