//! Servers that refused to start a task: it does not go there again until they are declared anew.

use super::{Result, Tx, View};
use crate::model::id::{ServerId, TaskId};
use crate::model::time::Timestamp;

impl View<'_> {
    /// The servers that refused to start a task and were not declared anew since, each with the reason.
    pub fn refusals(&self, task: TaskId) -> Result<Vec<(ServerId, String)>> {
        self.all(
            "SELECT r.server_id, r.why FROM refusal r JOIN server s ON s.id = r.server_id
             WHERE r.task_id = ?1 AND s.declared_at <= r.at ORDER BY r.at, r.server_id",
            [task],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// The same of all tasks.
    pub fn all_refusals(&self) -> Result<Vec<(TaskId, ServerId)>> {
        self.all(
            "SELECT r.task_id, r.server_id FROM refusal r JOIN server s ON s.id = r.server_id WHERE s.declared_at <= r.at",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

impl Tx<'_> {
    /// A server refused to start a task.
    pub fn add_refusal(&self, task: TaskId, server: ServerId, why: &str, now: Timestamp) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO refusal (task_id, server_id, at, why) VALUES (?1, ?2, ?3, ?4)",
            (task, server, now, why),
        )?;
        Ok(())
    }

    /// The task has ended: when it is retried, all servers are asked.
    pub fn drop_refusals(&self, task: TaskId) -> Result<()> {
        self.run("DELETE FROM refusal WHERE task_id = ?1", [task])?;
        Ok(())
    }
}
