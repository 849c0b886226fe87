//! What tasks inherit from the process that submitted them: equal environments are one row.

use super::{Result, Tx, View};
use crate::model::id::{EnvironmentId, TaskId};
use crate::model::inherited::{EnvironmentBlock, Inherited};
use crate::model::time::Timestamp;
use rusqlite::OptionalExtension;

/// What a task inherits, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEnvironment {
    /// Without variables where they are erased.
    pub inherited: Inherited,
    pub erased: bool,
}

/// The number of environments, and of those whose values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvironmentCount {
    pub all: u64,
    pub with_values: u64,
}

impl View<'_> {
    /// Two settings at once, for each submit asks for them: as they are set.
    pub fn two_settings(&self, names: [&str; 2]) -> Result<[Option<String>; 2]> {
        let sql = "SELECT (SELECT value FROM setting WHERE name = ?1), (SELECT value FROM setting WHERE name = ?2)";
        Ok(self.one(sql, names, |row| Ok([row.get(0)?, row.get(1)?]))?.unwrap_or_default())
    }

    /// Is this environment kept with its values?
    pub fn keeps_environment(&self, id: EnvironmentId, digest: &[u8; 32]) -> Result<bool> {
        let sql = "SELECT 1 FROM environment WHERE id = ?1 AND digest = ?2 AND erased_at IS NULL";
        Ok(self.one(sql, (id, digest), |_| Ok(()))?.is_some())
    }

    /// What a task inherits; None if it comes from another home, or from before environments were kept.
    pub fn environment_of(&self, task: TaskId) -> Result<Option<KeptEnvironment>> {
        let sql = "SELECT e.attributes, e.variables, e.erased_at IS NOT NULL
                   FROM task t JOIN environment e ON e.id = t.environment_id WHERE t.id = ?1";
        let row = self.one(sql, [task], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, bool>(2)?))
        })?;
        let Some((attributes, variables, erased)) = row else { return Ok(None) };
        // Written by a later grid with other attributes: the task gets those of the dispatcher.
        let Ok(attributes) = serde_json::from_str(&attributes) else { return Ok(None) };
        let inherited = Inherited { variables: variables.map(EnvironmentBlock::new), attributes };
        Ok(Some(KeptEnvironment { inherited, erased }))
    }

    /// How many environments are kept.
    pub fn count_environments(&self) -> Result<EnvironmentCount> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE erased_at IS NULL) FROM environment";
        let read = |row: &rusqlite::Row<'_>| Ok(EnvironmentCount { all: row.get(0)?, with_values: row.get(1)? });
        Ok(self.one(sql, [], read)?.unwrap_or(EnvironmentCount { all: 0, with_values: 0 }))
    }
}

impl Tx<'_> {
    /// Keeps an environment, or finds the equal one.
    pub fn keep_environment(&self, inherited: &Inherited, digest: &[u8; 32], now: Timestamp) -> Result<EnvironmentId> {
        let variables = inherited.variables.as_ref().map(EnvironmentBlock::as_bytes);
        let known = self
            .connection
            .prepare_cached("SELECT id, erased_at IS NOT NULL FROM environment WHERE digest = ?1")?
            .query_row([digest], |row| Ok((row.get::<_, EnvironmentId>(0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        match known {
            Some((id, false)) => {
                // Its task comes in a later transaction: no `gc` in between takes it for an old one.
                self.run("UPDATE environment SET made_at = ?2 WHERE id = ?1 AND made_at < ?2", (id, now))?;
                Ok(id)
            }
            Some((id, true)) => {
                let sql = "UPDATE environment SET variables = ?2, made_at = ?3, erased_at = NULL WHERE id = ?1";
                self.run(sql, (id, variables, now))?;
                Ok(id)
            }
            None => {
                let attributes = serde_json::to_string(&inherited.attributes).unwrap_or_default();
                let sql = "INSERT INTO environment (digest, attributes, variables, made_at) VALUES (?1, ?2, ?3, ?4)";
                self.run(sql, (digest, attributes, variables, now))?;
                Ok(EnvironmentId(self.inserted()))
            }
        }
    }

    /// Gives a task another environment.
    pub fn set_environment(&self, task: TaskId, environment: EnvironmentId) -> Result<()> {
        self.run("UPDATE task SET environment_id = ?2 WHERE id = ?1", (task, environment))?;
        Ok(())
    }

    /// Erases the values of environments whose last task ended before this time. Returns their number.
    pub fn erase_environments(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        // What is erased must not lie in a free page.
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        let sql = "UPDATE environment SET variables = NULL, erased_at = ?2
                   WHERE erased_at IS NULL AND variables IS NOT NULL AND made_at < ?1
                     AND id NOT IN (SELECT environment_id FROM task INDEXED BY task_unended
                                    WHERE waiting + held + starting + running > 0 AND environment_id IS NOT NULL)
                     AND id NOT IN (SELECT environment_id FROM task INDEXED BY task_ended
                                    WHERE waiting + held + starting + running = 0 AND ended_at >= ?1 AND environment_id IS NOT NULL)";
        let erased = self.run(sql, (before, now))?;
        self.connection.pragma_update(None, "secure_delete", "OFF")?;
        Ok(erased as u64)
    }

    /// Drops environments that no task has any more.
    pub fn drop_unused_environments(&self, before: Timestamp) -> Result<u64> {
        let sql = "DELETE FROM environment
                   WHERE made_at < ?1 AND id NOT IN (SELECT environment_id FROM task WHERE environment_id IS NOT NULL)";
        Ok(self.run(sql, [before])? as u64)
    }
}
