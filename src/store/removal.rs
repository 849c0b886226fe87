//! Tasks that are removed: what they leave to be removed with them, what keeps them, and what stays of them.

use super::discards::BYTES_KEPT;
use super::{Result, Tx, View};
use crate::model::id::TaskId;

/// What an ended task left besides files of the home's spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Small outputs, in the database.
    pub outputs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of outputs that stayed on servers.
    pub on_servers: u64,
}

impl View<'_> {
    /// What a task left in the database, and on servers.
    pub fn left_by(&self, task: TaskId) -> Result<Left> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM output WHERE task_id = ?1), (SELECT coalesce(sum(length(body)), 0) FROM output WHERE task_id = ?1),
                          (SELECT coalesce(sum({BYTES_KEPT}), 0) FROM member m WHERE m.task_id = ?1 AND m.home_out = 2)"
        );
        let left =
            |row: &rusqlite::Row<'_>| Ok(Left { outputs: row.get(0)?, bytes: row.get(1)?, on_servers: row.get(2)? });
        Ok(self.one(&sql, [task], left)?.unwrap_or_default())
    }

    /// Does the client of this task, in another home, not know yet how it ended?
    pub fn is_unheard(&self, task: TaskId) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM task WHERE id = ?1 AND foreign_end = 1", [task], |_| Ok(()))?.is_some())
    }
}

impl View<'_> {
    /// Did this task come from another home, whose client follows it?
    pub fn is_foreign(&self, task: TaskId) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM task WHERE id = ?1 AND foreign_end > 0", [task], |_| Ok(()))?.is_some())
    }
}

impl Tx<'_> {
    /// A task came from another home: its client there is to hear how it ends.
    pub fn mark_foreign(&self, task: TaskId) -> Result<()> {
        self.run("UPDATE task SET foreign_end = 1 WHERE id = ?1", [task])?;
        Ok(())
    }

    /// Its client has heard how it ended.
    pub fn mark_heard(&self, task: TaskId) -> Result<()> {
        self.run("UPDATE task SET foreign_end = 2 WHERE id = ?1 AND foreign_end = 1", [task])?;
        Ok(())
    }

    /// It is started again: how it ends then is to be heard anew.
    pub fn mark_unheard(&self, task: TaskId) -> Result<()> {
        self.run("UPDATE task SET foreign_end = 1 WHERE id = ?1 AND foreign_end = 2", [task])?;
        Ok(())
    }

    /// Adds what a task used to the sums of its user and day: they outlive its row. What another home holds is in the sums there.
    pub(super) fn keep_usage(&self, task: TaskId) -> Result<()> {
        self.run(
            "INSERT INTO removed_usage (user, day, tasks, members, wall_ms, cpu_ms, reserved_ms)
             SELECT u.name, coalesce(t.ended_at, t.submitted_at) / 86400000, 1, t.size, x.wall, x.cpu, x.wall * coalesce(json_extract(c.demand, '$.cpus'), 1)
             FROM task t JOIN user u ON u.id = t.user_id JOIN class c ON c.id = t.class_id,
                  (SELECT coalesce(sum(max(ended_at - started_at, 0)), 0) AS wall, coalesce(sum(cpu_ms), 0) AS cpu
                   FROM (SELECT started_at, ended_at, cpu_ms FROM member WHERE task_id = ?1
                         UNION ALL SELECT started_at, ended_at, NULL FROM attempt WHERE task_id = ?1)) x
             WHERE t.id = ?1 AND t.waiting + t.held + t.starting + t.running = 0 AND NOT EXISTS (SELECT 1 FROM away WHERE task_id = t.id)
             ON CONFLICT (user, day) DO UPDATE SET
                 tasks = tasks + excluded.tasks, members = members + excluded.members, wall_ms = wall_ms + excluded.wall_ms,
                 cpu_ms = cpu_ms + excluded.cpu_ms, reserved_ms = reserved_ms + excluded.reserved_ms",
            [task],
        )?;
        Ok(())
    }
}
