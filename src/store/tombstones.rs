//! Refusals for good: a uuid that was refused up to a round is not taken up to that round, whoever comes back with it. What a
//! user has refused binds that user alone, for others may submit under the same uuid.

use super::{Result, Tx, View};
use crate::model::id::{TaskUuid, UserId};
use crate::model::time::Timestamp;

/// Whose commits a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuses {
    Everybody,
    User(UserId),
}

impl Refuses {
    /// In the column: no user has the id 0.
    const fn column(self) -> UserId {
        match self {
            Self::Everybody => UserId(0),
            Self::User(id) => id,
        }
    }
}

impl View<'_> {
    /// Up to which round this uuid was refused for good to a user: by a refusal that binds everybody, or that user.
    pub fn tombstoned(&self, uuid: TaskUuid, user: Option<UserId>) -> Result<Option<u32>> {
        let sql = "SELECT max(round) FROM tombstone WHERE uuid = ?1 AND user_id IN (0, ?2)";
        Ok(self.one(sql, (uuid, user), |row| row.get(0))?.flatten())
    }

    /// Are there so many refusals for good that a user asked for, or more?
    pub fn has_tombstones(&self, of: Refuses, count: u32) -> Result<bool> {
        let sql = "SELECT count(*) >= ?2 FROM (SELECT 1 FROM tombstone WHERE user_id = ?1 LIMIT ?2)";
        Ok(self.one(sql, (of.column(), count), |row| row.get(0))?.unwrap_or(false))
    }
}

impl Tx<'_> {
    /// A refusal for good: this uuid is not taken up to this round.
    pub fn add_tombstone(&self, uuid: TaskUuid, round: u32, of: Refuses, now: Timestamp) -> Result<()> {
        self.run(
            "INSERT INTO tombstone (uuid, user_id, round, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET round = max(round, excluded.round), at = max(at, excluded.at)",
            (uuid, of.column(), round, now),
        )?;
        Ok(())
    }

    /// Drops refusals for good that are so old that nobody will come back to them.
    pub fn drop_tombstones(&self, before: Timestamp) -> Result<u64> {
        Ok(self.run("DELETE FROM tombstone WHERE at < ?1", [before])? as u64)
    }
}
