//! What lies below a directory, sorted by name; on request without what .gitignore leaves out.

use crate::model::files::RelPath;
use ignore::WalkBuilder;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Which files of a directory are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// All of them.
    All,
    /// Those that .gitignore files do not leave out, in the directory and above it; never `.git`.
    GitIgnore,
    /// The same, going by the files below the directory alone.
    GitIgnoreBelow,
}

/// Paths below a directory with their full paths; the directory itself is not among them.
pub type Tree = BTreeMap<RelPath, PathBuf>;

/// Why a directory can't be walked.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}", path = path.display())]
pub struct WalkError {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Walks a directory.
pub fn walk(dir: &Path, rules: Rules) -> Result<Tree, WalkError> {
    let failed = |path: &Path, error| WalkError { path: path.to_owned(), error };
    let mut tree = Tree::new();
    let mut walk = WalkBuilder::new(dir);
    walk.standard_filters(false).follow_links(false);
    if rules != Rules::All {
        // Also outside of a repository: the file says what is meant.
        walk.git_ignore(true).require_git(false).filter_entry(|entry| entry.file_name() != ".git");
        if rules == Rules::GitIgnore {
            walk.parents(true).git_exclude(true).git_global(true);
        }
    }
    for found in walk.build() {
        let found = found.map_err(|error| {
            let text = error.to_string();
            failed(dir, error.into_io_error().unwrap_or_else(|| io::Error::other(text)))
        })?;
        let Ok(below) = found.path().strip_prefix(dir) else { continue };
        let path = RelPath::new(below).map_err(|error| failed(found.path(), io::Error::other(error)))?;
        if !path.is_empty() {
            tree.insert(path, found.into_path());
        }
    }
    Ok(tree)
}
