//! What of a directory is meant: paths whose names may be globs, and what differs from an archive.

use super::read::{self, Kind, ReadError};
use super::root::{self, Root};
use super::walk::{self, Rules, Tree, WalkError};
use crate::model::files::{Fetch, RelPath};
use globset::{Glob, GlobMatcher};
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
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
    Pattern(#[from] globset::Error),
}

/// Can this pattern be understood?
pub fn check(pattern: &RelPath) -> Result<(), SelectError> {
    pattern.names().try_for_each(|name| Name::of(name).map(drop))
}

/// One name of a pattern.
enum Name<'a> {
    Plain(&'a OsStr),
    /// `**`: any number of directories.
    Any,
    Glob(GlobMatcher),
}

impl<'a> Name<'a> {
    fn of(name: &'a OsStr) -> Result<Self, SelectError> {
        if name == "**" {
            return Ok(Self::Any);
        }
        match name.to_str().filter(|text| text.contains(['*', '?', '[', '{'])) {
            Some(text) => Ok(Self::Glob(Glob::new(text)?.compile_matcher())),
            None => Ok(Self::Plain(name)),
        }
    }
}

/// What may come back, by what was asked for: a server could send anything.
pub struct Asked<'a> {
    below: &'a RelPath,
    patterns: Vec<Vec<Name<'a>>>,
}

impl<'a> Asked<'a> {
    /// The patterns of a task that ran in the directory `below` the root.
    pub fn new(fetch: &'a Fetch, below: &'a RelPath) -> Result<Self, SelectError> {
        let compiled = |pattern: &'a RelPath| pattern.names().map(Name::of).collect::<Result<Vec<_>, _>>();
        Ok(Self { below, patterns: fetch.patterns.iter().map(compiled).collect::<Result<_, _>>()? })
    }

    /// Does a pattern name this path, or a directory above it?
    pub fn names(&self, path: &RelPath) -> bool {
        let mut names = path.names();
        let inside = self.below.names().all(|name| names.next() == Some(name));
        let rest: Vec<&OsStr> = names.collect();
        inside && self.patterns.iter().any(|pattern| covers(pattern, &rest))
    }
}

fn covers(pattern: &[Name<'_>], path: &[&OsStr]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return true };
    match (first, path.split_first()) {
        (Name::Any, below) => covers(rest, path) || below.is_some_and(|(_, below)| covers(pattern, below)),
        (_, None) => false,
        (Name::Plain(name), Some((this, below))) => this == name && covers(rest, below),
        (Name::Glob(glob), Some((this, below))) => glob.is_match(Path::new(this)) && covers(rest, below),
    }
}

/// What matches below `dir`, a directory with all that is in it. No link is followed.
pub fn matching(dir: &Path, pattern: &RelPath) -> Result<Tree, SelectError> {
    let names = pattern.names().map(Name::of).collect::<Result<Vec<_>, _>>()?;
    let mut found = Tree::new();
    descend(dir, &RelPath::default(), &names, &mut found)?;
    Ok(found)
}

fn descend(dir: &Path, at: &RelPath, names: &[Name<'_>], found: &mut Tree) -> Result<(), SelectError> {
    let Some((first, rest)) = names.split_first() else { return whole(dir, at, found) };
    match first {
        Name::Plain(name) => {
            // Not there is not found.
            let path = dir.join(name);
            if std::fs::symlink_metadata(&path).is_ok() { enter(&path, at, name, rest, found) } else { Ok(()) }
        }
        Name::Any => {
            descend(dir, at, rest, found)?;
            for (name, path) in list(dir)? {
                if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                    descend(&path, &at.join(&one(&name)), names, found)?;
                }
            }
            Ok(())
        }
        Name::Glob(glob) => {
            for (name, path) in list(dir)? {
                if glob.is_match(Path::new(&name)) {
                    enter(&path, at, &name, rest, found)?;
                }
            }
            Ok(())
        }
    }
}

fn enter(path: &Path, at: &RelPath, name: &OsStr, rest: &[Name<'_>], found: &mut Tree) -> Result<(), SelectError> {
    let at = at.join(&one(name));
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if rest.is_empty() {
        whole(path, &at, found)
    } else if is_dir {
        descend(path, &at, rest, found)
    } else {
        Ok(())
    }
}

fn whole(path: &Path, at: &RelPath, found: &mut Tree) -> Result<(), SelectError> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        for (below, from) in walk::walk(path, Rules::All)? {
            found.insert(at.join(&below), from);
        }
    }
    if !at.is_empty() {
        found.insert(at.clone(), path.to_owned());
    }
    Ok(())
}

fn one(name: &OsStr) -> RelPath {
    RelPath::new(Path::new(name)).unwrap_or_default()
}

fn list(dir: &Path) -> Result<Vec<(std::ffi::OsString, std::path::PathBuf)>, SelectError> {
    let failed = |error| SelectError::Io { path: dir.display().to_string(), error };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(failed)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        all.push((entry.file_name(), entry.path()));
    }
    all.sort();
    Ok(all)
}

/// What is new below `dir` (less what its .gitignore files leave out) or differs from what was sent.
pub fn changed(dir: &Path, sent: &File) -> Result<Tree, SelectError> {
    let failed = |path: &RelPath| {
        let path = path.to_string();
        move |error| SelectError::Io { path, error }
    };
    let root = Root::open(dir).map_err(failed(&RelPath::default()))?;
    let mut found = walk::walk(dir, Rules::GitIgnoreBelow)?;
    let mut entries = Vec::new();
    read::entries(sent, |path, kind, _| {
        entries.push((path, kind));
        Ok::<_, ReadError>(())
    })?;
    for (path, kind) in entries {
        if is_same(&root, &path, &kind, sent).map_err(failed(&path))? {
            found.remove(&path);
        } else {
            // Sent, so it counts, whatever .gitignore says by now.
            let from = dir.join(path.as_path());
            found.insert(path, from);
        }
    }
    Ok(found)
}

/// Is what lies there still what was sent? What is gone is the same: a deletion is not brought back.
fn is_same(root: &Root, path: &RelPath, kind: &Kind, sent: &File) -> io::Result<bool> {
    let Ok(Some(stat)) = root.look(path) else { return Ok(true) };
    let now = root::kind(&stat);
    Ok(match kind {
        Kind::Dir { .. } => now == FileType::Directory,
        Kind::Link { target } => now == FileType::Symlink && root.read_link(path)? == *target,
        Kind::File { size, mtime, mode, at } => {
            now == FileType::RegularFile
                && u64::try_from(stat.st_size).ok() == Some(*size)
                && (stat.st_mode & 0o111 == 0) == (mode & 0o111 == 0)
                && (modified(&stat) == *mtime || same_bytes(&root.read(path)?, sent, *at, *size)?)
        }
    })
}

/// When a file was changed last.
fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
}

/// Does a file hold these bytes of the archive?
pub fn same_bytes(file: &File, archive: &File, at: u64, size: u64) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut offset = 0;
    while offset < size {
        let most = usize::try_from(size - offset).unwrap_or(usize::MAX).min(ours.len());
        let got = file.read_at(&mut ours[..most], offset)?;
        if got == 0 {
            return Ok(false);
        }
        archive.read_exact_at(&mut theirs[..got], at + offset)?;
        if ours[..got] != theirs[..got] {
            return Ok(false);
        }
        offset += got as u64;
    }
    // Not one byte more.
    Ok(file.read_at(&mut [0], size)? == 0)
}
