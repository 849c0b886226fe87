//! Attempts that failed, for those that follow: on which servers a member failed, and servers on which much fails.

use super::columns::json;
use super::phases::{idle, list, phase};
use super::{Result, Tx, View};
use crate::model::id::{ClassId, Index, MemberKey, ServerId, TaskId};
use crate::model::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// What was seen longer ago does not count: a server that has not failed for so long is no suspect any more.
pub const KEPT: Duration = Duration::from_secs(60 * 60);

/// Failures in a row on a server, of attempts that live elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub failures: u32,
    /// The last one.
    pub at: Timestamp,
    pub about: SuspectClasses,
}

/// The classes that get no more than single starts on a server on which much fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuspectClasses {
    /// Nothing has lived there since.
    Any,
    /// Those that fail there; others live.
    These(BTreeSet<ClassId>),
}

impl SuspectClasses {
    /// Is it one of them?
    pub fn includes(&self, class: ClassId) -> bool {
        match self {
            Self::Any => true,
            Self::These(classes) => classes.contains(&class),
        }
    }
}

/// Members of a task that failed on the same servers and wait for their next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedGroup {
    pub servers: Vec<ServerId>,
    pub members: u32,
    /// The first end of their last attempts.
    pub ended_at: Timestamp,
}

/// The phases of attempts that another one follows.
macro_rules! failed {
    () => {
        list!(failed, timeout, out_of_memory, lost)
    };
}

/// A member `m` whose last attempt `a` failed waits for the next one of its task `t`. Not those of `grid retry`: people know what they do.
macro_rules! waits_after_failure {
    () => {
        concat!(
            "m.state = ",
            phase!(waiting),
            " AND m.state IN ",
            idle!(),
            " AND m.number <= max(t.retries, t.retry_lost) AND a.state IN ",
            failed!()
        )
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

    /// Members that failed and wait for their next attempt, with the ends of their last ones.
    pub fn failed_members(&self) -> Result<Vec<(MemberKey, Timestamp)>> {
        self.all_readable(
            concat!(
                "SELECT m.task_id, m.idx, a.ended_at FROM member m INDEXED BY member_again
                 JOIN attempt a ON a.task_id = m.task_id AND a.idx = m.idx AND a.number = m.number
                 JOIN task t ON t.id = m.task_id
                 WHERE a.ended_at IS NOT NULL AND ",
                waits_after_failure!()
            ),
            [],
            |row| Ok((MemberKey { task: row.get(0)?, index: row.get(1)? }, row.get(2)?)),
        )
    }

    /// The members of a task, or the one, that failed after a moment and wait for their next attempt, by the servers on which they failed.
    pub fn failed_groups(&self, task: TaskId, index: Option<Index>, after: Timestamp) -> Result<Vec<FailedGroup>> {
        self.all_readable(
            concat!(
                "SELECT servers, count(*), min(ended_at) FROM (
                   SELECT a.ended_at, (SELECT json_group_array(host_id) FROM (
                     SELECT DISTINCT host_id FROM attempt WHERE task_id = m.task_id AND idx = m.idx AND host_id IS NOT NULL AND state IN ",
                failed!(),
                " ORDER BY host_id)) AS servers
                   FROM member m INDEXED BY member_again
                   JOIN attempt a ON a.task_id = m.task_id AND a.idx = m.idx AND a.number = m.number
                   JOIN task t ON t.id = m.task_id
                   WHERE m.task_id = ?1 AND (?2 IS NULL OR m.idx = ?2) AND a.ended_at > ?3 AND ",
                waits_after_failure!(),
                ") GROUP BY servers"
            ),
            (task, index, after),
            |row| {
                let servers: Vec<i64> = json(&row.get::<_, String>(0)?)?;
                let servers = servers.into_iter().map(ServerId).collect();
                Ok(FailedGroup { servers, members: row.get(1)?, ended_at: row.get(2)? })
            },
        )
    }

    /// Servers on which much fails.
    pub fn failing_servers(&self) -> Result<Vec<(ServerId, Failing)>> {
        self.all_readable(
            "SELECT id, failing, failing_at, failing_classes FROM server WHERE failing IS NOT NULL AND failing_at IS NOT NULL",
            [],
            |row| {
                let about = match row.get::<_, Option<String>>(3)? {
                    Some(classes) => SuspectClasses::These(json::<Vec<i64>>(&classes)?.into_iter().map(ClassId).collect()),
                    None => SuspectClasses::Any,
                };
                Ok((row.get(0)?, Failing { failures: row.get(1)?, at: row.get(2)?, about }))
            },
        )
    }
}

impl Tx<'_> {
    /// Records that much fails on a server, or that nothing does any more.
    pub fn set_failing(&self, server: ServerId, failing: Option<&Failing>) -> Result<()> {
        let (failures, at) = (failing.map(|failing| failing.failures), failing.map(|failing| failing.at));
        let classes = failing.and_then(|failing| listed(&failing.about));
        self.run(
            "UPDATE server SET failing = ?2, failing_at = ?3, failing_classes = ?4 WHERE id = ?1",
            (server, failures, at, classes),
        )?;
        Ok(())
    }

    /// Records that much fails on a server for fewer classes.
    pub fn set_suspect_classes(&self, server: ServerId, about: &SuspectClasses) -> Result<()> {
        self.run("UPDATE server SET failing_classes = ?2 WHERE id = ?1", (server, listed(about)))?;
        Ok(())
    }
}

/// The classes as JSON; None: any.
fn listed(about: &SuspectClasses) -> Option<String> {
    match about {
        SuspectClasses::Any => None,
        SuspectClasses::These(classes) => {
            let all: Vec<String> = classes.iter().map(|class| class.0.to_string()).collect();
            Some(format!("[{}]", all.join(",")))
        }
    }
}
