//! What `explain` tells later: shared searches and verdicts, and single steps.

use super::{Result, Tx, View};
use crate::model::id::TaskId;
use crate::model::time::Timestamp;

/// A shared text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteId(pub(super) i64);

impl View<'_> {
    /// A shared text, as JSON.
    pub fn note(&self, id: NoteId) -> Result<Option<String>> {
        self.one("SELECT body FROM note WHERE id = ?1", [id.0], |row| row.get(0))
    }

    /// Single steps of a task, oldest first.
    pub fn steps(&self, task: TaskId) -> Result<Vec<(Timestamp, String)>> {
        self.all("SELECT at, what FROM trace WHERE task_id = ?1 ORDER BY rowid", [task], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }
}

impl Tx<'_> {
    /// Keeps a text once, however many tasks share it.
    pub fn keep_note(&self, body: &str) -> Result<NoteId> {
        if let Some(id) = self.one("SELECT id FROM note WHERE body = ?1", [body], |row| row.get(0))? {
            return Ok(NoteId(id));
        }
        self.run("INSERT INTO note (body) VALUES (?1)", [body])?;
        Ok(NoteId(self.inserted()))
    }

    /// Notes a step of a task, unless it has the same step.
    pub fn trace_once(&self, task: TaskId, at: Timestamp, what: &str) -> Result<()> {
        let known = "SELECT 1 FROM trace WHERE task_id = ?1 AND what = ?2";
        match self.one(known, (task, what), |row| row.get::<_, i64>(0))? {
            Some(_) => Ok(()),
            None => self.trace(task, at, what),
        }
    }

    /// Notes a step of a task; the last hundred are kept.
    pub fn trace(&self, task: TaskId, at: Timestamp, what: &str) -> Result<()> {
        self.run("INSERT INTO trace (task_id, at, what) VALUES (?1, ?2, ?3)", (task, at, what))?;
        self.run(
            "DELETE FROM trace WHERE task_id = ?1 AND rowid <= (SELECT rowid FROM trace WHERE task_id = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET 100)",
            [task],
        )?;
        Ok(())
    }
}
