//! Selection of files: paths that match patterns, and files that differ from an archive.

use super::pattern::{PatternError, PatternStep, Patterns, Reached};
use super::read::{self, EntryKind, ReadError};
use super::root::{self, Root};
use super::walk::{self, Rules, Tree, Walk, WalkError};
use crate::model::files::{Fetch, RelPath};
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a selection failed.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error("what was sent can't be read: {0}")]
    Sent(#[from] ReadError),
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{0}")]
    Pattern(#[from] PatternError),
}

/// The paths that a server may send back, by the patterns of the task.
pub struct AllowedResults<'a> {
    below: &'a RelPath,
    patterns: Patterns,
}

impl<'a> AllowedResults<'a> {
    /// The patterns of a task that ran in the directory `below` the root.
    pub fn new(fetch: &Fetch, below: &'a RelPath) -> Result<Self, SelectError> {
        Ok(Self { below, patterns: Patterns::new(&fetch.patterns)? })
    }

    /// True if a pattern matches this path, or a directory above it.
    pub fn names(&self, path: &RelPath) -> bool {
        let mut names = path.names();
        let inside = self.below.names().all(|name| names.next() == Some(name));
        inside && self.patterns.names(&names.collect::<Vec<_>>())
    }
}

/// Files below a directory that match patterns.
#[derive(Debug, Default)]
pub struct Matched {
    pub tree: Tree,
    /// Patterns without a match.
    pub without: Vec<usize>,
}

/// The matches below `dir`; a matching directory with everything in it. No link is followed, and each directory is read once.
pub fn matching(dir: &Path, patterns: &Patterns, search: &mut Walk<'_>) -> Result<Matched, SelectError> {
    let mut descent = Descent { patterns, tree: Tree::new(), named: vec![false; patterns.len()], open: Vec::new() };
    descent.enter(dir.to_owned(), RelPath::default(), false, patterns.start(), true);
    while let Some(level) = descent.open.pop() {
        descent.read(&level, search)?;
    }
    let without = (0..patterns.len()).filter(|pattern| !descent.named[*pattern]).collect();
    Ok(Matched { tree: descent.tree, without })
}

/// A directory to read.
struct Level {
    dir: PathBuf,
    at: RelPath,
    /// Everything in it is selected.
    whole: bool,
    reached: Reached,
}

struct Descent<'a> {
    patterns: &'a Patterns,
    tree: Tree,
    /// For each pattern, whether it has a match.
    named: Vec<bool>,
    open: Vec<Level>,
}

impl Descent<'_> {
    /// Reads a directory. If only plain names can match, it is not listed.
    fn read(&mut self, level: &Level, search: &mut Walk<'_>) -> Result<(), SelectError> {
        let patterns = self.patterns;
        if !level.whole
            && let Some(names) = patterns.plain_next(&level.reached)
        {
            return names.into_iter().try_for_each(|name| self.look_at(level, name, search));
        }
        let entries = match std::fs::read_dir(&level.dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Ok(search.fault(&level.dir, error)?),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.look_at(level, &entry.file_name(), search)?,
                Err(error) => search.fault(&level.dir, error)?,
            }
        }
        Ok(())
    }

    fn look_at(&mut self, level: &Level, name: &OsStr, search: &mut Walk<'_>) -> Result<(), SelectError> {
        search.look()?;
        let path = level.dir.join(name);
        // A missing file is no match.
        let Ok(meta) = std::fs::symlink_metadata(&path) else { return Ok(()) };
        let at = level.at.join(&RelPath::new(Path::new(name)).unwrap_or_default());
        let step = self.patterns.step(&level.reached, name);
        self.enter(path, at, level.whole, step, meta.is_dir());
        Ok(search.found(self.tree.len())?)
    }

    fn enter(&mut self, path: PathBuf, at: RelPath, whole: bool, mut step: PatternStep, is_dir: bool) {
        if is_dir {
            step.named.append(&mut step.named_as_dir);
        }
        step.named.iter().for_each(|pattern| self.named[*pattern] = true);
        let whole = whole || !step.named.is_empty();
        // Everything below is selected by these patterns already.
        step.reached.without(&step.named);
        if is_dir && (whole || !step.reached.is_empty()) {
            self.open.push(Level { dir: path.clone(), at: at.clone(), whole, reached: step.reached });
        }
        if whole && !at.is_empty() {
            self.tree.insert(at, path);
        }
    }
}

/// Files below `dir` that are new (except those that its .gitignore files exclude) or differ from the archive that was sent.
pub fn changed(dir: &Path, sent: &File, search: &mut Walk<'_>) -> Result<Tree, SelectError> {
    let failed = |path: &RelPath| {
        let path = path.to_string();
        move |error| SelectError::Io { path, error }
    };
    let root = Root::open(dir).map_err(failed(&RelPath::default()))?;
    let mut found = walk::walk(dir, Rules::GitIgnoreBelow, search)?;
    let mut entries = Vec::new();
    read::entries(sent, |path, kind, _| {
        entries.push((path, kind));
        Ok::<_, ReadError>(())
    })?;
    for (path, kind) in entries {
        search.look()?;
        if is_same(&root, &path, &kind, sent).map_err(failed(&path))? {
            found.remove(&path);
        } else {
            // Sent files are compared even if .gitignore excludes them now.
            let from = dir.join(path.as_path());
            found.insert(path, from);
        }
    }
    Ok(found)
}

/// True if a file is as it was sent. A removed file counts as the same: deletions are not sent back.
fn is_same(root: &Root, path: &RelPath, kind: &EntryKind, sent: &File) -> io::Result<bool> {
    let Ok(Some(stat)) = root.look(path) else { return Ok(true) };
    let now = root::kind(&stat);
    Ok(match kind {
        EntryKind::Dir { .. } => now == FileType::Directory,
        EntryKind::Link { target } => now == FileType::Symlink && root.read_link(path)? == *target,
        EntryKind::File { mtime, mode, content } => {
            now == FileType::RegularFile
                && u64::try_from(stat.st_size).ok() == Some(content.size)
                && (stat.st_mode & 0o111 == 0) == (mode & 0o111 == 0)
                && (modified(&stat) == *mtime || content.is_in(&root.read(path)?, sent)?)
        }
    })
}

/// The time of the last change of a file.
fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    fn matched(dir: &Path, patterns: &[&str]) -> (Vec<String>, Vec<usize>) {
        let patterns: Vec<RelPath> = patterns.iter().map(|p| RelPath::new(Path::new(p)).unwrap()).collect();
        let mut search = Walk::bounded(&|| true);
        let matched = matching(dir, &Patterns::new(&patterns).unwrap(), &mut search).unwrap();
        (matched.tree.keys().map(ToString::to_string).collect(), matched.without)
    }

    #[test]
    fn patterns_select_these_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/e/out")).unwrap();
        fs::write(dir.path().join("d/e/out/f"), "").unwrap();
        fs::write(dir.path().join("out.txt"), "").unwrap();
        symlink("d", dir.path().join("link")).unwrap();
        let named = |patterns: &[&str]| matched(dir.path(), patterns).0;
        assert_eq!(named(&["out.txt"]), ["out.txt"]);
        assert_eq!(named(&["d/*/out"]), ["d/e/out", "d/e/out/f"]);
        assert_eq!(named(&["**/out*"]), ["d/e/out", "d/e/out/f", "out.txt"]);
        assert_eq!(named(&["**/f", "*.txt"]), ["d/e/out/f", "out.txt"]);
        assert_eq!(named(&["d/**"]), ["d", "d/e", "d/e/out", "d/e/out/f"]);
        assert_eq!(named(&["link"]), ["link"]);
        assert!(named(&["link/*", "out.txt/**", "link/e"]).is_empty(), "no link is followed, no file is a directory");
        assert_eq!(matched(dir.path(), &["d", "nothing", "d/e", "no*"]).1, [1, 3]);
    }

    #[test]
    fn double_stars_over_a_deep_tree_are_fast() {
        let dir = tempfile::tempdir().unwrap();
        let deep = vec!["a"; 200].join("/");
        fs::create_dir_all(dir.path().join(&deep)).unwrap();
        let pattern = format!("{}/nothing", vec!["**"; 60].join("/"));
        let begun = Instant::now();
        assert_eq!(matched(dir.path(), &[&pattern]), (vec![], vec![0]));
        assert!(begun.elapsed().as_secs() < 20, "each directory is read once");
    }

    #[test]
    fn unwanted_search_ends() {
        let dir = tempfile::tempdir().unwrap();
        (0..200).for_each(|number| fs::write(dir.path().join(number.to_string()), "").unwrap());
        let all = Patterns::new(&[RelPath::new(Path::new("*")).unwrap()]).unwrap();
        let ended = matching(dir.path(), &all, &mut Walk::bounded(&|| false));
        assert!(matches!(ended, Err(SelectError::Walk(WalkError::Unwanted))));
    }
}
