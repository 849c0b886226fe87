//! Patterns: paths whose names may be globs. A path is matched with all patterns at once, name by name: each name costs at most
//! one step for each name of a pattern, whatever the wildcards.

use crate::model::files::RelPath;
use globset::{Glob, GlobMatcher};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Most patterns of a task.
const PATTERNS_MAX: usize = 256;
/// Most bytes of all patterns.
const BYTES_MAX: usize = 16 << 10;
/// Most wildcards in one name of a pattern.
const NAME_WILDCARDS_MAX: usize = 32;
/// Most wildcards in all patterns.
const WILDCARDS_MAX: usize = 512;
const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// Why patterns are refused.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("{0}")]
    Glob(#[from] globset::Error),
    #[error("{0} patterns are more than {PATTERNS_MAX}; name a directory that holds the files")]
    TooMany(usize),
    #[error("patterns of {0} bytes are longer than {BYTES_MAX}; name a directory that holds the files")]
    TooLong(usize),
    #[error("{name}: {found} wildcards in one name are more than {NAME_WILDCARDS_MAX}")]
    TooWild { name: String, found: usize },
    #[error("{0} wildcards in all patterns are more than {WILDCARDS_MAX}; name a directory that holds the files")]
    TooWildTogether(usize),
}

/// One name of a pattern.
#[derive(Debug)]
enum PatternName {
    Plain(OsString),
    /// `**`: any number of directories.
    Any,
    Glob(GlobMatcher),
}

impl PatternName {
    fn of(name: &OsStr) -> Result<(Self, usize), PatternError> {
        if name == "**" {
            return Ok((Self::Any, 1));
        }
        let Some(text) = name.to_str().filter(|text| text.contains(WILDCARDS)) else {
            return Ok((Self::Plain(name.to_owned()), 0));
        };
        let found = text.matches(WILDCARDS).count();
        if found > NAME_WILDCARDS_MAX {
            return Err(PatternError::TooWild { name: text.to_owned(), found });
        }
        Ok((Self::Glob(Glob::new(text)?.compile_matcher()), found))
    }

    fn is_match(&self, name: &OsStr) -> bool {
        match self {
            Self::Plain(plain) => plain == name,
            Self::Any => true,
            Self::Glob(glob) => glob.is_match(Path::new(name)),
        }
    }
}

/// Compiled patterns.
#[derive(Debug)]
pub struct Patterns(Vec<Vec<PatternName>>);

/// How far a path has matched: (pattern, number of its names that are matched).
#[derive(Debug, Clone, Default)]
pub struct Reached(BTreeSet<(usize, usize)>);

/// The result of one more name of a path.
#[derive(Debug, Default)]
pub struct PatternStep {
    pub reached: Reached,
    /// Patterns that match the path.
    pub named: Vec<usize>,
    /// Patterns that match it if it is a directory: only `**` is left of them.
    pub named_as_dir: Vec<usize>,
}

impl Patterns {
    /// Compiles patterns. Too many or too long ones are refused.
    pub fn new(patterns: &[RelPath]) -> Result<Self, PatternError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(PatternError::TooMany(patterns.len()));
        }
        let bytes = patterns.iter().map(|pattern| pattern.as_bytes().len()).sum();
        if bytes > BYTES_MAX {
            return Err(PatternError::TooLong(bytes));
        }
        let (mut wildcards, mut all) = (0, Vec::with_capacity(patterns.len()));
        for pattern in patterns {
            let mut names = Vec::new();
            for name in pattern.names() {
                let (name, found) = PatternName::of(name)?;
                wildcards += found;
                names.push(name);
            }
            all.push(names);
        }
        if wildcards > WILDCARDS_MAX {
            return Err(PatternError::TooWildTogether(wildcards));
        }
        Ok(Self(all))
    }

    /// The number of patterns.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no patterns.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The start of all paths: the directory itself.
    pub fn start(&self) -> PatternStep {
        let mut step = PatternStep::default();
        (0..self.0.len()).for_each(|pattern| self.reach(pattern, 0, &mut step));
        step
    }

    /// Matches one more name.
    pub fn step(&self, from: &Reached, name: &OsStr) -> PatternStep {
        let mut step = PatternStep::default();
        for &(pattern, at) in &from.0 {
            match &self.0[pattern][at] {
                PatternName::Any => self.reach(pattern, at, &mut step),
                other if other.is_match(name) => self.reach(pattern, at + 1, &mut step),
                _ => {}
            }
        }
        step
    }

    /// Adds a state; `**` also matches no directory at all.
    fn reach(&self, pattern: usize, at: usize, step: &mut PatternStep) {
        let names = &self.0[pattern];
        if at == names.len() {
            return step.named.push(pattern);
        }
        for next in at..=names.len() {
            if next == names.len() {
                return step.named_as_dir.push(pattern);
            }
            step.reached.0.insert((pattern, next));
            if !matches!(names[next], PatternName::Any) {
                return;
            }
        }
    }

    /// The names that may match next, if none of them has a wildcard: the directory need not be listed.
    pub fn plain_next(&self, from: &Reached) -> Option<BTreeSet<&OsStr>> {
        let plain = |&(pattern, at): &(usize, usize)| match &self.0[pattern][at] {
            PatternName::Plain(name) => Some(name.as_os_str()),
            PatternName::Any | PatternName::Glob(_) => None,
        };
        from.0.iter().map(plain).collect()
    }

    /// True if a pattern matches this path, or a directory above it.
    pub fn names(&self, path: &[&OsStr]) -> bool {
        let mut step = self.start();
        let mut below = path.iter();
        loop {
            if !step.named.is_empty() || !step.named_as_dir.is_empty() {
                return true;
            }
            let Some(name) = below.next().filter(|_| !step.reached.is_empty()) else { return false };
            step = self.step(&step.reached, name);
        }
    }
}

impl Reached {
    /// True if nothing below can match.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes patterns.
    pub fn without(&mut self, patterns: &[usize]) {
        self.0.retain(|(pattern, _)| !patterns.contains(pattern));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(Path::new(path)).unwrap()
    }

    fn names(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<RelPath> = patterns.iter().map(|pattern| rel(pattern)).collect();
        let path = rel(path);
        Patterns::new(&patterns).unwrap().names(&path.names().collect::<Vec<_>>())
    }

    /// The definition of a match, in exponential time.
    fn covers(pattern: &[&str], path: &[&str]) -> bool {
        let Some((first, rest)) = pattern.split_first() else { return true };
        match (*first, path.split_first()) {
            ("**", below) => covers(rest, path) || below.is_some_and(|(_, below)| covers(pattern, below)),
            (_, None) => false,
            (name, Some((this, below))) => (name == "*" || name == *this) && covers(rest, below),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_each_by_its_definition(
            patterns in prop::collection::vec("(a|b|\\*|\\*\\*)(/(a|b|\\*|\\*\\*)){0,4}", 1..4),
            path in "(a|b|c)(/(a|b|c)){0,5}",
        ) {
            let split: Vec<&str> = path.split('/').collect();
            let expected = patterns.iter().any(|pattern| covers(&pattern.split('/').collect::<Vec<_>>(), &split));
            prop_assert_eq!(names(&patterns.iter().map(String::as_str).collect::<Vec<_>>(), &path), expected);
        }
    }

    #[test]
    fn double_stars_take_linear_time() {
        let pattern = format!("{}/nothing", vec!["**"; 60].join("/"));
        let path = vec!["a"; 2000].join("/");
        assert!(!names(&[&pattern], &path));
        let pattern = format!("{}/nothing", vec!["**/a"; 100].join("/"));
        assert!(!names(&[&pattern], &path));
    }

    #[test]
    fn patterns_above_the_bounds_are_refused() {
        let new =
            |patterns: Vec<String>| Patterns::new(&patterns.iter().map(|pattern| rel(pattern)).collect::<Vec<_>>());
        assert!(new(vec!["a".to_owned(); 256]).is_ok());
        assert!(matches!(new(vec!["a".to_owned(); 257]), Err(PatternError::TooMany(257))));
        assert!(matches!(new(vec!["a".repeat(200); 100]), Err(PatternError::TooLong(20_000))));
        assert!(matches!(new(vec!["*a".repeat(33)]), Err(PatternError::TooWild { found: 33, .. })));
        assert!(matches!(new(vec!["**/".repeat(513)]), Err(PatternError::TooWildTogether(513))));
        assert!(matches!(new(vec!["{a".to_owned()]), Err(PatternError::Glob(_))));
    }
}
