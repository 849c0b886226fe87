//! Members and their attempts. Every change of a member's phase goes through a [`Ledger`], which keeps the task's counts true.

use super::tasks::Shape;
use super::trace::NoteId;
use super::{Result, Tx, View};
use crate::model::attempt::{Cause, End};
use crate::model::command::Text;
use crate::model::id::{AttemptId, BootId, ClassId, Epoch, Index, LaneId, ServerId, TaskId, TaskUuid};
use crate::model::resources::{Bytes, Needs};
use crate::model::task::{Counts, Phase, State};
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

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
    pub lane: LaneId,
    pub boot: BootId,
    pub sent: Epoch,
}

impl Live {
    /// Its attempt's id.
    pub const fn attempt(&self) -> AttemptId {
        AttemptId { task: self.uuid, index: self.index, number: self.number }
    }
}

const SELECT: &str = "
    SELECT task_id, idx, state, number, server_id, host_id, lane, boot_id, sent, orphaned, started_at, ended_at, exit_code, signal, detail,
           cpu_ms, max_rss, out_len, err_len, home_out, verdict FROM member ";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<MemberRow> {
    let phase: String = row.get(2)?;
    Ok(MemberRow {
        task: row.get(0)?,
        index: row.get(1)?,
        phase: phase.parse().map_err(|e: crate::model::task::UnknownState| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, e.into())
        })?,
        number: row.get(3)?,
        server: row.get(4)?,
        host: row.get(5)?,
        lane: row.get(6)?,
        boot: row.get(7)?,
        sent: Epoch(row.get(8)?),
        orphaned: row.get(9)?,
        started_at: row.get(10)?,
        ended_at: row.get(11)?,
        exit_code: row.get(12)?,
        signal: row.get(13)?,
        detail: row.get(14)?,
        cpu_ms: row.get(15)?,
        max_rss: row.get(16)?,
        out_len: row.get(17)?,
        err_len: row.get(18)?,
        outputs: match row.get(19)? {
            0 => Outputs::Database,
            1 => Outputs::Spool,
            _ => Outputs::Server,
        },
        verdict: row.get::<_, Option<i64>>(20)?.map(NoteId),
    })
}

const LIVE: &str = "
    SELECT m.task_id, t.uuid, m.idx, m.number, m.state = 'RUNNING', t.class_id, m.server_id, m.host_id, m.lane, m.boot_id, m.sent
    FROM member m JOIN task t ON t.id = m.task_id ";

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
    })
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

    /// Attempts of a member before its last one.
    pub fn past_attempts(&self, task: TaskId, index: Index) -> Result<Vec<PastAttempt>> {
        self.all(
            "SELECT number, state, server_id, started_at, ended_at, exit_code, signal, detail FROM attempt WHERE task_id = ?1 AND idx = ?2 ORDER BY number",
            (task, index),
            |row| {
                Ok(PastAttempt {
                    number: row.get(0)?,
                    state: row.get(1)?,
                    server: row.get(2)?,
                    started_at: row.get(3)?,
                    ended_at: row.get(4)?,
                    exit_code: row.get(5)?,
                    signal: row.get(6)?,
                    detail: row.get(7)?,
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

    /// Members of a task that lie with servers.
    pub fn live_of(&self, task: TaskId) -> Result<Vec<Live>> {
        self.all(
            &format!("{LIVE} WHERE m.task_id = ?1 AND m.state IN ('STARTING', 'RUNNING') ORDER BY m.idx"),
            [task],
            read_live,
        )
    }

    /// Cancels that are asked for and not confirmed: task, member or all, grace in ms.
    pub fn cancels(&self) -> Result<Vec<(TaskId, Option<Index>, u64)>> {
        self.all("SELECT task_id, idx, grace FROM cancel", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
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

/// A member that is to be started.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub index: Index,
    pub number: u32,
    pub entry: Option<Text>,
}

/// Where members are put.
#[derive(Debug, Clone)]
pub struct Placing {
    pub server: ServerId,
    pub host: ServerId,
    pub boot: BootId,
    pub lane: LaneId,
    /// 0: the dispatcher has still to send it.
    pub sent: Epoch,
    pub verdict: Option<NoteId>,
}

/// The changes of counts in one transaction, written once for each task by [`Ledger::close`].
#[derive(Debug)]
pub struct Ledger<'t, 'c> {
    tx: &'t Tx<'c>,
    now: Timestamp,
    changes: BTreeMap<TaskId, Change>,
}

#[derive(Debug, Default)]
struct Change {
    plus: Counts,
    minus: Counts,
    exit_code: Option<u8>,
    shell_code: Option<u8>,
    started_at: Option<Timestamp>,
}

impl Tx<'_> {
    /// A new lane.
    pub fn new_lane(&self) -> Result<LaneId> {
        let id = self.one("UPDATE home SET lanes = lanes + 1 RETURNING lanes", [], |row| row.get(0))?;
        Ok(LaneId(id.unwrap_or(1)))
    }

    /// Reserves what one lane needs on a server.
    pub fn take(&self, server: ServerId, host: ServerId, needs: Needs) -> Result<()> {
        self.count_taken(server, host, needs, 1)
    }

    /// Gives it back.
    pub fn give_back(&self, server: ServerId, host: ServerId, needs: Needs) -> Result<()> {
        self.count_taken(server, host, needs, -1)
    }

    /// Counts again what is taken, from the lanes that live: a dispatcher that begins trusts nothing else.
    pub fn recount_taken(&self) -> Result<()> {
        self.run("UPDATE server SET taken_slots = 0, taken_cpus = 0, taken_mem = 0", [])?;
        self.run("UPDATE host SET taken_cpus = 0, taken_mem = 0, started_since = 0, mem_since = 0", [])?;
        let lanes = self.all(
            "SELECT m.server_id, m.host_id, json_extract(c.demand, '$.cpus'), json_extract(c.demand, '$.mem')
             FROM member m JOIN task t ON t.id = m.task_id JOIN class c ON c.id = t.class_id
             WHERE m.state IN ('STARTING', 'RUNNING') GROUP BY m.lane",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    Needs { cpus: row.get::<_, Option<u32>>(2)?.unwrap_or(1), mem: row.get(3)? },
                ))
            },
        )?;
        for (server, host, needs) in lanes {
            self.take(server, host, needs)?;
        }
        Ok(())
    }

    /// Marks members as sent in this epoch.
    pub fn mark_sent(&self, task: TaskId, index: Index, epoch: Epoch) -> Result<()> {
        self.run(
            "UPDATE member SET sent = ?3 WHERE task_id = ?1 AND idx = ?2 AND state = 'STARTING'",
            (task, index, epoch.0),
        )?;
        Ok(())
    }

    /// The supervisor is gone, the command runs on.
    pub fn mark_orphaned(&self, task: TaskId, index: Index) -> Result<()> {
        self.run("UPDATE member SET orphaned = 1 WHERE task_id = ?1 AND idx = ?2", (task, index))?;
        Ok(())
    }

    /// Asks for a cancel; the dispatcher carries it out.
    pub fn ask_cancel(
        &self,
        task: TaskId,
        index: Option<Index>,
        grace: std::time::Duration,
        now: Timestamp,
    ) -> Result<()> {
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

impl<'t, 'c> Ledger<'t, 'c> {
    /// Opens the ledger of a transaction.
    pub fn open(tx: &'t Tx<'c>, now: Timestamp) -> Self {
        Self { tx, now, changes: BTreeMap::new() }
    }

    fn count(&mut self, task: TaskId, from: Phase, to: Phase, members: u32) {
        let change = self.changes.entry(task).or_default();
        *change.minus.phase_mut(from) += members;
        *change.plus.phase_mut(to) += members;
    }

    /// Gives up to `limit` waiting members of a task to a lane: first those that wait again, then those that never had an attempt.
    pub fn claim(&mut self, task: TaskId, limit: u32, at: &Placing) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        let again: Vec<(Index, u32)> = self.tx.all(
            "SELECT idx, number FROM member INDEXED BY member_again WHERE task_id = ?1 AND state = 'WAITING' AND state IN ('WAITING', 'HELD') ORDER BY idx LIMIT ?2",
            (task, limit),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (index, number) in again {
            self.archive(task, index)?;
            self.place(task, index, number + 1, at)?;
            claimed.push(Claimed { index, number: number + 1, entry: None });
        }
        let left = limit - u32::try_from(claimed.len()).unwrap_or(limit);
        if left > 0 {
            self.claim_rest(task, left, at, &mut claimed)?;
        }
        let count = u32::try_from(claimed.len()).unwrap_or(0);
        self.count(task, Phase::Waiting, Phase::Starting, count);
        // At once: the next look at the queue has to see it.
        if let Some(change) = self.changes.remove(&task) {
            self.write(task, &change)?;
        }
        for member in &mut claimed {
            member.entry = self.tx.entry(task, member.index)?;
        }
        Ok(claimed)
    }

    fn claim_rest(&mut self, task: TaskId, limit: u32, at: &Placing, claimed: &mut Vec<Claimed>) -> Result<()> {
        let found = self.tx.one(
            "SELECT shape, first, step, size, rest, rest_next FROM task WHERE id = ?1 AND rest_state = 'WAITING' AND rest > 0",
            [task],
            |row| {
                let shape: String = row.get(0)?;
                let shape = match shape.as_str() {
                    "single" => Shape::Single,
                    "array" => Shape::Array { first: row.get(1)?, step: row.get(2)? },
                    _ => Shape::Lines,
                };
                Ok((shape, row.get::<_, u32>(3)?, row.get::<_, u32>(4)?, row.get::<_, u32>(5)?))
            },
        )?;
        let Some((shape, size, rest, mut next)) = found else { return Ok(()) };
        let mut taken = 0;
        while taken < limit.min(rest) && next < size {
            let index = shape.index_at(next);
            next += 1;
            // A member that was cancelled by itself has a row already and is passed over.
            if self.place(task, index, 1, at)? {
                claimed.push(Claimed { index, number: 1, entry: None });
                taken += 1;
            }
        }
        self.tx.run("UPDATE task SET rest = rest - ?2, rest_next = ?3 WHERE id = ?1", (task, taken, next))?;
        Ok(())
    }

    /// Writes the attempt; false if it is the first one and the member has a row already.
    fn place(&self, task: TaskId, index: Index, number: u32, at: &Placing) -> Result<bool> {
        let verdict = at.verdict.map(|n| n.0);
        let written = if number == 1 {
            self.tx.run(
                "INSERT INTO member (task_id, idx, state, number, server_id, host_id, lane, boot_id, sent, verdict)
                 VALUES (?1, ?2, 'STARTING', 1, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET state = 'STARTING', number = 1, server_id = excluded.server_id, host_id = excluded.host_id,
                     lane = excluded.lane, boot_id = excluded.boot_id, sent = excluded.sent, verdict = excluded.verdict
                 WHERE state = 'WAITING'",
                (task, index, at.server, at.host, at.lane, &at.boot, at.sent.0, verdict),
            )?
        } else {
            self.tx.run(
                "UPDATE member SET state = 'STARTING', number = ?3, server_id = ?4, host_id = ?5, lane = ?6, boot_id = ?7, sent = ?8, verdict = ?9,
                        orphaned = 0, started_at = NULL, ended_at = NULL, exit_code = NULL, signal = NULL, detail = NULL, cpu_ms = NULL,
                        max_rss = NULL, out_len = NULL, err_len = NULL, home_out = 0
                 WHERE task_id = ?1 AND idx = ?2",
                (task, index, number, at.server, at.host, at.lane, &at.boot, at.sent.0, verdict),
            )?
        };
        Ok(written > 0)
    }

    /// Keeps the last attempt among the past ones, before another takes its place.
    fn archive(&self, task: TaskId, index: Index) -> Result<()> {
        self.tx.run(
            "INSERT OR IGNORE INTO attempt (task_id, idx, number, state, server_id, host_id, started_at, ended_at, exit_code, signal, detail)
             SELECT task_id, idx, number, CASE WHEN signal IS NULL AND exit_code IS NULL AND detail IS NOT NULL THEN 'LOST' ELSE 'FAILED' END,
                    server_id, host_id, started_at, ended_at, exit_code, signal, detail
             FROM member WHERE task_id = ?1 AND idx = ?2 AND number > 0",
            (task, index),
        )?;
        Ok(())
    }

    /// The command of an attempt runs. False if this is not news.
    pub fn began(&mut self, task: TaskId, index: Index, number: u32, at: Timestamp) -> Result<bool> {
        let news = self.tx.run(
            "UPDATE member SET state = 'RUNNING', started_at = ?4 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = 'STARTING'",
            (task, index, number, at),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Running, 1);
            self.changes.entry(task).or_default().started_at.get_or_insert(at);
        }
        Ok(news)
    }

    /// An attempt ended; the member ends with it, or waits again where `again` says so. False if this is not news.
    pub fn ended(
        &mut self,
        task: TaskId,
        index: Index,
        number: u32,
        end: &End,
        outputs: Outputs,
        again: bool,
    ) -> Result<bool> {
        let to = if again { Phase::Waiting } else { Phase::Ended(end.cause.state()) };
        let detail = match &end.cause {
            Cause::NotExecuted { error, .. } => Some(error.as_str()),
            Cause::Lost { why } => Some(why.as_str()),
            _ => None,
        };
        let home_out = match outputs {
            Outputs::Database => 0,
            Outputs::Spool => 1,
            Outputs::Server => 2,
        };
        let was: Option<String> = self.tx.one(
            "SELECT state FROM member WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state IN ('STARTING', 'RUNNING')",
            (task, index, number),
            |row| row.get(0),
        )?;
        let from = match was.as_deref() {
            Some("RUNNING") => Phase::Running,
            Some(_) => Phase::Starting,
            None => return Ok(false),
        };
        self.tx.run(
            "UPDATE member SET state = ?3, started_at = coalesce(?4, started_at), ended_at = ?5, exit_code = ?6, signal = ?7, detail = ?8,
                    cpu_ms = ?9, max_rss = ?10, out_len = ?11, err_len = ?12, home_out = ?13
             WHERE task_id = ?1 AND idx = ?2",
            rusqlite::params![
                task,
                index,
                to.word(),
                end.started_at,
                end.ended_at,
                end.cause.exit_code(),
                end.cause.signal(),
                detail,
                end.usage.cpu_ms,
                end.usage.max_rss,
                end.out_len,
                end.err_len,
                home_out
            ],
        )?;
        self.count(task, from, to, 1);
        let change = self.changes.entry(task).or_default();
        if let Some(at) = end.started_at {
            change.started_at.get_or_insert(at);
        }
        if !again {
            change.exit_code = change.exit_code.max(end.cause.exit_code());
            change.shell_code = change.shell_code.max(Some(shell_code(&end.cause)));
        }
        Ok(true)
    }

    /// An attempt never began: the member waits again, and the attempt's number is free again. False if this is not news.
    pub fn unplaced(&mut self, task: TaskId, index: Index, number: u32) -> Result<bool> {
        let news = self.tx.run(
            "UPDATE member SET state = 'WAITING', number = number - 1, lane = NULL, sent = 0 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = 'STARTING'",
            (task, index, number),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Waiting, 1);
        }
        Ok(news)
    }

    /// A member that never began ends CANCELLED: the server has a tombstone, or no start was ever sent.
    pub fn cancelled(&mut self, task: TaskId, index: Index, number: u32) -> Result<bool> {
        let news = self.tx.run(
            "UPDATE member SET state = 'CANCELLED', ended_at = ?4 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = 'STARTING'",
            (task, index, number, self.now),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Ended(State::Cancelled), 1);
            let change = self.changes.entry(task).or_default();
            change.shell_code = change.shell_code.max(Some(130));
        }
        Ok(news)
    }

    /// Moves everything of a task (or one member) that lies with no server from one phase to another: hold, release, cancel, retry.
    /// Gives the number of members moved.
    pub fn shift(&mut self, task: TaskId, index: Option<Index>, from: Phase, to: Phase) -> Result<u32> {
        let ended_at = matches!(to, Phase::Ended(_)).then_some(self.now);
        let mut moved = match index {
            None => {
                let rest: Option<u32> = self.tx.one(
                    "SELECT rest FROM task WHERE id = ?1 AND rest_state = ?2 AND rest > 0",
                    (task, from.word()),
                    |row| row.get(0),
                )?;
                if rest.is_some() {
                    self.tx.run("UPDATE task SET rest_state = ?2 WHERE id = ?1", (task, to.word()))?;
                }
                let rows = self.tx.run(
                    "UPDATE member SET state = ?3, ended_at = coalesce(?4, ended_at) WHERE task_id = ?1 AND state = ?2",
                    (task, from.word(), to.word(), ended_at),
                )?;
                rest.unwrap_or(0) + u32::try_from(rows).unwrap_or(u32::MAX)
            }
            Some(index) => {
                let rows = self.tx.run(
                    "UPDATE member SET state = ?4, ended_at = coalesce(?5, ended_at) WHERE task_id = ?1 AND idx = ?2 AND state = ?3",
                    (task, index, from.word(), to.word(), ended_at),
                )?;
                u32::try_from(rows).unwrap_or(1)
            }
        };
        if let (Some(index), 0) = (index, moved) {
            moved = self.split_off(task, index, from, to, ended_at)?;
        }
        if moved > 0 {
            self.count(task, from, to, moved);
            if to == Phase::Ended(State::Cancelled) {
                let change = self.changes.entry(task).or_default();
                change.shell_code = change.shell_code.max(Some(130));
            }
        }
        Ok(moved)
    }

    /// Gives a member that never had an attempt a row of its own.
    fn split_off(
        &self,
        task: TaskId,
        index: Index,
        from: Phase,
        to: Phase,
        ended_at: Option<Timestamp>,
    ) -> Result<u32> {
        let Some(row) = self.tx.task(task)? else { return Ok(0) };
        let implied = row.rest_state == from.state()
            && row.shape.position_of(index, row.size).is_some_and(|p| p >= row.rest_next);
        if !implied || row.rest == 0 || self.tx.member(task, index)?.is_some() {
            return Ok(0);
        }
        self.tx.run(
            "INSERT INTO member (task_id, idx, state, number, ended_at) VALUES (?1, ?2, ?3, 0, ?4)",
            (task, index, to.word(), ended_at),
        )?;
        self.tx.run("UPDATE task SET rest = rest - 1 WHERE id = ?1", [task])?;
        Ok(1)
    }

    /// Ended members of these states wait again: `grid retry`. Gives their number.
    pub fn again(&mut self, task: TaskId, index: Option<Index>, states: &[State]) -> Result<u32> {
        let mut moved = 0;
        for state in states {
            moved += self.shift(task, index, Phase::Ended(*state), Phase::Waiting)?;
        }
        if moved > 0 {
            self.tx.run(
                "UPDATE task SET ended_at = NULL, exit_code = (SELECT max(exit_code) FROM member WHERE task_id = ?1 AND state NOT IN ('WAITING', 'STARTING', 'RUNNING', 'HELD')),
                        shell_code = (SELECT max(CASE state WHEN 'TIMEOUT' THEN 124 WHEN 'LOST' THEN 125 WHEN 'CANCELLED' THEN 130
                                                 WHEN 'OUT_OF_MEMORY' THEN 137 ELSE coalesce(exit_code, 128 + signal) END)
                                      FROM member WHERE task_id = ?1 AND state NOT IN ('WAITING', 'STARTING', 'RUNNING', 'HELD')) WHERE id = ?1",
                [task],
            )?;
        }
        Ok(moved)
    }

    /// Writes the counts. Gives the tasks that have ended by this.
    pub fn close(mut self) -> Result<Vec<TaskId>> {
        let mut ended = Vec::new();
        for (task, change) in std::mem::take(&mut self.changes) {
            if self.write(task, &change)? == Some(0) {
                self.tx.run("UPDATE task SET ended_at = ?2, reason = NULL WHERE id = ?1", (task, self.now))?;
                ended.push(task);
            }
        }
        Ok(ended)
    }

    /// Writes the counts of one task. Gives its unended members.
    fn write(&self, task: TaskId, change: &Change) -> Result<Option<u32>> {
        let delta = |get: fn(&Counts) -> u32| i64::from(get(&change.plus)) - i64::from(get(&change.minus));
        self.tx.one(
            "UPDATE task SET waiting = waiting + ?2, held = held + ?3, starting = starting + ?4, running = running + ?5,
                    completed = completed + ?6, failed = failed + ?7, timeout = timeout + ?8, out_of_memory = out_of_memory + ?9,
                    cancelled = cancelled + ?10, skipped = skipped + ?11, lost = lost + ?12,
                    exit_code = CASE WHEN ?13 IS NULL THEN exit_code ELSE max(coalesce(exit_code, 0), ?13) END,
                    shell_code = CASE WHEN ?14 IS NULL THEN shell_code ELSE max(coalesce(shell_code, 0), ?14) END,
                    started_at = coalesce(started_at, ?15)
             WHERE id = ?1 RETURNING waiting + held + starting + running",
            rusqlite::params![
                task,
                delta(|c| c.waiting),
                delta(|c| c.held),
                delta(|c| c.starting),
                delta(|c| c.running),
                delta(|c| c.completed),
                delta(|c| c.failed),
                delta(|c| c.timeout),
                delta(|c| c.out_of_memory),
                delta(|c| c.cancelled),
                delta(|c| c.skipped),
                delta(|c| c.lost),
                change.exit_code,
                change.shell_code,
                change.started_at
            ],
            |row| row.get(0),
        )
    }
}

/// The exit code by which a shell would speak of this end.
const fn shell_code(cause: &Cause) -> u8 {
    match cause {
        Cause::Exited { code } | Cause::NotExecuted { code, .. } => *code,
        Cause::Signalled { signal } => 128u8.saturating_add(*signal),
        Cause::TimeLimit => 124,
        Cause::OutOfMemory => 137,
        Cause::Cancelled => 130,
        Cause::Lost { .. } => 125,
    }
}
