//! Results that are not unpacked: `gc` gives notice of them, and removes them a week later at the earliest.

use super::{Result, Tx, View};
use crate::model::id::{Index, MemberKey, TaskId};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;

/// Results of which notice was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// Their tasks, oldest first, at most so many as were asked for.
    pub tasks: Vec<TaskId>,
    /// How many tasks there are.
    pub count: u64,
    pub bytes: Bytes,
    /// When the first of them may go.
    pub goes_at: Timestamp,
}

/// An archive that came home, is still there, and is not unpacked.
pub(super) const UNREAD: &str = "f.digest IS NOT NULL AND f.unpacked_at IS NULL AND f.dropped_at IS NULL";
/// Such an archive of which notice was given, as the index `fetched_noticed` has it.
const NOTICED: &str = "f.noticed_at IS NOT NULL AND f.unpacked_at IS NULL AND f.dropped_at IS NULL";

impl View<'_> {
    /// Results that are not unpacked, of tasks that ended before, and of which no notice was given.
    pub fn unnoticed_before(&self, before: Timestamp) -> Result<Vec<MemberKey>> {
        self.all(
            &format!(
                "SELECT f.task_id, f.idx FROM fetched f JOIN task t ON t.id = f.task_id WHERE {UNREAD} AND f.noticed_at IS NULL
                 AND t.waiting + t.held + t.starting + t.running = 0 AND t.ended_at < ?1"
            ),
            [before],
            |row| Ok(MemberKey { task: row.get(0)?, index: row.get(1)? }),
        )
    }

    /// Has a member brought something home that is not unpacked?
    pub fn has_unread_results(&self, task: TaskId) -> Result<bool> {
        Ok(self
            .one(&format!("SELECT 1 FROM fetched f WHERE f.task_id = ?1 AND {UNREAD}"), [task], |_| Ok(()))?
            .is_some())
    }

    /// Must this result of a member be kept, because notice was not given, or since then only?
    pub fn awaits_notice(&self, task: TaskId, index: Index, since: Timestamp) -> Result<bool> {
        let sql = format!(
            "SELECT 1 FROM fetched f WHERE f.task_id = ?1 AND f.idx = ?2 AND {UNREAD} AND (f.noticed_at IS NULL OR f.noticed_at >= ?3)"
        );
        Ok(self.one(&sql, (task, index, since), |_| Ok(()))?.is_some())
    }

    /// What was given notice of, and when the first of it may go: `keep` after the task's end, `notice` after the notice. Both in ms.
    pub fn noticed(&self, keep: u64, notice: u64, limit: u32) -> Result<Option<Noticed>> {
        let sums = self.one(
            &format!(
                "SELECT count(DISTINCT f.task_id), coalesce(sum(f.size), 0), min(max(coalesce(t.ended_at, 0) + ?1, f.noticed_at + ?2))
                 FROM fetched f INDEXED BY fetched_noticed JOIN task t ON t.id = f.task_id WHERE {NOTICED}"
            ),
            (keep, notice),
            |row| Ok((row.get::<_, u64>(0)?, row.get(1)?, row.get::<_, Option<Timestamp>>(2)?)),
        )?;
        let Some((count, bytes, Some(goes_at))) = sums else { return Ok(None) };
        let tasks = self.all(
            &format!("SELECT DISTINCT f.task_id FROM fetched f INDEXED BY fetched_noticed WHERE {NOTICED} ORDER BY f.task_id LIMIT ?1"),
            [limit],
            |row| row.get(0),
        )?;
        Ok(Some(Noticed { tasks, count, bytes: Bytes(bytes), goes_at }))
    }
}

impl Tx<'_> {
    /// Notice is given of a result, from now on.
    pub fn give_notice(&self, task: TaskId, index: Index, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE fetched SET noticed_at = ?3 WHERE task_id = ?1 AND idx = ?2 AND noticed_at IS NULL",
            (task, index, now),
        )?;
        Ok(())
    }

    /// The archive of a result is gone.
    pub fn mark_dropped(&self, task: TaskId, index: Index, now: Timestamp) -> Result<()> {
        self.run("UPDATE fetched SET dropped_at = ?3 WHERE task_id = ?1 AND idx = ?2", (task, index, now))?;
        Ok(())
    }
}
