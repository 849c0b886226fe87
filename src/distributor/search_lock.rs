//! Who is at it: a command that searches for a task holds a lock, so that nobody settles the search as long as it goes on.
//! The lock goes with its process, however that ends.

use crate::model::id::TaskUuid;
use crate::store::Home;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A search that goes on.
#[derive(Debug)]
pub struct SearchLock {
    path: PathBuf,
    _lock: File,
}

fn path(home: &Home, uuid: TaskUuid) -> PathBuf {
    home.run_dir().join(format!("placing.{uuid}"))
}

impl SearchLock {
    /// From now on, and before the task's row can be seen.
    pub fn begin(home: &Home, uuid: TaskUuid) -> io::Result<Self> {
        let path = path(home, uuid);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Is somebody at it? What a dead one left is cleared away.
    pub fn is_going_on(home: &Home, uuid: TaskUuid) -> bool {
        let path = path(home, uuid);
        let Ok(left) = File::open(&path) else { return false };
        if matches!(left.try_lock(), Err(TryLockError::WouldBlock)) {
            return true;
        }
        // Nobody takes it up again: a uuid is searched for by one command only.
        let _ = std::fs::remove_file(path);
        false
    }
}

impl Drop for SearchLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
