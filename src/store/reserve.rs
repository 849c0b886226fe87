//! Room on the home's disk that is kept for cancels and ends: a file of some MB, given up when there is no other room.

use super::{Home, StoreError};
use crate::model::filesystem::has_room;
use rusqlite::ErrorCode;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Bytes; where little is free, an eighth of that ..
const SIZE: u64 = 4 << 20;
/// .. and none where that would be less.
const SIZE_MIN: u64 = 256 << 10;

impl StoreError {
    /// Is it that the disk of the home has no room?
    pub fn is_full(&self, home: &Home) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Unwritable { error, .. } => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Sqlite(error) => {
                error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && !has_room(home.dir())
            }
            _ => false,
        }
    }
}

impl Home {
    fn reserve(&self) -> PathBuf {
        self.run_dir().join("reserve")
    }

    /// Makes the reserve where there is none. False: there is not enough room for it.
    pub fn keep_reserve(&self) -> bool {
        let path = self.reserve();
        if path.exists() {
            return true;
        }
        let free = rustix::fs::statvfs(self.run_dir()).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let size = SIZE.min(free / 8);
        if size < SIZE_MIN {
            return false;
        }
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let made = options.open(&path).and_then(|file| allocate(&file, size));
        if made.is_err() {
            let _ = std::fs::remove_file(path);
        }
        made.is_ok()
    }

    /// Removes the reserve, so that the next write has its room. False: there was no reserve.
    pub fn give_up_reserve(&self) -> bool {
        std::fs::remove_file(self.reserve()).is_ok()
    }
}

/// Allocates the blocks; where the file system has no call for that, writes them.
fn allocate(mut file: &File, size: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let block = vec![1; 64 << 10];
            (0..size / block.len() as u64).try_for_each(|_| file.write_all(&block))
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn reserve_holds_blocks_until_it_is_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        std::fs::create_dir(home.run_dir()).unwrap();
        assert!(!home.give_up_reserve());
        for _ in 0..2 {
            assert!(home.keep_reserve() && home.keep_reserve());
            let meta = std::fs::metadata(home.reserve()).unwrap();
            assert_eq!((meta.len(), meta.blocks() * 512 >= SIZE), (SIZE, true));
            assert!(home.give_up_reserve());
            assert!(!home.give_up_reserve());
        }
    }
}
