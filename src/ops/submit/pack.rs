//! Packs the files of a task into the home's spool before the task is acknowledged,
//! so that it runs with the files as they were at the submit.

use crate::archive::links::{self, Leads, LinkSource};
use crate::archive::pack::{self, Added, Packer};
use crate::archive::pattern::Patterns;
use crate::archive::remarks::Remarks;
use crate::archive::room::{self, RESERVE};
use crate::archive::walk::{self, Rules, Tree, Walk};
use crate::model::command::Text;
use crate::model::files::{Digest, Fetch, RelPath, Sent, Workplace};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::ops::{Grid, OpsError};
use crate::store::{Durability, Home, StoreError};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The typed options on files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileRequest {
    /// `--dir`.
    pub dir: Option<PathBuf>,
    /// `--send`.
    pub send: Vec<PathBuf>,
    /// `--fetch`.
    pub fetch: Vec<OsString>,
}

impl FileRequest {
    /// True if files are sent: each attempt then has a directory of its own.
    pub fn sends_files(&self) -> bool {
        self.dir.is_some() || !self.send.is_empty()
    }
}

/// Where a task runs with its packed files, and what comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SentWorkplace {
    pub workplace: Workplace,
    pub fetch: Option<Fetch>,
    /// Messages to the person: links that lead out, holes.
    pub notes: Vec<String>,
}

/// A packed archive under a temporary name.
#[derive(Debug)]
struct Spooled {
    file: File,
    path: PathBuf,
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // The file is gone if it was moved to its place.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Packs the files of a request from `here`, the directory in which the task is submitted. The archive is on the disk when this returns.
pub fn take(grid: &mut Grid, here: &Path, wish: &FileRequest) -> Result<SentWorkplace, OpsError> {
    let patterns = wish.fetch.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    Patterns::new(&patterns).map_err(|error| OpsError::Usage(format!("--fetch {error}")))?;
    let place = SendRoot::of(here, wish)?;
    let changed = wish.dir.is_some();
    let into = Text::from(place.root.clone().into_os_string());
    let fetch = (changed || !patterns.is_empty()).then_some(Fetch { patterns, changed, into });
    if wish.dir.is_none() && wish.send.is_empty() {
        return Ok(SentWorkplace { workplace: Workplace::There, fetch, notes: Vec::new() });
    }
    let home = grid.store.home().clone();
    let (tree, sources) = gather(&home, here, &place, wish)?;
    let (spooled, packed, notes) = spool(&home, &tree, &sources)?;
    let sent = Sent { bundle: packed.digest, size: packed.size, files: packed.files, below: place.below };
    grid.store
        .write(Durability::Full, |tx| tx.keep_bundle(&sent, Timestamp::now(), || spooled.place(&home, sent.bundle)))?;
    Ok(SentWorkplace { workplace: Workplace::Own(sent), fetch, notes })
}

/// Waits for the kernel's next tick, a few milliseconds: files are stamped with the time of the last one, and one that is changed
/// as soon as the submit has returned would look older than it.
pub fn part_from_later_changes() {
    let time = |clock| {
        let now = clock_gettime(clock);
        (now.tv_sec, now.tv_nsec)
    };
    let now = time(ClockId::Realtime);
    for _ in 0..TICK_MAX_MS {
        if time(ClockId::RealtimeCoarse) > now {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The longest tick of a kernel (HZ=100) and a margin, in case the clock is set back during the wait.
const TICK_MAX_MS: u32 = 20;

impl Spooled {
    fn place(&self, home: &Home, bundle: Digest) -> Result<(), StoreError> {
        let to = home.sent_file(bundle);
        if to.exists() {
            return Ok(());
        }
        self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &to)).map_err(|error| unwritable(&to, error))?;
        home.settle(&home.sent())
    }
}

/// The root of what is sent, and the task's directory in it.
struct SendRoot {
    root: PathBuf,
    below: RelPath,
}

impl SendRoot {
    fn of(here: &Path, wish: &FileRequest) -> Result<Self, OpsError> {
        let Some(dir) = &wish.dir else { return Ok(Self { root: here.to_owned(), below: RelPath::default() }) };
        let root = here.join(dir);
        let failed = |error: io::Error| OpsError::Usage(format!("--dir {}: {error}", dir.display()));
        let real = root.canonicalize().map_err(failed)?;
        if !real.is_dir() {
            return Err(OpsError::Usage(format!(
                "--dir {}: not a directory; write the command after `--`",
                dir.display()
            )));
        }
        // A submit from below that directory runs in the same place of it.
        let below = here.canonicalize().map_err(failed)?;
        let below = below.strip_prefix(&real).ok().and_then(|below| RelPath::new(below).ok()).unwrap_or_default();
        Ok(Self { root: real, below })
    }
}

/// A path to fetch, checked at the submit.
fn pattern(typed: &OsString) -> Result<RelPath, OpsError> {
    let wrong = |why: &dyn std::fmt::Display| OpsError::Usage(format!("--fetch {why}"));
    let path = RelPath::new(Path::new(typed))
        .map_err(|error| wrong(&format_args!("{error}; give a path below the task's directory")))?;
    if path.is_empty() {
        return Err(wrong(&"'': give a path below the task's directory; '*' is everything in it"));
    }
    Ok(path)
}

/// All files to send, by their paths below the root; and the directories and files that were named.
fn gather(home: &Home, here: &Path, place: &SendRoot, wish: &FileRequest) -> Result<(Tree, Vec<LinkSource>), OpsError> {
    let mut tree = Tree::new();
    let (mut roots, mut sources) = (Vec::new(), Vec::new());
    if let Some(dir) = &wish.dir {
        let failed = |error: &dyn std::fmt::Display| OpsError::Usage(format!("--dir: {error}"));
        let below = walk::walk(&place.root, Rules::GitIgnore, &mut Walk::whole());
        tree.extend(below.map_err(|error| failed(&error))?);
        sources.push(LinkSource::new(&here.join(dir), RelPath::default()).map_err(|error| failed(&error))?);
        roots.push(place.root.clone());
    }
    for typed in &wish.send {
        let failed = |error: &dyn std::fmt::Display| OpsError::Usage(format!("--send {}: {error}", typed.display()));
        // A named link is followed.
        let named = here.join(typed);
        let source = named.canonicalize().map_err(|error| failed(&error))?;
        let path = place.below.join(&name_of(typed, &source)?);
        if source.is_dir() {
            let below = walk::walk(&source, Rules::All, &mut Walk::whole()).map_err(|error| failed(&error))?;
            tree.extend(below.into_iter().map(|(below, from)| (path.join(&below), from)));
        }
        sources.push(LinkSource::new(&named, path.clone()).map_err(|error| failed(&error))?);
        roots.push(source.clone());
        if !path.is_empty() {
            tree.insert(path, source);
        }
    }
    refuse_home(home, &roots, &tree)?;
    Ok((tree, sources))
}

/// The place of a sent path in the task's directory: the same one, or only its name if it leads out of `here`.
fn name_of(typed: &Path, source: &Path) -> Result<RelPath, OpsError> {
    if let Ok(path) = RelPath::new(typed) {
        return Ok(path);
    }
    let name = typed.file_name().or_else(|| source.file_name());
    let name = name.and_then(|name| RelPath::new(Path::new(name)).ok());
    name.ok_or_else(|| OpsError::Usage(format!("--send {}: has no name of its own", typed.display())))
}

/// Refuses to send the home, which would then contain its own archive.
fn refuse_home(home: &Home, sources: &[PathBuf], tree: &Tree) -> Result<(), OpsError> {
    let Ok(own) = std::fs::metadata(home.dir()).map(|meta| (meta.dev(), meta.ino())) else { return Ok(()) };
    let is_home = |path: &&PathBuf| {
        std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && (meta.dev(), meta.ino()) == own)
    };
    match sources.iter().chain(tree.values()).find(is_home) {
        None => Ok(()),
        Some(path) => Err(OpsError::Usage(format!(
            "{}: this is the grid's own home, which can't be sent; exclude it by a .gitignore, or set GRID_HOME to a place outside",
            path.display()
        ))),
    }
}

/// Packs all files into a new file of the spool, if there is room.
fn spool(home: &Home, tree: &Tree, sources: &[LinkSource]) -> Result<(Spooled, pack::Packed, Vec<String>), OpsError> {
    room::ask_in(&home.sent(), pack::room_for(tree), RESERVE)
        .map_err(|error| OpsError::Grid(format!("{error}; nothing was submitted")))?;
    let path = home.sent().join(format!("new-{}", uuid::Uuid::now_v7()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| unwritable(&path, error))?;
    let spooled = Spooled { file, path };
    let to = spooled.file.try_clone().map_err(|error| unwritable(&spooled.path, error))?;
    let mut packer = Packer::new(to);
    let (mut out, mut holes) = (Vec::new(), Remarks::default());
    for (path, from) in tree {
        let added = packer.add(path, from, |target| match links::leads(sources, path, from, &target) {
            Leads::Inside { target } if arrives(tree, sources, from) => Some(target),
            _ => {
                out.push(format!("{path} -> {}", String::from_utf8_lossy(&target)));
                Some(target)
            }
        });
        match added {
            Ok(Added::Sparse { size, data }) => {
                holes.add(format!("{path}: {} long, with {} of data", Bytes(size), Bytes(data)));
            }
            Ok(Added::Whole | Added::LeftOut) => {}
            Err(error) => return Err(not_packed(home, from, &error)),
        }
    }
    let (_, packed) = packer.finish().map_err(|error| unwritable(&spooled.path, error))?;
    let notes = lead_out(&out).into_iter().chain(holes.into_lines()).collect();
    Ok((spooled, packed, notes))
}

/// True if the target of a link is sent too, or does not exist.
fn arrives(tree: &Tree, sources: &[LinkSource], link: &Path) -> bool {
    let Ok(real) = link.canonicalize() else { return true };
    let mut places = sources.iter().filter_map(|source| source.holds(&real));
    places.any(|to| to.is_empty() || tree.contains_key(&to))
}

fn not_packed(home: &Home, from: &Path, error: &io::Error) -> OpsError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            OpsError::Store(StoreError::Full { path: home.sent() })
        }
        _ => OpsError::Usage(format!("{}: {error}; nothing was submitted", from.display())),
    }
}

/// The message on links whose targets are not sent.
fn lead_out(links: &[String]) -> Option<String> {
    const NAMED: usize = 3;
    let named = links.get(..NAMED.min(links.len()))?.join(", ");
    let more = links.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!links.is_empty()).then(|| {
        format!("links that lead out of the sent files point to whatever is at that path on the server: {named}{more}")
    })
}

fn unwritable(path: &Path, error: io::Error) -> StoreError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return StoreError::Full { path: path.to_owned() };
    }
    StoreError::Unwritable { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn file_written_after_the_submit_has_a_later_time() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            let submitted = SystemTime::now();
            part_from_later_changes();
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, "").unwrap();
            assert!(path.metadata().unwrap().modified().unwrap() > submitted);
        }
    }
}
