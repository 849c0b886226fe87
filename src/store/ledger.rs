//! Every change of a member's phase goes through a [`Ledger`], which keeps the task's counts true; but a single task that starts as
//! it is taken in has them right from the beginning ([`Begins::Starting`](super::intake::Begins)).

use super::members::Outputs;
use super::placing::Placing;
use super::{Result, Tx};
use crate::model::attempt::{Cause, End};
use crate::model::clock::STEP;
use crate::model::id::{AttemptKey, Index, TaskId};
use crate::model::task::{Counts, Phase, State};
use crate::model::time::Timestamp;
use rusqlite::{CachedStatement, OptionalExtension};
use std::collections::BTreeMap;

/// The changes of counts in one transaction, written once for each task by [`Ledger::close`].
pub struct Ledger<'t, 'c> {
    pub(super) tx: &'t Tx<'c>,
    now: Timestamp,
    pub(super) changes: BTreeMap<TaskId, CountChange>,
    ends: Option<Ends<'c>>,
}

/// What each of many ends executes.
struct Ends<'c> {
    was: CachedStatement<'c>,
    write: CachedStatement<'c>,
}

impl<'c> Ends<'c> {
    fn prepare(tx: &Tx<'c>) -> Result<Self> {
        let was = tx.prepare(
            "SELECT state, started_at FROM member
             WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state IN ('STARTING', 'RUNNING')",
        )?;
        let write = tx.prepare(
            "UPDATE member SET state = ?3, started_at = coalesce(?4, started_at), ended_at = ?5, exit_code = ?6, signal = ?7, detail = ?8,
             cpu_ms = ?9, max_rss = ?10, out_len = ?11, err_len = ?12, home_out = ?13, cut = ?14
             WHERE task_id = ?1 AND idx = ?2",
        )?;
        Ok(Self { was, write })
    }
}

impl std::fmt::Debug for Ledger<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("now", &self.now).field("changes", &self.changes).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct CountChange {
    plus: Counts,
    minus: Counts,
    exit_code: Option<u8>,
    shell_code: Option<u8>,
    started_at: Option<Timestamp>,
}

impl<'t, 'c> Ledger<'t, 'c> {
    /// Opens the ledger of a transaction.
    pub fn open(tx: &'t Tx<'c>, now: Timestamp) -> Self {
        Self { tx, now, changes: BTreeMap::new(), ends: None }
    }

    pub(super) fn count(&mut self, task: TaskId, from: Phase, to: Phase, members: u32) {
        let change = self.changes.entry(task).or_default();
        *change.minus.phase_mut(from) += members;
        *change.plus.phase_mut(to) += members;
    }

    /// Keeps the last attempts of members among the past ones, with how they ended.
    fn archive(&self, task: TaskId, index: Option<Index>, now_in: Phase, ended: State) -> Result<()> {
        self.tx.run(
            "INSERT OR REPLACE INTO attempt (task_id, idx, number, state, server_id, host_id, started_at, ended_at, exit_code, signal, detail, home_out, cut, machine_id)
             SELECT task_id, idx, number, ?4, server_id, host_id, started_at, ended_at, exit_code, signal, detail, home_out, cut, machine_id
             FROM member WHERE task_id = ?1 AND (?2 IS NULL OR idx = ?2) AND state = ?3 AND number > 0",
            (task, index, now_in.word(), ended),
        )?;
        Ok(())
    }

    /// The command of an attempt runs. False if this is not news.
    pub fn began(&mut self, AttemptKey { task, index, number }: AttemptKey, at: Timestamp) -> Result<bool> {
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
        AttemptKey { task, index, number }: AttemptKey,
        end: &End,
        outputs: Outputs,
        again: bool,
    ) -> Result<bool> {
        let to = if again { Phase::Waiting } else { Phase::Ended(end.cause.state()) };
        let detail = match &end.cause {
            Cause::NotExecuted { error, .. } => Some(error.as_str()),
            Cause::Lost { why } => Some(why.as_str()),
            Cause::TimeLimit => Some("ended at its time limit"),
            Cause::OutOfMemory => Some("ended for it used more than its --mem"),
            _ => None,
        };
        let home_out = match outputs {
            Outputs::Database => 0,
            Outputs::Spool => 1,
            Outputs::Server => 2,
        };
        let cut = end.cut.and_then(|cut| serde_json::to_string(&cut).ok());
        let mut ends = self.ends.take().map_or_else(|| Ends::prepare(self.tx), Ok)?;
        let was: Option<(String, Option<Timestamp>)> =
            ends.was.query_row((task, index, number), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (from, begun) = match was {
            Some((state, begun)) if state == "RUNNING" => (Phase::Running, begun),
            Some(_) => (Phase::Starting, None),
            None => return Ok(false),
        };
        let (started_at, ended_at) = as_begun(end, begun);
        ends.write.execute(rusqlite::params![
            task,
            index,
            to.word(),
            started_at,
            ended_at,
            end.cause.exit_code(),
            end.cause.signal(),
            detail,
            end.usage.cpu_ms,
            end.usage.max_rss,
            end.out_len,
            end.err_len,
            home_out,
            cut
        ])?;
        self.ends = Some(ends);
        if again {
            self.archive(task, Some(index), Phase::Waiting, end.cause.state())?;
        }
        self.count(task, from, to, 1);
        let change = self.changes.entry(task).or_default();
        if let Some(at) = started_at {
            change.started_at.get_or_insert(at);
        }
        if !again {
            change.exit_code = change.exit_code.max(end.cause.exit_code());
            change.shell_code = change.shell_code.max(Some(shell_code(&end.cause)));
        }
        Ok(true)
    }

    /// An attempt never began: the member waits again, and the attempt's number is free again. False if this is not news.
    pub fn unplaced(&mut self, AttemptKey { task, index, number }: AttemptKey) -> Result<bool> {
        let news = self.tx.run(
            "UPDATE member SET state = 'WAITING', number = number - 1, lane = NULL, sent = 0 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = 'STARTING'",
            (task, index, number),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Waiting, 1);
        }
        Ok(news)
    }

    /// Whether an attempt from before a backup ran to its end is known to nobody: the member is held, the attempt is a past
    /// one. False if this is not news.
    pub fn held_back(
        &mut self,
        AttemptKey { task, index, number }: AttemptKey,
        running: bool,
        why: &str,
    ) -> Result<bool> {
        let from = if running { Phase::Running } else { Phase::Starting };
        let news = self.tx.run(
            "UPDATE member SET state = 'HELD', detail = ?5 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = ?4",
            (task, index, number, from.word(), why),
        )? > 0;
        if news {
            self.archive(task, Some(index), Phase::Held, State::Lost)?;
            self.count(task, from, Phase::Held, 1);
        }
        Ok(news)
    }

    /// Holds a task of which a part can't be read: what waits, and what lies with a server and could not be started again or
    /// followed. Whether that ran is known to nobody: the attempt is a past one. Gives the number of members.
    pub(super) fn hold_unreadable(&mut self, task: TaskId) -> Result<u32> {
        let mut moved = self.shift(task, None, Phase::Waiting, Phase::Held)?;
        let followed = self.tx.live_strictly(task).is_ok();
        let lying = if followed { &[Phase::Starting][..] } else { &[Phase::Starting, Phase::Running] };
        for from in lying {
            self.tx.run(
                "UPDATE member SET state = 'HELD', lane = NULL, detail = 'its row can''t be read: whether it ran is not known'
                 WHERE task_id = ?1 AND state = ?2",
                (task, from.word()),
            )
            .and_then(|rows| {
                let rows = u32::try_from(rows).unwrap_or(u32::MAX);
                if rows > 0 {
                    self.archive(task, None, Phase::Held, State::Lost)?;
                    self.count(task, *from, Phase::Held, rows);
                }
                moved += rows;
                Ok(())
            })?;
        }
        Ok(moved)
    }

    /// A held member turns out to lie with a server, in an attempt that the backup did not know. False if it is not held, or
    /// has had that attempt.
    pub fn taken_up(&mut self, AttemptKey { task, index, number }: AttemptKey, at: &Placing) -> Result<bool> {
        let newest = self.tx.member(task, index)?.map_or(0, |member| member.number);
        if number <= newest || self.shift(task, Some(index), Phase::Held, Phase::Starting)? == 0 {
            return Ok(false);
        }
        self.tx.place(AttemptKey { task, index, number: number.max(2) }, at)?;
        self.tx.run("UPDATE member SET number = ?3 WHERE task_id = ?1 AND idx = ?2", (task, index, number))?;
        Ok(true)
    }

    /// A member that never began ends CANCELLED: the server has a tombstone, or no start was ever sent.
    pub fn cancelled(&mut self, AttemptKey { task, index, number }: AttemptKey) -> Result<bool> {
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
                    |row| Ok(u32::try_from(row.get::<_, i64>(0)?).unwrap_or(u32::MAX)),
                )?;
                if rest.is_some() {
                    self.tx.run("UPDATE task SET rest_state = ?2 WHERE id = ?1", (task, to.word()))?;
                }
                let rows = self.tx.run(
                    "UPDATE member SET state = ?3, ended_at = coalesce(?4, ended_at) WHERE task_id = ?1 AND state = ?2",
                    (task, from.word(), to.word(), ended_at),
                )?;
                rest.unwrap_or(0).saturating_add(u32::try_from(rows).unwrap_or(u32::MAX))
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
            self.archive(task, index, Phase::Ended(*state), *state)?;
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
    pub fn close(&mut self) -> Result<Vec<TaskId>> {
        let mut ended = Vec::new();
        for (task, change) in std::mem::take(&mut self.changes) {
            self.write(task, &change)?;
            // One that ran while nobody heard of it ended when it did. Of many members the last end that was heard counts.
            let has_ended = self.tx.run(
                "UPDATE task SET reason = NULL, ended_at = coalesce(CASE size WHEN 1 THEN (SELECT ended_at FROM member WHERE task_id = ?1) END, ?2)
                 WHERE id = ?1 AND waiting + held + starting + running = 0",
                (task, self.now),
            )? > 0;
            if has_ended {
                ended.push(task);
            }
        }
        Ok(ended)
    }

    /// Writes the counts of one task.
    pub(super) fn write(&self, task: TaskId, change: &CountChange) -> Result<()> {
        let delta = |get: fn(&Counts) -> u32| i64::from(get(&change.plus)) - i64::from(get(&change.minus));
        self.tx.run(
            "UPDATE task SET waiting = waiting + ?2, held = held + ?3, starting = starting + ?4, running = running + ?5,
                    completed = completed + ?6, failed = failed + ?7, timeout = timeout + ?8, out_of_memory = out_of_memory + ?9,
                    cancelled = cancelled + ?10,
                    exit_code = CASE WHEN ?11 IS NULL THEN exit_code ELSE max(coalesce(exit_code, 0), ?11) END,
                    shell_code = CASE WHEN ?12 IS NULL THEN shell_code ELSE max(coalesce(shell_code, 0), ?12) END,
                    started_at = coalesce(started_at, ?13)
             WHERE id = ?1",
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
                change.exit_code,
                change.shell_code,
                change.started_at
            ],
        )?;
        // Seldom, and dear: see their trigger.
        let (skipped, lost) = (delta(|c| c.skipped), delta(|c| c.lost));
        if (skipped, lost) != (0, 0) {
            let seldom = "UPDATE task SET skipped = skipped + ?2, lost = lost + ?3 WHERE id = ?1";
            self.tx.run(seldom, (task, skipped, lost))?;
        }
        Ok(())
    }
}

/// When an attempt began and ended. A begin that was moved when the wall clock was set takes the end with it: by the clock of before, it
/// could be as old as what `gc` removes.
fn as_begun(end: &End, begun: Option<Timestamp>) -> (Option<Timestamp>, Timestamp) {
    let moved = begun.zip(end.started_at).map_or(0, |(row, own)| row.0.saturating_sub(own.0));
    if moved.unsigned_abs() <= STEP {
        return (end.started_at, end.ended_at);
    }
    (begun, Timestamp(end.ended_at.0.saturating_add(moved)))
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
