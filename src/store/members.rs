//! Members and their attempts. Every change of a member's phase goes through a [`Ledger`](super::ledger::Ledger), which keeps the task's counts true.

use super::reading::Lenient;
use super::trace::NoteId;
use super::{Result, Tx, View};
use crate::model::attempt::Cut;
use crate::model::bounds::LENGTH_MAX;
use crate::model::id::{
    AttemptId, AttemptKey, BootId, ClassId, Epoch, Index, LaneId, MachineId, ServerId, TaskId, TaskUuid,
};
use crate::model::resources::Bytes;
use crate::model::task::{Phase, State};
use crate::model::time::Timestamp;
use std::time::Duration;

/// A member row.
#[derive(Debug, Clone)]
pub struct MemberRow {
    pub task: TaskId,
    pub index: Index,
    pub phase: Phase,
    pub number: u32,
    pub server: Option<ServerId>,
    pub host: Option<ServerId>,
    pub lane: Option<LaneId>,
    pub boot: Option<BootId>,
    /// The machine that it was sent to; None: this host, or one that was not kept.
    pub machine: Option<MachineId>,
    pub sent: Epoch,
    pub orphaned: bool,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    pub detail: Option<String>,
    pub cpu_ms: Option<u64>,
    pub max_rss: Option<Bytes>,
    pub out_len: Option<u64>,
    pub err_len: Option<u64>,
    pub outputs: Outputs,
    pub verdict: Option<NoteId>,
    /// Why its outputs are not all that it wrote.
    pub cut: Option<Cut>,
}

impl MemberRow {
    /// What is to be said of how it ended, besides its code: why it could not run or is LOST, and why its output is not whole.
    pub fn remark(&self) -> Option<String> {
        let words = self.detail.clone().into_iter().chain(self.cut.as_ref().map(ToString::to_string));
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

impl MemberRow {
    /// The row of its last attempt.
    pub const fn key(&self) -> AttemptKey {
        AttemptKey { task: self.task, index: self.index, number: self.number }
    }
}

/// Where the outputs of an ended attempt lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// In the database, or empty.
    Database,
    /// In files in the spool of this home.
    Spool,
    /// On the server still: too long to be brought home.
    Server,
}

/// An attempt before the last one.
#[derive(Debug, Clone)]
pub struct PastAttempt {
    pub number: u32,
    pub state: State,
    pub server: Option<ServerId>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    pub detail: Option<String>,
}

/// A member that lies with a server, as the dispatcher follows it.
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
    /// None: its process is gone and its place given back; its outputs or files are still on their way home.
    pub lane: Option<LaneId>,
    pub boot: BootId,
    pub sent: Epoch,
    /// The machine that it was sent to; None: this host, or one that was not kept.
    pub machine: Option<MachineId>,
    /// LOST after so long without contact.
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

const SELECT: &str = "
    SELECT task_id, idx, state, number, server_id, host_id, lane, boot_id, sent, orphaned, started_at, ended_at, exit_code, signal, detail,
           cpu_ms, max_rss, out_len, err_len, home_out, verdict, cut, machine_id FROM member ";

/// For reports: what can't be read of a row stands for nothing.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<MemberRow> {
    let mut of = Lenient::of(row);
    Ok(MemberRow {
        task: row.get(0)?,
        index: of.or(1, Index(0)),
        phase: of.get::<String>(2).parse().unwrap_or(Phase::Held),
        number: of.get(3),
        server: of.get(4),
        host: of.get(5),
        lane: of.get(6),
        boot: of.get(7),
        sent: Epoch(of.get(8)),
        orphaned: of.get(9),
        started_at: of.get(10),
        ended_at: of.get(11),
        exit_code: of.get(12),
        signal: of.get(13),
        detail: of.get(14),
        cpu_ms: of.get(15),
        max_rss: of.get(16),
        out_len: of.get(17),
        err_len: of.get(18),
        outputs: match of.get(19) {
            0 => Outputs::Database,
            1 => Outputs::Spool,
            _ => Outputs::Server,
        },
        verdict: of.get::<Option<i64>>(20).map(NoteId),
        cut: of.get::<Option<String>>(21).and_then(|text| super::columns::json(&text).ok()),
        machine: of.get(22),
    })
}

const LIVE: &str = "
    SELECT m.task_id, t.uuid, m.idx, m.number, m.state = 'RUNNING', t.class_id, m.server_id, m.host_id, m.lane, m.boot_id, m.sent, t.lost_after, m.machine_id
    FROM member m JOIN task t ON t.id = m.task_id ";

const LIVE_OF: &str = "
    SELECT m.task_id, t.uuid, m.idx, m.number, m.state = 'RUNNING', t.class_id, m.server_id, m.host_id, m.lane, m.boot_id, m.sent, t.lost_after, m.machine_id
    FROM member m JOIN task t ON t.id = m.task_id WHERE m.task_id = ?1 AND m.state IN ('STARTING', 'RUNNING') ORDER BY m.idx";

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
        sent: Epoch(row.get(10)?),
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
        self.one(&format!("{SELECT} WHERE task_id = ?1 AND idx = ?2"), (task, index), read)
    }

    /// Members of a task that have rows, in order, at most `limit`.
    pub fn members(&self, task: TaskId, limit: u32) -> Result<Vec<MemberRow>> {
        self.all(&format!("{SELECT} WHERE task_id = ?1 ORDER BY idx LIMIT ?2"), (task, limit), read)
    }

    /// How many members of a task have an output that is not whole.
    pub fn count_cut(&self, task: TaskId) -> Result<u32> {
        let sql = "SELECT count(*) FROM member WHERE task_id = ?1 AND cut IS NOT NULL";
        Ok(self.one(sql, [task], |row| row.get(0))?.unwrap_or(0))
    }

    /// Attempts of a member before its last one.
    pub fn past_attempts(&self, task: TaskId, index: Index) -> Result<Vec<PastAttempt>> {
        self.all(
            "SELECT number, state, server_id, started_at, ended_at, exit_code, signal, detail FROM attempt WHERE task_id = ?1 AND idx = ?2 ORDER BY number",
            (task, index),
            |row| {
                let mut of = Lenient::of(row);
                Ok(PastAttempt {
                    number: of.get(0),
                    state: of.or(1, State::Lost),
                    server: of.get(2),
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
        self.all(&format!("{LIVE} WHERE m.state = 'STARTING' AND m.sent = 0 ORDER BY m.task_id, m.idx"), [], read_live)
    }

    /// All members that lie with servers.
    pub fn live(&self) -> Result<Vec<Live>> {
        self.all(&format!("{LIVE} WHERE m.state IN ('STARTING', 'RUNNING') ORDER BY m.task_id, m.idx"), [], read_live)
    }

    /// Does anything lie with a server?
    pub fn has_live(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM member INDEXED BY member_live WHERE state IN ('STARTING', 'RUNNING') LIMIT 1";
        Ok(self.one(sql, [], |_| Ok(()))?.is_some())
    }

    /// Members of a task that lie with servers, as far as their rows can be read.
    pub fn live_of(&self, task: TaskId) -> Result<Vec<Live>> {
        self.all_readable(LIVE_OF, [task], read_live)
    }

    /// The same, where each of them has to be read.
    pub(super) fn live_strictly(&self, task: TaskId) -> Result<Vec<Live>> {
        self.all(LIVE_OF, [task], read_live)
    }

    /// Cancels that are asked for and not confirmed: task, member or all, grace in ms.
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
            "UPDATE member SET sent = ?3, boot_id = ?4, machine_id = ?5 WHERE task_id = ?1 AND idx = ?2 AND state = 'STARTING'",
            (live.task, live.index, epoch.0, boot, machine),
        )?;
        Ok(())
    }

    /// It did not get there.
    pub fn mark_unsent(&self, task: TaskId, index: Index) -> Result<()> {
        self.run("UPDATE member SET sent = 0 WHERE task_id = ?1 AND idx = ?2 AND state = 'STARTING'", (task, index))?;
        Ok(())
    }

    /// Its process is gone, and the end is not taken in yet: from now on it holds no place.
    pub fn leave_lane(&self, AttemptKey { task, index, number }: AttemptKey) -> Result<()> {
        self.run(
            "UPDATE member SET lane = NULL WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state IN ('STARTING', 'RUNNING')",
            (task, index, number),
        )?;
        Ok(())
    }

    /// The supervisor is gone, the command runs on.
    pub fn mark_orphaned(&self, task: TaskId, index: Index) -> Result<()> {
        self.run("UPDATE member SET orphaned = 1 WHERE task_id = ?1 AND idx = ?2", (task, index))?;
        Ok(())
    }

    /// Asks for a cancel; the dispatcher carries it out.
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

    /// Forgets cancels of tasks and members that have ended.
    pub fn clear_cancels(&self) -> Result<()> {
        self.run(
            "DELETE FROM cancel WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.task_id = cancel.task_id AND (cancel.idx IS NULL OR m.idx = cancel.idx)
                                                  AND m.state IN ('STARTING', 'RUNNING'))",
            [],
        )?;
        Ok(())
    }
}
