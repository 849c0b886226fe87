//! Members and their attempts. Every change of a member's phase goes through a [`Ledger`](super::ledger::Ledger), which keeps the task's counts true.

mod row;

pub use row::{Assignment, LastAttempt, MemberRow, MemberState};

use super::columns::epoch_of;
use super::phases::{live, phase};
use super::reading::Lenient;
use super::{Result, Tx, View};
use crate::model::bounds::LENGTH_MAX;
use crate::model::id::{
    AttemptId, AttemptKey, BootId, ClassId, Epoch, Index, LaneId, MachineId, ServerId, TaskId, TaskUuid,
};
use crate::model::task::EndState;
use crate::model::time::Timestamp;
use std::time::Duration;

/// Where the outputs of an ended attempt are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outputs {
    /// In the database, or empty.
    #[default]
    Database,
    /// In files in the spool of this home.
    Spool,
    /// Still on the server: too long to be brought home.
    Server,
}

/// An attempt before the last one.
#[derive(Debug, Clone)]
pub struct PastAttempt {
    pub number: u32,
    pub state: EndState,
    pub server: Option<ServerId>,
    pub host: Option<ServerId>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    pub detail: Option<String>,
}

/// A member that a server has, as the dispatcher follows it.
#[derive(Debug, Clone)]
pub struct Live {
    pub task: TaskId,
    pub uuid: TaskUuid,
    pub index: Index,
    pub number: u32,
    pub running: bool,
    pub class: ClassId,
    pub server: ServerId,
    pub host: ServerId,
    /// None: its process is gone and its place is free; its outputs or files are still on their way home.
    pub lane: Option<LaneId>,
    pub boot: BootId,
    /// In which epoch it was sent; None: it was not.
    pub sent: Option<Epoch>,
    /// The machine that it was sent to; None: this host, or one that was not kept.
    pub machine: Option<MachineId>,
    /// It is LOST after so long without contact.
    pub lost_after: Option<Duration>,
}

impl Live {
    /// Its row.
    pub const fn key(&self) -> AttemptKey {
        AttemptKey { task: self.task, index: self.index, number: self.number }
    }

    /// Its attempt's id.
    pub const fn attempt(&self) -> AttemptId {
        AttemptId { task: self.uuid, index: self.index, number: self.number }
    }
}

/// Members that servers have; `$which` is the condition and the order.
macro_rules! select_live {
    ($($which:expr),+) => {
        concat!(
            "SELECT m.task_id, t.uuid, m.idx, m.number, m.state = ", phase!(running), ", t.class_id, m.server_id, m.host_id, m.lane, m.boot_id,
                m.sent, t.lost_after, m.machine_id
             FROM member m JOIN task t ON t.id = m.task_id WHERE ", $($which),+
        )
    };
}

const LIVE_OF: &str = select_live!("m.task_id = ?1 AND m.state IN ", live!(), " ORDER BY m.idx");

fn read_live(row: &rusqlite::Row<'_>) -> rusqlite::Result<Live> {
    Ok(Live {
        task: row.get(0)?,
        uuid: row.get(1)?,
        index: row.get(2)?,
        number: row.get(3)?,
        running: row.get(4)?,
        class: row.get(5)?,
        server: row.get(6)?,
        host: row.get(7)?,
        lane: row.get(8)?,
        boot: row.get(9)?,
        sent: epoch_of(row.get(10)?),
        lost_after: row.get::<_, Option<u64>>(11)?.map(Duration::from_millis),
        machine: row.get(12)?,
    })
}

/// A cancel that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    pub task: TaskId,
    /// None: all members.
    pub index: Option<Index>,
    pub grace_ms: u64,
    pub asked_at: Timestamp,
}

impl View<'_> {
    /// One member that has a row.
    pub fn member(&self, task: TaskId, index: Index) -> Result<Option<MemberRow>> {
        self.one(row::ONE, (task, index), row::read)
    }

    /// Members of a task that have rows, in order, at most `limit`.
    pub fn members(&self, task: TaskId, limit: u32) -> Result<Vec<MemberRow>> {
        self.all(row::OF_TASK, (task, limit), row::read)
    }

    /// Members of a task that failed, in order, at most `limit`.
    pub fn failed_members_of(&self, task: TaskId, limit: u32) -> Result<Vec<MemberRow>> {
        self.all(row::FAILED, (task, limit), row::read)
    }

    /// Members of a task that run, in order, at most `limit`.
    pub fn running_members(&self, task: TaskId, limit: u32) -> Result<Vec<MemberRow>> {
        self.all(row::RUNNING, (task, limit), row::read)
    }

    /// How many members of a task have an output that is not whole.
    pub fn count_cut(&self, task: TaskId) -> Result<u32> {
        let sql = "SELECT count(*) FROM member WHERE task_id = ?1 AND cut IS NOT NULL";
        Ok(self.one(sql, [task], |row| row.get(0))?.unwrap_or(0))
    }

    /// Attempts of a member before its last one.
    pub fn past_attempts(&self, task: TaskId, index: Index) -> Result<Vec<PastAttempt>> {
        self.all(
            "SELECT number, state, server_id, started_at, ended_at, exit_code, signal, detail, host_id FROM attempt WHERE task_id = ?1 AND idx = ?2 ORDER BY number",
            (task, index),
            |row| {
                let mut of = Lenient::of(row);
                Ok(PastAttempt {
                    number: of.get(0),
                    state: of.or(1, EndState::Lost),
                    server: of.get(2),
                    host: of.get(8),
                    started_at: of.get(3),
                    ended_at: of.get(4),
                    exit_code: of.get(5),
                    signal: of.get(6),
                    detail: of.get(7),
                })
            },
        )
    }

    /// Members that were given to a server and not sent there yet.
    pub fn unsent(&self) -> Result<Vec<Live>> {
        let unsent = select_live!("m.state = ", phase!(starting), " AND m.sent = 0 ORDER BY m.task_id, m.idx");
        self.all(unsent, [], read_live)
    }

    /// All members that servers have.
    pub fn live(&self) -> Result<Vec<Live>> {
        self.all(select_live!("m.state IN ", live!(), " ORDER BY m.task_id, m.idx"), [], read_live)
    }

    /// Does a server have a member?
    pub fn has_live(&self) -> Result<bool> {
        let sql = concat!("SELECT 1 FROM member INDEXED BY member_live WHERE state IN ", live!(), " LIMIT 1");
        Ok(self.one(sql, [], |_| Ok(()))?.is_some())
    }

    /// Members of a task that servers have, without rows that can't be read.
    pub fn live_of(&self, task: TaskId) -> Result<Vec<Live>> {
        self.all_readable(LIVE_OF, [task], read_live)
    }

    /// Members of a task that servers have; an error if a row can't be read.
    pub(super) fn live_strictly(&self, task: TaskId) -> Result<Vec<Live>> {
        self.all(LIVE_OF, [task], read_live)
    }

    /// Cancels that are not confirmed yet.
    pub fn cancels(&self) -> Result<Vec<Cancel>> {
        self.all_readable("SELECT task_id, idx, grace, asked_at FROM cancel", [], |row| {
            // An older grid wrote any length; a longer one is none that an agent takes.
            let most = u64::try_from(LENGTH_MAX.as_millis()).unwrap_or(u64::MAX);
            let grace_ms = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0).min(most);
            Ok(Cancel { task: row.get(0)?, index: row.get(1)?, grace_ms, asked_at: row.get(3)? })
        })
    }

    /// When a cancel of this task (of this member) was asked for.
    pub fn cancel_asked(&self, task: TaskId, index: Option<Index>) -> Result<Option<Timestamp>> {
        self.one(
            "SELECT asked_at FROM cancel WHERE task_id = ?1 AND (idx IS NULL OR idx = ?2) LIMIT 1",
            (task, index),
            |row| row.get(0),
        )
    }
}

impl Tx<'_> {
    /// Marks a member as sent in this epoch, to a machine that runs since this boot.
    pub fn mark_sent(&self, live: &Live, epoch: Epoch, boot: &BootId, machine: Option<MachineId>) -> Result<()> {
        self.run(
            concat!("UPDATE member SET sent = ?3, boot_id = ?4, machine_id = ?5 WHERE task_id = ?1 AND idx = ?2 AND state = ", phase!(starting)),
            (live.task, live.index, epoch.0, boot, machine),
        )?;
        Ok(())
    }

    /// Marks a member as not sent: its start did not get there.
    pub fn mark_unsent(&self, task: TaskId, index: Index) -> Result<()> {
        self.run(
            concat!("UPDATE member SET sent = 0 WHERE task_id = ?1 AND idx = ?2 AND state = ", phase!(starting)),
            (task, index),
        )?;
        Ok(())
    }

    /// Takes an attempt out of its lane: its process is gone, its end is not recorded yet. It holds no place from now on.
    pub fn leave_lane(&self, AttemptKey { task, index, number }: AttemptKey) -> Result<()> {
        self.run(
            concat!(
                "UPDATE member SET lane = NULL WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state IN ",
                live!()
            ),
            (task, index, number),
        )?;
        Ok(())
    }

    /// Marks a member whose supervisor is gone and whose command runs.
    pub fn mark_orphaned(&self, task: TaskId, index: Index) -> Result<()> {
        self.run("UPDATE member SET orphaned = 1 WHERE task_id = ?1 AND idx = ?2", (task, index))?;
        Ok(())
    }

    /// Records a cancel; the dispatcher carries it out.
    pub fn ask_cancel(&self, task: TaskId, index: Option<Index>, grace: Duration, now: Timestamp) -> Result<()> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(10_000);
        // UNIQUE does not hold NULLs apart: one row for the whole task is kept by hand.
        self.run("DELETE FROM cancel WHERE task_id = ?1 AND idx IS ?2", (task, index))?;
        self.run(
            "INSERT INTO cancel (task_id, idx, asked_at, grace) VALUES (?1, ?2, ?3, ?4)",
            (task, index, now, grace),
        )?;
        Ok(())
    }

    /// Drops cancels of tasks and members that have ended.
    pub fn clear_cancels(&self) -> Result<()> {
        self.run(
            concat!("DELETE FROM cancel WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.task_id = cancel.task_id AND (cancel.idx IS NULL OR m.idx = cancel.idx)
                                                  AND m.state IN ", live!(), ")"),
            [],
        )?;
        Ok(())
    }
}
