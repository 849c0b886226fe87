//! The gate: one lock file before every write transaction. SQLite's own waiting sleeps up to 100 ms and starves some
//! of many writers; a queue at a file lock does neither.

use super::{Home, Result, StoreError, read_only, waiting};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Gate {
    path: PathBuf,
    /// An error: the home can't be written.
    file: io::Result<File>,
}

/// Open while this lives.
pub(super) struct Passed<'g> {
    file: &'g File,
}

impl Gate {
    /// A home that can't be written can still be read: then the gate lets no writer pass.
    pub fn open(home: &Home) -> Self {
        let path = home.run_dir().join("gate");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        Self { path, file }
    }

    /// Waits for the writers before us.
    pub fn pass(&self) -> Result<Passed<'_>> {
        let unwritable = |error| StoreError::Unwritable { path: self.path.clone(), error };
        let again = |error: &io::Error| error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error);
        let file = self.file.as_ref().map_err(|error| {
            // In an older home its directory may be missing, where nothing can be made.
            let home = self.path.parent().and_then(Path::parent);
            unwritable(home.and_then(read_only::refusal).unwrap_or_else(|| again(error)))
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
            Err(TryLockError::WouldBlock) => {
                let _watched = waiting::watch();
                file.lock().map_err(unwritable)?;
            }
        }
        Ok(Passed { file })
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        // The lock also goes with the process; there is nothing to be done about an error here.
        let _ = self.file.unlock();
    }
}
