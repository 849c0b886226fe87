//! Refusals for good: a uuid that was refused up to a round is not taken up to that round, whoever comes back with it.

use super::{Result, Tx, View};
use crate::model::id::TaskUuid;
use crate::model::time::Timestamp;

impl View<'_> {
    /// Are there so many refusals for good, or more?
    pub fn has_tombstones(&self, count: u32) -> Result<bool> {
        let sql = "SELECT count(*) >= ?1 FROM (SELECT 1 FROM tombstone LIMIT ?1)";
        Ok(self.one(sql, [count], |row| row.get(0))?.unwrap_or(false))
    }
}

impl Tx<'_> {
    /// A refusal for good: this uuid is not taken up to this round.
    pub fn bury(&self, uuid: TaskUuid, round: u32, now: Timestamp) -> Result<()> {
        self.run(
            "INSERT INTO tombstone (uuid, round, at) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET round = max(round, excluded.round)",
            (uuid, round, now),
        )?;
        Ok(())
    }

    /// Up to which round this uuid was refused for good.
    pub fn buried(&self, uuid: TaskUuid) -> Result<Option<u32>> {
        self.one("SELECT round FROM tombstone WHERE uuid = ?1", [uuid], |row| row.get(0))
    }

    /// Drops refusals for good that are so old that nobody will come back to them.
    pub fn drop_tombstones(&self, before: Timestamp) -> Result<u64> {
        Ok(self.run("DELETE FROM tombstone WHERE at < ?1", [before])? as u64)
    }
}
