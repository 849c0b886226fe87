//! A root directory: everything is written below it. Every step of a path is opened as a directory, and no link is followed.

use super::names;
use super::room::{self, NoRoom};
use crate::model::files::RelPath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest name that Linux accepts, in bytes.
const NAME_MAX: usize = 255;
/// The longest name that every file system accepts, in bytes.
const NAME_LEAST: usize = 64;

/// Bytes left free on the disk of a person's own files.
const LEFT_FREE: u64 = 1 << 20;

/// A directory, opened once; all access below it goes by descriptors.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// The longest name on this file system, in bytes.
    name_max: usize,
}

impl Root {
    /// Opens an existing directory; the caller vouches for the links in its path.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty())?;
        let told = rustix::fs::fstatvfs(&fd).ok().and_then(|stat| usize::try_from(stat.f_namemax).ok());
        Ok(Self { fd, name_max: told.unwrap_or(NAME_MAX).clamp(NAME_LEAST, NAME_MAX) })
    }

    /// Checks that there is room for so many more bytes.
    pub fn ask_room(&self, bytes: u64) -> Result<(), NoRoom> {
        room::ask(&self.fd, bytes, LEFT_FREE, "there")
    }

    /// A path with `suffix` added to its name, which is shortened if it does not fit.
    pub fn beside(&self, path: &RelPath, suffix: &str) -> RelPath {
        names::beside(path, suffix, self.name_max)
    }

    /// The directory of a path, and the name in it. `make`: makes missing directories.
    fn parent_of<'a>(&self, path: &'a RelPath, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
        let mut names: Vec<&OsStr> = path.names().collect();
        let Some(last) = names.pop() else { return Err(Errno::INVAL.into()) };
        let mut dir = self.fd.as_fd().try_clone_to_owned()?;
        for name in names {
            dir = step(dir.as_fd(), name, make)?;
        }
        Ok((dir, last))
    }

    /// The metadata of a path, without following a link. None if there is nothing.
    pub fn look(&self, path: &RelPath) -> io::Result<Option<rustix::fs::Stat>> {
        let found = self
            .parent_of(path, false)
            .and_then(|(dir, name)| Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a directory; an existing one stays as it is.
    pub fn dir(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let (dir, name) = self.parent_of(path, true)?;
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode | 0o700)) {
            Err(Errno::EXIST) => step(dir.as_fd(), name, false).map(drop),
            other => Ok(other?),
        }
    }

    /// Opens a file for reading.
    pub fn read(&self, path: &RelPath) -> io::Result<File> {
        let (dir, name) = self.parent_of(path, false)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?))
    }

    /// The target of a link.
    pub fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        let (dir, name) = self.parent_of(path, false)?;
        Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
    }

    /// Makes a new file.
    pub fn create(&self, path: &RelPath, mode: u32) -> io::Result<File> {
        let (dir, name) = self.parent_of(path, true)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode | 0o200))?))
    }

    /// Makes a new link.
    pub fn link(&self, path: &RelPath, target: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent_of(path, true)?;
        Ok(rustix::fs::symlinkat(OsStr::from_bytes(target), dir, name)?)
    }

    /// Renames a file or link, and replaces another one. A directory is never replaced.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let (from_dir, from_name) = self.parent_of(from, false)?;
        let (to_dir, to_name) = self.parent_of(to, false)?;
        Ok(rustix::fs::renameat(from_dir, from_name, to_dir, to_name)?)
    }

    /// Removes a file or link.
    pub fn remove(&self, path: &RelPath) -> io::Result<()> {
        let (dir, name) = self.parent_of(path, false)?;
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }
}

/// Opens a directory in a directory, through no link.
fn step(dir: BorrowedFd<'_>, name: &OsStr, make: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) if make => match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?),
            Err(error) => Err(error.into()),
        },
        Err(Errno::NOTDIR | Errno::LOOP) => {
            Err(io::Error::other(format!("{} is no directory (a link is not followed)", name.to_string_lossy())))
        }
        other => Ok(other?),
    }
}

/// Writes a file in large pieces.
pub fn fill(file: &mut File, bytes: &mut dyn Read, size: u64) -> io::Result<()> {
    let capacity = usize::try_from(size).unwrap_or(usize::MAX).min(super::PIECE as usize);
    // `copy` reads right into this buffer.
    let mut to = BufWriter::with_capacity(capacity, file);
    io::copy(bytes, &mut to)?;
    to.flush()
}

/// Sets the mode, limited by the umask, and the time of an open file.
pub fn finish(file: &File, mode: u32, mtime: SystemTime) -> io::Result<()> {
    let since = mtime.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = rustix::fs::Timespec {
        tv_sec: i64::try_from(since.as_secs()).unwrap_or(0),
        tv_nsec: i64::from(since.subsec_nanos()),
    };
    if mode & 0o200 == 0 {
        let now = file.metadata()?;
        let now = std::os::unix::fs::MetadataExt::mode(&now) & 0o777;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & now))?;
    }
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// The type of a file: directory, file, link, ..
pub fn kind(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
