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
    home.run_dir().join(format!("{PREFIX}{uuid}"))
}

/// How the names of the files begin; the task's uuid follows.
const PREFIX: &str = "placing.";

impl SearchLock {
    /// Takes the lock, before the task's row can be seen.
    pub fn begin(home: &Home, uuid: TaskUuid) -> io::Result<Self> {
        let path = path(home, uuid);
        loop {
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            lock.lock()?;
            // Another process may have taken the file for that of a dead process, and removed it.
            if is_at(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
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
        match left.try_lock() {
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Error(_)) => {}
            // Another process may have made a new one meanwhile.
            Ok(()) if is_at(&left, &path) => drop(std::fs::remove_file(path)),
            Ok(()) => {}
        }
        false
    }

    /// Removes the files of processes that died in a search.
    pub fn remove_left(home: &Home) {
        let Ok(entries) = std::fs::read_dir(home.run_dir()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let uuid = name.to_str().and_then(|name| uuid::Uuid::parse_str(name.strip_prefix(PREFIX)?).ok());
            if let Some(uuid) = uuid {
                Self::is_going_on(home, TaskUuid(uuid));
            }
        }
    }
}

impl Drop for SearchLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        std::fs::create_dir_all(home.run_dir()).unwrap();
        (dir, home)
    }

    #[test]
    fn only_files_of_dead_processes_are_removed() {
        let (_dir, home) = home();
        let (dead, going_on) = (TaskUuid::new(), TaskUuid::new());
        for file in [path(&home, dead), home.run_dir().join("placing.odd")] {
            File::create(file).unwrap();
        }
        let lock = SearchLock::begin(&home, going_on).unwrap();
        SearchLock::remove_left(&home);
        let left = |uuid| path(&home, uuid).exists();
        assert_eq!((left(dead), left(going_on), home.run_dir().join("placing.odd").exists()), (false, true, true));
        drop(lock);
        assert!(!left(going_on));
    }

    #[test]
    fn search_whose_new_file_is_taken_for_a_dead_one_makes_another() {
        let (_dir, home) = home();
        let uuid = TaskUuid::new();
        // As `remove_left` does it, between the open and the lock of a search that begins.
        let taken = File::create(path(&home, uuid)).unwrap();
        taken.lock().unwrap();
        std::thread::scope(|scope| {
            let begun = scope.spawn(|| SearchLock::begin(&home, uuid).unwrap());
            while !is_awaited(&taken) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::fs::remove_file(path(&home, uuid)).unwrap();
            drop(taken);
            let _lock = begun.join().unwrap();
            assert!(SearchLock::is_going_on(&home, uuid), "others see that it goes on");
        });
    }

    /// Does anybody wait for this lock?
    fn is_awaited(lock: &File) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = format!(":{} ", lock.metadata().unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&inode))
    }
}
