//! The lock of a search: the command that places a task holds it, so that the dispatcher does not reconcile the task meanwhile.
//! The kernel releases the lock when the process ends.

use crate::model::filesystem::is_at;
use crate::model::id::TaskUuid;
use crate::store::Home;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The lock of a search in progress.
#[derive(Debug)]
pub struct SearchLock {
    path: PathBuf,
    _lock: File,
}

fn path(home: &Home, uuid: TaskUuid) -> PathBuf {
    home.run_dir().join(format!("placing.{uuid}"))
}

impl SearchLock {
    /// Takes the lock, before the task's row can be seen.
    pub fn begin(home: &Home, uuid: TaskUuid) -> io::Result<Self> {
        let path = path(home, uuid);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes the lock of a task whose id was told before. None: another process searches for the task, or moves it.
    pub fn try_begin(home: &Home, uuid: TaskUuid) -> io::Result<Option<Self>> {
        let path = path(home, uuid);
        loop {
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) if is_at(&lock, &path) => return Ok(Some(Self { path, _lock: lock })),
                // Its last holder removed it meanwhile.
                Ok(()) => {}
            }
        }
    }

    /// Does a process hold the lock? The file of a dead process is removed.
    pub fn is_going_on(home: &Home, uuid: TaskUuid) -> bool {
        let path = path(home, uuid);
        let Ok(left) = File::open(&path) else { return false };
        if matches!(left.try_lock(), Err(TryLockError::WouldBlock)) {
            return true;
        }
        // Another process may have made a new one meanwhile.
        if is_at(&left, &path) {
            let _ = std::fs::remove_file(path);
        }
        false
    }
}

impl Drop for SearchLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
