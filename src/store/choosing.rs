//! Which tasks `all` means.

use super::{Result, View};
use crate::model::id::{TaskId, UserId};

/// A kind of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskFilter {
    Any,
    /// Some member has not ended.
    Unended,
    /// Some member neither ended nor is held.
    Active,
    /// Some member is held.
    Held,
    /// Some member ended and did not complete.
    Failed,
    /// All members ended.
    Ended,
}

impl TaskFilter {
    const fn sql(self) -> &'static str {
        match self {
            Self::Any => "SELECT id FROM task WHERE (?1 IS NULL OR user_id = ?1) ORDER BY id",
            Self::Unended => {
                "SELECT id FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 AND (?1 IS NULL OR user_id = ?1) ORDER BY id"
            }
            Self::Active => {
                "SELECT id FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 AND waiting + starting + running > 0
                 AND (?1 IS NULL OR user_id = ?1) ORDER BY id"
            }
            Self::Held => {
                "SELECT id FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 AND held > 0
                 AND (?1 IS NULL OR user_id = ?1) ORDER BY id"
            }
            Self::Ended => {
                "SELECT id FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0 AND (?1 IS NULL OR user_id = ?1) ORDER BY id"
            }
            Self::Failed => {
                "SELECT id FROM task WHERE failed + timeout + out_of_memory + cancelled + skipped + lost > 0
                 AND (?1 IS NULL OR user_id = ?1) ORDER BY id"
            }
        }
    }
}

impl View<'_> {
    /// All tasks of a kind, of a user or of anybody, oldest first.
    pub fn select_all(&self, user: Option<UserId>, which: TaskFilter) -> Result<Vec<TaskId>> {
        self.all(which.sql(), [user], |row| row.get(0))
    }

    /// Those of them that have a name.
    pub fn select_named(&self, name: &str, user: Option<UserId>, which: TaskFilter) -> Result<Vec<TaskId>> {
        let sql = format!("SELECT id FROM task WHERE name = ?2 AND id IN ({}) ORDER BY id", which.sql());
        self.all(&sql, (user, name), |row| row.get(0))
    }

    /// The newest task of a name, of a user or of anybody.
    pub fn newest_named(&self, name: &str, user: Option<UserId>) -> Result<Option<TaskId>> {
        let sql = "SELECT id FROM task WHERE name = ?1 AND (?2 IS NULL OR user_id = ?2) ORDER BY id DESC LIMIT 1";
        self.one(sql, (name, user), |row| row.get(0))
    }
}
