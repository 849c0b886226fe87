//! A copy of the whole database in one file, consistent while others read and write.

use super::{Result, StoreError};
use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the copy beside its place, then gives it its name: a half-written one is never seen. What is there already stays,
/// and is an error. `mark` may change the copy first.
pub(super) fn write(
    connection: &Connection,
    to: &Path,
    mark: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<()> {
    let unwritable = |error| StoreError::NotCopied { path: to.to_owned(), error };
    let mut beside = to.to_owned().into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    if to.symlink_metadata().is_ok() {
        return Err(unwritable(io::ErrorKind::AlreadyExists.into()));
    }
    let done = fill(connection, beside, to, mark).and_then(|()| place(beside, to));
    if done.is_err() {
        // Half a copy is none. That it could not be written is what the caller hears of.
        let _ = std::fs::remove_file(beside);
    }
    done
}

/// Gives a copy its name, durably, without replacing; file systems that have no such call (NFS, FAT) get the plain one: it was looked
/// before.
pub(super) fn place(from: &Path, to: &Path) -> Result<()> {
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::rename(from, to),
        done => done.map_err(io::Error::from),
    };
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = renamed.and_then(|()| File::open(dir)?.sync_all());
    synced.map_err(|error| StoreError::NotCopied { path: to.to_owned(), error })
}

/// Writes the copy whole under a name that is not its own. `to`: its name, for errors.
pub(super) fn fill(
    connection: &Connection,
    beside: &Path,
    to: &Path,
    mark: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<()> {
    let unwritable = |error| StoreError::NotCopied { path: to.to_owned(), error };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside).map_err(unwritable)?;
    let name = beside.to_str().ok_or_else(|| unwritable(io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| match StoreError::from(error) {
        StoreError::Full { .. } => StoreError::Full { path: to.to_owned() },
        other => other,
    })?;
    let copy = Connection::open(beside)?;
    mark(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(unwritable)
}
