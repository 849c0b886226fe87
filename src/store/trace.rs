//! What `explain` tells later: shared searches and verdicts, and single steps.

use super::{Result, Tx, View};
use crate::model::id::{ServerId, TaskId};
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

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

/// How the step of a server that refused to start a task begins; its name and the reason follow.
const REFUSED: &str = "not started on ";

impl View<'_> {
    /// The servers that refused to start a task and were not declared anew since, each with the reason.
    pub fn refusals(&self, task: TaskId) -> Result<Vec<(ServerId, String)>> {
        let mut all = BTreeMap::new();
        for (at, what) in self.steps(task)? {
            let Some((name, why)) = what.strip_prefix(REFUSED).and_then(|what| what.split_once(": ")) else { continue };
            let sql = "SELECT id FROM server WHERE name = ?1 AND declared_at <= ?2";
            if let Some(server) = self.one(sql, (name, at), |row| row.get::<_, ServerId>(0))? {
                all.insert(server, why.to_owned());
            }
        }
        Ok(all.into_iter().collect())
    }
}

impl Tx<'_> {
    /// Notes that a server refused to start a task.
    pub fn trace_refusal(&self, task: TaskId, at: Timestamp, server: &str, why: &str) -> Result<()> {
        self.trace(task, at, &format!("{REFUSED}{server}: {why}"))
    }

    /// Keeps a text once, however many tasks share it.
    pub fn keep_note(&self, body: &str) -> Result<NoteId> {
        if let Some(id) = self.one("SELECT id FROM note WHERE body = ?1", [body], |row| row.get(0))? {
            return Ok(NoteId(id));
        }
        self.run("INSERT INTO note (body) VALUES (?1)", [body])?;
        Ok(NoteId(self.inserted()))
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
