//! The gate: one lock file before every write transaction. SQLite's own waiting sleeps up to 100 ms and starves
//! some of many writers; a queue at a file lock does neither.

use super::{Home, Result, StoreError};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

#[derive(Debug)]
pub(super) struct Gate {
    file: File,
}

/// Open while this lives.
pub(super) struct Passed<'g> {
    file: &'g File,
}

impl Gate {
    pub fn open(home: &Home) -> Result<Self> {
        let path = home.run_dir().join("gate");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| StoreError::Unwritable { path, error })?;
        Ok(Self { file })
    }

    /// Waits for the writers before us.
    pub fn pass(&self) -> Result<Passed<'_>> {
        self.file.lock().map_err(|error| StoreError::Unwritable { path: "run/gate".into(), error })?;
        Ok(Passed { file: &self.file })
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        // The lock also goes with the process; there is nothing to be done about an error here.
        let _ = self.file.unlock();
    }
}
