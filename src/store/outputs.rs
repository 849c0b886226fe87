//! What commands wrote: small outputs in the database, longer ones in files of the home's spool.

use super::{Home, Result, StoreError, Tx, View};
use crate::model::attempt::Stream;
use crate::model::id::AttemptKey;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const fn word(stream: Stream) -> &'static str {
    match stream {
        Stream::Out => "out",
        Stream::Err => "err",
    }
}

impl View<'_> {
    /// A small output of an attempt; empty if it wrote nothing.
    pub fn output(&self, AttemptKey { task, index, number }: AttemptKey, stream: Stream) -> Result<Vec<u8>> {
        let body = self.one(
            "SELECT body FROM output WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND stream = ?4",
            (task, index, number, word(stream)),
            |row| row.get(0),
        )?;
        Ok(body.unwrap_or_default())
    }
}

impl Tx<'_> {
    /// Keeps a small output.
    pub fn keep_output(
        &self,
        AttemptKey { task, index, number }: AttemptKey,
        stream: Stream,
        body: &[u8],
    ) -> Result<()> {
        if !body.is_empty() {
            self.run(
                "INSERT OR REPLACE INTO output (task_id, idx, number, stream, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                (task, index, number, word(stream), body),
            )?;
        }
        Ok(())
    }
}

impl Home {
    /// The file of a long output that was brought home.
    pub fn output_file(&self, AttemptKey { task, index, number }: AttemptKey, stream: Stream) -> PathBuf {
        self.outputs().join(format!("{task}.{index}.{number}.{}", word(stream)))
    }

    /// Creates that file anew. One that is there may be a second name of what lies elsewhere: it is not written to.
    pub fn create_output_file(&self, key: AttemptKey, stream: Stream) -> Result<File> {
        let path = self.output_file(key, stream);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::Unwritable { path, error }),
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        opened.map_err(|error| StoreError::Unwritable { path, error })
    }
}
