//! How long things are kept, and copies.

use super::{Log, Result, Store, StoreError, Tx, View, schema};
use crate::model::id::TaskId;
use crate::model::time::Timestamp;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What `gc` removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcRemoved {
    pub tasks: u64,
    pub outputs: u64,
    pub notes: u64,
    pub classes: u64,
}

impl View<'_> {
    /// Ended tasks older than this, without tasks whose results are not unpacked, at most `limit`.
    pub fn tasks_ended_before(&self, before: Timestamp, limit: u32) -> Result<Vec<TaskId>> {
        self.all(
            "SELECT id FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0 AND ended_at < ?1
             AND NOT EXISTS (SELECT 1 FROM fetched f WHERE f.task_id = task.id AND f.digest IS NOT NULL AND f.unpacked_at IS NULL AND f.dropped_at IS NULL)
             ORDER BY ended_at LIMIT ?2",
            (before, limit),
            |row| row.get(0),
        )
    }

    /// Ended tasks older than this that still have outputs in the database, at most `limit`.
    pub fn tasks_with_outputs_before(&self, before: Timestamp, limit: u32) -> Result<Vec<TaskId>> {
        self.all(
            "SELECT id FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0 AND ended_at < ?1
             AND EXISTS (SELECT 1 FROM output WHERE task_id = task.id) ORDER BY ended_at LIMIT ?2",
            (before, limit),
            |row| row.get(0),
        )
    }

    /// What a `gc` with these bounds would remove: outputs and tasks.
    pub fn would_go(&self, outputs_before: Timestamp, rows_before: Timestamp) -> Result<(u64, u64)> {
        let outputs = self.one(
            "SELECT count(*) FROM task t INDEXED BY task_ended JOIN output o ON o.task_id = t.id
             WHERE t.waiting + t.held + t.starting + t.running = 0 AND t.ended_at < ?1",
            [outputs_before],
            |row| row.get(0),
        )?;
        let tasks = self.one(
            "SELECT count(*) FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0 AND ended_at < ?1
             AND NOT EXISTS (SELECT 1 FROM fetched f WHERE f.task_id = task.id AND f.digest IS NOT NULL AND f.unpacked_at IS NULL AND f.dropped_at IS NULL)",
            [rows_before],
            |row| row.get(0),
        )?;
        Ok((outputs.unwrap_or(0), tasks.unwrap_or(0)))
    }

    /// Is there such a task, and if so, when did it end? None: it is gone.
    pub fn task_end(&self, task: TaskId) -> Result<Option<Option<Timestamp>>> {
        self.one(
            "SELECT CASE WHEN waiting + held + starting + running = 0 THEN ended_at END FROM task WHERE id = ?1",
            [task],
            |row| row.get(0),
        )
    }

    /// A consistent copy of the database in one file.
    pub fn copy_to(&self, path: &std::path::Path) -> Result<()> {
        self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        Ok(())
    }
}

/// From here on a file that is half empty is worth writing anew.
const LARGE: u64 = 16 << 20;

impl Store {
    /// Bytes of the write-ahead log's file.
    pub fn log_len(&self) -> u64 {
        let mut path = self.home.database().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).map_or(0, |m| m.len())
    }

    /// Syncs the log to the disk. Nothing is written, so no lock is waited for.
    pub fn settle(&self) -> Result<()> {
        let mut path = self.home.database().into_os_string();
        path.push("-wal");
        let path = PathBuf::from(path);
        match File::open(&path).and_then(|log| log.sync_data()) {
            // Without a log all of it is in the database, and there on the disk.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::Unwritable { path, error }),
            _ => self.check_in_place(),
        }
    }

    /// Gives the file system back what the database does not use, where that is more than half of a large file. Writers wait meanwhile.
    pub fn compact(&self) -> Result<()> {
        let pages = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        let _passed = self.gate.pass()?;
        schema::check_version(&self.connection)?;
        let (free, all) = (pages("PRAGMA freelist_count")?, pages("PRAGMA page_count")?);
        if free * 2 < all || all * pages("PRAGMA page_size")? < LARGE {
            return Ok(());
        }
        // What is kept may be more than fits in memory.
        self.connection.execute_batch("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY")?;
        self.checkpoint(Log::Goes)
    }
}

impl Tx<'_> {
    /// Drops the outputs of ended tasks.
    pub fn drop_outputs(&self, tasks: &[TaskId]) -> Result<u64> {
        let mut gone = 0;
        for task in tasks {
            gone += self.run("DELETE FROM output WHERE task_id = ?1", [task])?;
        }
        Ok(gone as u64)
    }

    /// Drops ended tasks with everything that hangs on them, also on servers.
    pub fn drop_tasks(&self, tasks: &[TaskId]) -> Result<u64> {
        let mut gone = 0;
        for task in tasks {
            self.discard_of(*task)?;
            self.keep_usage(*task)?;
            gone += self.run("DELETE FROM task WHERE id = ?1 AND waiting + held + starting + running = 0", [task])?;
        }
        Ok(gone as u64)
    }

    /// Drops notes and classes that nothing refers to any more.
    pub fn drop_unused(&self) -> Result<(u64, u64)> {
        let notes = self.run(
            "DELETE FROM note WHERE id NOT IN (SELECT search FROM task WHERE search IS NOT NULL UNION SELECT verdict FROM task WHERE verdict IS NOT NULL
                                               UNION SELECT verdict FROM member WHERE verdict IS NOT NULL)",
            [],
        )?;
        let classes = self.run("DELETE FROM class WHERE waiting = 0 AND id NOT IN (SELECT class_id FROM task)", [])?;
        Ok((notes as u64, classes as u64))
    }
}
