//! Which file a home's database is: nothing is written to one that was removed, moved or replaced while it was open.

use super::{Home, Result, StoreError};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A file as its file system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: (u32, u32),
    pub(super) inode: u64,
    /// When it was made, in nanoseconds; `None` where the file system doesn't say. A copy has a time of its own.
    pub(super) born: Option<i64>,
}

impl FileId {
    /// The file that lies at a path now.
    pub(super) fn at(path: &Path) -> std::result::Result<Self, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = match statx(CWD, path, AtFlags::STATX_SYNC_AS_STAT, wanted) {
            // Kernels before 4.11.
            Err(Errno::NOSYS) => return Self::without_birth(path),
            found => found?,
        };
        let born = found.stx_btime.tv_sec.checked_mul(1_000_000_000);
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: born
                .and_then(|born| born.checked_add(i64::from(found.stx_btime.tv_nsec)))
                .filter(|_| found.stx_mask & StatxFlags::BTIME.bits() != 0),
        })
    }

    fn without_birth(path: &Path) -> std::result::Result<Self, Errno> {
        let found = rustix::fs::stat(path)?;
        let device = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
        Ok(Self { device, inode: found.st_ino, born: None })
    }

    /// Is it one file under two names? Both must be there at once.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The database file that is open, and where it lay when it was opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    pub(super) id: FileId,
}

impl OpenFile {
    /// Notes the file at a path. Call it before the file is opened: one that is replaced in between is refused then, not mistaken.
    pub(super) fn note(path: PathBuf) -> Result<Self> {
        match FileId::at(&path) {
            Ok(id) => Ok(Self { path, id }),
            Err(error) => Err(StoreError::Unwritable { path, error: error.into() }),
        }
    }

    /// Does the file that was opened still lie at its path? Where that can't be seen, it may.
    pub(super) fn is_in_place(&self) -> bool {
        match FileId::at(&self.path) {
            Ok(there) => there.is(&self.id),
            Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// An error where it does not.
    pub(super) fn check(&self, home: &Home) -> Result<()> {
        if self.is_in_place() { Ok(()) } else { Err(StoreError::Gone { home: home.dir().to_owned() }) }
    }
}
