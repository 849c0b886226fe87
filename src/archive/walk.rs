//! Walks: the files below a directory, sorted by name, on request without those that .gitignore excludes. A walk looks at a
//! bounded number of files, and ends when it is not wanted any more.

use super::remarks::Remarks;
use crate::model::files::RelPath;
use ignore::WalkBuilder;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Which files of a directory are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// All files.
    All,
    /// Files that no .gitignore in the directory or above it excludes; never `.git`.
    GitIgnore,
    /// Files that no .gitignore below the directory excludes; never `.git`.
    GitIgnoreBelow,
}

/// Paths below a directory with their full paths, without the directory itself.
pub type Tree = BTreeMap<RelPath, PathBuf>;

/// Longest .gitignore that is read, in bytes: its patterns are compiled in memory.
const GITIGNORE_MAX: u64 = 1 << 20;
/// Most files that an agent looks at for a task.
const LOOKED_AT_MAX: u64 = 10_000_000;
/// Most files that an agent packs for a task.
const FOUND_MAX: usize = 1_000_000;

/// Why a walk failed.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("{path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("more than {0} files; name fewer")]
    TooMany(u64),
    #[error("given up: it is not wanted any more")]
    Unwanted,
}

/// A walk: its bounds, whether it is still wanted, and what it could not read.
pub struct Walk<'a> {
    wanted: &'a dyn Fn() -> bool,
    left: u64,
    most: usize,
    /// None: an unreadable file is an error.
    remarks: Option<Remarks>,
}

impl<'a> Walk<'a> {
    /// A walk for a waiting person: an unreadable file is an error.
    pub fn whole() -> Self {
        Walk { wanted: &|| true, left: u64::MAX, most: usize::MAX, remarks: None }
    }

    /// A walk for an ended task: an unreadable file is left out with a remark. `wanted` is called from time to time.
    pub fn bounded(wanted: &'a dyn Fn() -> bool) -> Self {
        Walk { wanted, left: LOOKED_AT_MAX, most: FOUND_MAX, remarks: Some(Remarks::default()) }
    }

    /// Counts a file that is looked at.
    pub fn look(&mut self) -> Result<(), WalkError> {
        self.left = self.left.checked_sub(1).ok_or(WalkError::TooMany(LOOKED_AT_MAX))?;
        if self.left.is_multiple_of(64) && !(self.wanted)() { Err(WalkError::Unwanted) } else { Ok(()) }
    }

    /// Checks the number of found files.
    pub fn found(&self, files: usize) -> Result<(), WalkError> {
        if files > self.most { Err(WalkError::TooMany(self.most as u64)) } else { Ok(()) }
    }

    /// Handles a file that can't be read.
    pub fn fault(&mut self, path: &Path, error: io::Error) -> Result<(), WalkError> {
        match &mut self.remarks {
            Some(remarks) => {
                remarks.add(format!("{}: {error}; left out", path.display()));
                Ok(())
            }
            None => Err(WalkError::Io { path: path.to_owned(), error }),
        }
    }

    /// The remarks on files that could not be read.
    pub fn into_remarks(self) -> Remarks {
        self.remarks.unwrap_or_default()
    }
}

/// Walks a directory.
pub fn walk(dir: &Path, rules: Rules, search: &mut Walk<'_>) -> Result<Tree, WalkError> {
    let mut tree = Tree::new();
    let mut walk = WalkBuilder::new(dir);
    walk.standard_filters(false).follow_links(false);
    let unreadable: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    if rules != Rules::All {
        if !has_fit_rules(dir) {
            search.fault(&dir.join(".gitignore"), not_rules())?;
            return Ok(tree);
        }
        let unreadable = Arc::clone(&unreadable);
        // Also without a repository: the .gitignore alone decides.
        walk.git_ignore(true).require_git(false).filter_entry(move |entry| {
            if entry.file_name() == ".git" {
                return false;
            }
            let fits = !entry.file_type().is_some_and(|kind| kind.is_dir()) || has_fit_rules(entry.path());
            if !fits {
                unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(entry.path().join(".gitignore"));
            }
            fits
        });
        if rules == Rules::GitIgnore {
            walk.parents(true).git_exclude(true).git_global(true);
        }
    }
    for found in walk.build() {
        search.look()?;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let (at, text) = (place_of(&error).unwrap_or(dir).to_owned(), error.to_string());
                search.fault(&at, error.into_io_error().unwrap_or_else(|| io::Error::other(text)))?;
                continue;
            }
        };
        let Ok(below) = found.path().strip_prefix(dir) else { continue };
        let path = RelPath::new(below)
            .map_err(|error| WalkError::Io { path: found.path().to_owned(), error: io::Error::other(error) })?;
        if !path.is_empty() {
            tree.insert(path, found.into_path());
            search.found(tree.len())?;
        }
    }
    let unreadable = std::mem::take(&mut *unreadable.lock().unwrap_or_else(PoisonError::into_inner));
    unreadable.iter().try_for_each(|path| search.fault(path, not_rules()))?;
    Ok(tree)
}

/// The path of an error.
fn place_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place_of(err),
        _ => None,
    }
}

/// True if a directory has no .gitignore, or one that can be read to its end. A FIFO or a device has no end.
fn has_fit_rules(dir: &Path) -> bool {
    std::fs::metadata(dir.join(".gitignore")).map_or(true, |meta| meta.is_file() && meta.len() <= GITIGNORE_MAX)
}

fn not_rules() -> io::Error {
    io::Error::other(format!("no file of at most {GITIGNORE_MAX} bytes, so its directory is not looked at"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::cell::Cell;
    use std::fs;

    fn names(tree: &Tree) -> Vec<String> {
        tree.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn unfit_gitignore_excludes_its_own_directory_only() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["fifo", "device", "long", "plain"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
            fs::write(dir.path().join(sub).join("f"), "").unwrap();
        }
        mknodat(CWD, dir.path().join("fifo/.gitignore"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("device/.gitignore")).unwrap();
        fs::File::create(dir.path().join("long/.gitignore")).unwrap().set_len(GITIGNORE_MAX + 1).unwrap();
        fs::write(dir.path().join("plain/.gitignore"), "x\n").unwrap();
        fs::write(dir.path().join("plain/x"), "").unwrap();
        let mut search = Walk::bounded(&|| true);
        let tree = walk(dir.path(), Rules::GitIgnoreBelow, &mut search).unwrap();
        assert_eq!(names(&tree), ["plain", "plain/.gitignore", "plain/f"]);
        assert_eq!(search.into_remarks().into_lines().len(), 3);
        let failed = walk(dir.path(), Rules::GitIgnore, &mut Walk::whole());
        assert!(matches!(failed, Err(WalkError::Io { .. })), "{failed:?}");
    }

    #[test]
    fn unwanted_walk_ends() {
        let dir = tempfile::tempdir().unwrap();
        (0..500).for_each(|number| fs::write(dir.path().join(number.to_string()), "").unwrap());
        let asked = Cell::new(0);
        let wanted = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        let ended = walk(dir.path(), Rules::All, &mut Walk::bounded(&wanted));
        assert!(matches!(ended, Err(WalkError::Unwanted)));
        assert_eq!(asked.get(), 3, "nobody is asked again");
    }

    #[test]
    fn walk_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        (0..5).for_each(|number| fs::write(dir.path().join(number.to_string()), "").unwrap());
        let most = |left, most| Walk { left, most, ..Walk::bounded(&|| true) };
        assert!(walk(dir.path(), Rules::All, &mut most(6, 5)).is_ok());
        assert!(matches!(walk(dir.path(), Rules::All, &mut most(3, 5)), Err(WalkError::TooMany(_))));
        assert!(matches!(walk(dir.path(), Rules::All, &mut most(6, 4)), Err(WalkError::TooMany(4))));
    }
}
