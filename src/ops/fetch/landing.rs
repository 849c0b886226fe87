//! Unpacks fetched files below one directory: through no link, and over no file that was changed since the submit.

use crate::archive::links::{self, Leads, LinkSource};
use crate::archive::read::{self, EntryKind, ReadError};
use crate::archive::root::{self, Root};
use crate::archive::select::AllowedResults;
use crate::archive::unpack::UnpackError;
use crate::model::files::RelPath;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use crate::ops::report::{Landed, Landing};
use rustix::fs::FileType;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The directory of a client, with the archive of what was sent from it.
pub(super) struct ClientDirectory {
    into: PathBuf,
    root: Root,
    /// Suffix of files that land beside others.
    suffix: String,
    submitted_at: Timestamp,
    sent: HashMap<RelPath, EntryKind>,
    /// The whole archive that was sent.
    archive: Option<File>,
}

impl ClientDirectory {
    /// Opens the directory of a task that was submitted at this time, with the archive that was sent.
    pub(super) fn open(into: &Path, id: &str, submitted_at: Timestamp, sent: Option<File>) -> Result<Self, io::Error> {
        let root = Root::open(into)?;
        let mut known = HashMap::new();
        if let Some(sent) = &sent {
            read::entries(sent, |path, kind, _| {
                known.insert(path, kind);
                Ok::<_, ReadError>(())
            })
            .map_err(io::Error::other)?;
        }
        Ok(Self {
            into: into.to_owned(),
            root,
            suffix: format!(".grid-{id}"),
            submitted_at,
            sent: known,
            archive: sent,
        })
    }

    /// Refuses an archive with entries that were not asked for. `--dir` asks for all that is new or changed, except a repository's own files.
    pub(super) fn check(&self, launch: &Launch, archive: &File) -> Result<(), ReadError> {
        let Some(fetch) = &launch.fetch else { return Ok(()) };
        let root = RelPath::default();
        let below = launch.workplace.sent().map_or(&root, |sent| &sent.below);
        let asked = AllowedResults::new(fetch, below).map_err(io::Error::other)?;
        let changed = |path: &RelPath| path.names().all(|name| name != ".git") || self.sent.contains_key(path);
        read::entries(archive, |path, _, _| match asked.names(&path) || fetch.changed && changed(&path) {
            true => Ok(()),
            false => Err(ReadError::Kind { path: path.to_string(), what: "something that was not asked for" }),
        })
    }

    /// Unpacks all entries that stay in the directory, if there is room. A malicious archive is
    /// refused before anything is written.
    pub(super) fn unpack(&self, archive: &File) -> Result<Vec<Landed>, UnpackError> {
        self.root.ask_room(self.room_for(archive)?)?;
        let mut files = Vec::new();
        read::entries(archive, |path, kind, bytes| {
            let landing = match &kind {
                EntryKind::Dir { mode } => self.root.dir(&path, *mode).map(|()| None),
                EntryKind::Link { target } => self.link(&path, target).map(Some),
                EntryKind::File { .. } => self.file(&path, &kind, archive, bytes).map(Some),
            };
            let landing = landing.unwrap_or_else(|error| Some(Landing::Refused { why: error.to_string() }));
            files.extend(landing.map(|landing| Landed { path: path.to_string(), landing }));
            Ok::<_, ReadError>(())
        })?;
        Ok(files)
    }

    /// Bytes that are not here yet. A file of the same length as before counts as the same: a disk that is too small all
    /// the same fails the write.
    fn room_for(&self, archive: &File) -> Result<u64, ReadError> {
        let mut sum = 0u64;
        read::entries(archive, |path, kind, _| {
            if let EntryKind::File { content, .. } = kind {
                let there = self.root.look(&path).ok().flatten();
                let is_here = there.is_some_and(|stat| u64::try_from(stat.st_size).ok() == Some(content.size));
                sum = sum.saturating_add(if is_here { 0 } else { content.data() });
            }
            Ok::<_, ReadError>(())
        })?;
        Ok(sum)
    }

    fn link(&self, path: &RelPath, target: &[u8]) -> io::Result<Landing> {
        if !links::stays_inside(path, target) {
            let sent = self.sent.get(path).is_some_and(|sent| *sent == EntryKind::Link { target: target.to_vec() });
            let target = String::from_utf8_lossy(target);
            let why = format!("a link to {target}, which leads out of the task's directory");
            return Ok(if sent { Landing::Same } else { Landing::LeftOut { why } });
        }
        let Some(there) = self.root.look(path)? else {
            return self.root.link(path, target).map(|()| Landing::Written);
        };
        if root::kind(&there) == FileType::Symlink && self.is_link_to(path, target)? {
            return Ok(Landing::Same);
        }
        let new = self.new_name(path);
        if self.is_unchanged(path, &there)? {
            self.root.link(&new, target)?;
            return self.put(&new, path).map(|()| Landing::Written);
        }
        self.beside(path, |beside| self.root.link(beside, target), |_| Ok(false))
    }

    fn file(&self, path: &RelPath, kind: &EntryKind, archive: &File, bytes: &mut dyn Read) -> io::Result<Landing> {
        let EntryKind::File { mtime, mode, content } = kind else { return Ok(Landing::Same) };
        let write = |to: &RelPath, bytes: &mut dyn Read| {
            let mut file = self.root.create(to, *mode)?;
            let written = content.write(&mut file, bytes).and_then(|()| root::finish(&file, *mode, *mtime));
            // A partial file would look complete.
            written.inspect_err(|_| drop(self.root.remove(to)))
        };
        let is_same = |path: &RelPath, there: &rustix::fs::Stat| -> io::Result<bool> {
            Ok(root::kind(there) == FileType::RegularFile
                && u64::try_from(there.st_size).ok() == Some(content.size)
                && content.is_in(&self.root.read(path)?, archive)?)
        };
        let new = self.new_name(path);
        let Some(there) = self.root.look(path)? else {
            write(&new, bytes)?;
            return self.put(&new, path).map(|()| Landing::Written);
        };
        if is_same(path, &there)? && (there.st_mode & 0o111 == 0) == (mode & 0o111 == 0) {
            return Ok(Landing::Same);
        }
        if self.is_unchanged(path, &there)? {
            write(&new, bytes)?;
            return self.put(&new, path).map(|()| Landing::Written);
        }
        self.beside(
            path,
            |beside| write(beside, bytes),
            |beside| match self.root.look(beside)? {
                Some(there) => is_same(beside, &there),
                None => Ok(false),
            },
        )
    }

    /// An unused name in the same directory.
    fn new_name(&self, path: &RelPath) -> RelPath {
        self.root.beside(path, &format!("{}.new-{}", self.suffix, std::process::id()))
    }

    fn put(&self, new: &RelPath, path: &RelPath) -> io::Result<()> {
        self.root.rename(new, path).inspect_err(|_| drop(self.root.remove(new)))
    }

    /// True if the file there is still the one that was sent, or older than the submit.
    fn is_unchanged(&self, path: &RelPath, there: &rustix::fs::Stat) -> io::Result<bool> {
        let kind = root::kind(there);
        Ok(match self.sent.get(path) {
            // Programs set times, so the content is compared before it is overwritten.
            Some(EntryKind::File { content, .. }) => {
                let size = u64::try_from(there.st_size).ok();
                let is_one = kind == FileType::RegularFile && size == Some(content.size);
                let is_in = |sent| content.is_in(&self.root.read(path)?, sent);
                is_one && self.archive.as_ref().map_or(Ok(false), is_in)?
            }
            Some(EntryKind::Link { target }) => kind == FileType::Symlink && self.is_link_to(path, target)?,
            Some(EntryKind::Dir { .. }) => false,
            // A file that was not sent is judged by its ctime, which no program can set back.
            None => {
                let changed =
                    there.st_ctime.saturating_mul(1000) + i64::try_from(there.st_ctime_nsec).unwrap_or(0) / 1_000_000;
                kind != FileType::Directory && changed < self.submitted_at.0
            }
        })
    }

    /// True if a link leads where the packed one leads. It may be absolute here.
    fn is_link_to(&self, path: &RelPath, target: &[u8]) -> io::Result<bool> {
        let here = self.root.read_link(path)?;
        let source = LinkSource::new(&self.into, RelPath::default())?;
        let packed = links::leads(&[source], path, &self.into.join(path.as_path()), &here);
        Ok(here == target || packed == Leads::Inside { target: target.to_vec() })
    }

    /// Puts a file beside the one that was changed here, as `NAME.grid-ID`.
    fn beside(
        &self,
        path: &RelPath,
        write: impl FnOnce(&RelPath) -> io::Result<()>,
        is_there: impl Fn(&RelPath) -> io::Result<bool>,
    ) -> io::Result<Landing> {
        for number in 1..1000 {
            let more = if number == 1 { String::new() } else { format!(".{number}") };
            let name = self.root.beside(path, &format!("{}{more}", self.suffix));
            if self.root.look(&name)?.is_none() {
                write(&name)?;
                return Ok(Landing::Beside { name: name.to_string() });
            }
            if is_there(&name)? {
                return Ok(Landing::Beside { name: name.to_string() });
            }
        }
        Err(io::Error::other("there are a thousand such names already"))
    }
}

#[cfg(test)]
mod tests;
