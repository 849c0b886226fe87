//! Attempts that failed, for those that follow: on which servers a member failed, and servers on which much fails.

use super::phases::{idle, list, phase};
use super::{Result, Tx, View};
use crate::model::id::{Index, MemberKey, ServerId, TaskId};
use crate::model::time::Timestamp;
use std::time::Duration;

/// What was seen longer ago does not count: a server that has not failed for so long is no suspect any more.
pub const KEPT: Duration = Duration::from_secs(60 * 60);

/// Failures in a row on a server, of attempts that live elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    pub failures: u32,
    /// The last one.
    pub at: Timestamp,
}

/// The phases of attempts that another one follows.
macro_rules! failed {
    () => {
        list!(failed, timeout, out_of_memory, lost)
    };
}

impl View<'_> {
    /// Servers on which a member has failed, without its last attempt.
    pub fn failed_on(&self, task: TaskId, index: Index) -> Result<Vec<ServerId>> {
        self.all(
            concat!("SELECT DISTINCT host_id FROM attempt WHERE task_id = ?1 AND idx = ?2 AND host_id IS NOT NULL AND state IN ", failed!()),
            (task, index),
            |row| row.get(0),
        )
    }

    /// Members that failed and wait for their next attempt, with the ends of their last ones. Not those of `grid retry`: people
    /// know what they do.
    pub fn failed_members(&self) -> Result<Vec<(MemberKey, Timestamp)>> {
        self.all_readable(
            concat!(
                "SELECT m.task_id, m.idx, a.ended_at FROM member m INDEXED BY member_again
                 JOIN attempt a ON a.task_id = m.task_id AND a.idx = m.idx AND a.number = m.number
                 JOIN task t ON t.id = m.task_id
                 WHERE m.state = ",
                phase!(waiting),
                " AND m.state IN ",
                idle!(),
                " AND a.ended_at IS NOT NULL AND m.number <= max(t.retries, t.retry_lost) AND a.state IN ",
                failed!()
            ),
            [],
            |row| Ok((MemberKey { task: row.get(0)?, index: row.get(1)? }, row.get(2)?)),
        )
    }

    /// Servers on which much fails.
    pub fn failing_servers(&self) -> Result<Vec<(ServerId, Failing)>> {
        self.all_readable(
            "SELECT id, failing, failing_at FROM server WHERE failing IS NOT NULL AND failing_at IS NOT NULL",
            [],
            |row| Ok((row.get(0)?, Failing { failures: row.get(1)?, at: row.get(2)? })),
        )
    }
}

impl Tx<'_> {
    /// Records that much fails on a server, or that nothing does any more.
    pub fn set_failing(&self, server: ServerId, failing: Option<Failing>) -> Result<()> {
        let (failures, at) = (failing.map(|failing| failing.failures), failing.map(|failing| failing.at));
        self.run("UPDATE server SET failing = ?2, failing_at = ?3 WHERE id = ?1", (server, failures, at))?;
        Ok(())
    }
}
