//! Every change of a member's phase goes through a [`Ledger`], which keeps the task's counts true; but a single task that starts as
//! it is taken in has them right from the beginning ([`Begins::Starting`](super::intake::Begins)).

use super::ends::Ends;
use super::phases::{phase, unended};
use super::placing::Placing;
use super::{Result, Tx};
use crate::model::id::{AttemptKey, Index, TaskId};
use crate::model::task::{Counts, EndState, Phase};
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

/// The changes of counts in one transaction, written once for each task by [`Ledger::close`].
pub struct Ledger<'t, 'c> {
    pub(super) tx: &'t Tx<'c>,
    now: Timestamp,
    pub(super) changes: BTreeMap<TaskId, CountChange>,
    pub(super) ends: Option<Ends<'c>>,
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
    pub(super) exit_code: Option<u8>,
    pub(super) shell_code: Option<u8>,
    pub(super) started_at: Option<Timestamp>,
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
    pub(super) fn archive(&self, task: TaskId, index: Option<Index>, now_in: Phase, ended: EndState) -> Result<()> {
        self.tx.run(
            "INSERT OR REPLACE INTO attempt (task_id, idx, number, state, server_id, host_id, started_at, ended_at, exit_code, signal, detail, home_out, cut, machine_id)
             SELECT task_id, idx, number, ?4, server_id, host_id, started_at, ended_at, exit_code, signal, detail, home_out, cut, machine_id
             FROM member WHERE task_id = ?1 AND (?2 IS NULL OR idx = ?2) AND state = ?3 AND number > 0",
            (task, index, now_in, ended),
        )?;
        Ok(())
    }

    /// The command of an attempt runs. False if this is not news.
    pub fn began(&mut self, AttemptKey { task, index, number }: AttemptKey, at: Timestamp) -> Result<bool> {
        let news = self.tx.run(
            concat!(
                "UPDATE member SET state = ",
                phase!(running),
                ", started_at = ?4 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = ",
                phase!(starting)
            ),
            (task, index, number, at),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Running, 1);
            self.changes.entry(task).or_default().started_at.get_or_insert(at);
        }
        Ok(news)
    }

    /// An attempt never began: the member waits again, and the attempt's number is free again. False if this is not news.
    pub fn unplaced(&mut self, AttemptKey { task, index, number }: AttemptKey) -> Result<bool> {
        let news = self.tx.run(
            concat!("UPDATE member SET state = ", phase!(waiting), ", number = number - 1, lane = NULL, sent = 0 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = ", phase!(starting)),
            (task, index, number),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Waiting, 1);
        }
        Ok(news)
    }

    /// Holds a member whose attempt is from before a backup, for it is unknown whether that ran to its end. The attempt becomes a
    /// past one. False if this is not news.
    pub fn held_back(
        &mut self,
        AttemptKey { task, index, number }: AttemptKey,
        running: bool,
        why: &str,
    ) -> Result<bool> {
        let from = if running { Phase::Running } else { Phase::Starting };
        let news = self.tx.run(
            concat!(
                "UPDATE member SET state = ",
                phase!(held),
                ", detail = ?5 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = ?4"
            ),
            (task, index, number, from, why),
        )? > 0;
        if news {
            self.archive(task, Some(index), Phase::Held, EndState::Lost)?;
            self.count(task, from, Phase::Held, 1);
        }
        Ok(news)
    }

    /// Holds a task of which a part can't be read: its waiting members, and members that a server has and that could not be started
    /// again or followed. It is unknown whether those attempts ran: they become past ones. Gives the number of members.
    pub(super) fn hold_unreadable(&mut self, task: TaskId) -> Result<u32> {
        let mut moved = self.shift(task, None, Phase::Waiting, Phase::Held)?;
        let followed = self.tx.live_strictly(task).is_ok();
        let lying = if followed { &[Phase::Starting][..] } else { &[Phase::Starting, Phase::Running] };
        for from in lying {
            self.tx
                .run(
                    concat!(
                        "UPDATE member SET state = ",
                        phase!(held),
                        ", lane = NULL, detail = 'its row can''t be read: whether it ran is not known'
                 WHERE task_id = ?1 AND state = ?2"
                    ),
                    (task, from),
                )
                .and_then(|rows| {
                    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
                    if rows > 0 {
                        self.archive(task, None, Phase::Held, EndState::Lost)?;
                        self.count(task, *from, Phase::Held, rows);
                    }
                    moved += rows;
                    Ok(())
                })?;
        }
        Ok(moved)
    }

    /// Moves a held member to the server that has it, in an attempt that the backup did not know. False if it is not held, or has
    /// had that attempt.
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
            concat!(
                "UPDATE member SET state = ",
                phase!(cancelled),
                ", ended_at = ?4 WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state = ",
                phase!(starting)
            ),
            (task, index, number, self.now),
        )? > 0;
        if news {
            self.count(task, Phase::Starting, Phase::Ended(EndState::Cancelled), 1);
            let change = self.changes.entry(task).or_default();
            change.shell_code = change.shell_code.max(Some(130));
        }
        Ok(news)
    }

    /// Moves the members of a task (or one of them) that no server has from one phase to another: hold, release, cancel, retry. Gives
    /// the number of members moved.
    pub fn shift(&mut self, task: TaskId, index: Option<Index>, from: Phase, to: Phase) -> Result<u32> {
        let ended_at = matches!(to, Phase::Ended(_)).then_some(self.now);
        let mut moved = match index {
            None => {
                let rest: Option<u32> = self.tx.one(
                    "SELECT rest FROM task WHERE id = ?1 AND rest_state = ?2 AND rest > 0",
                    (task, from),
                    |row| Ok(u32::try_from(row.get::<_, i64>(0)?).unwrap_or(u32::MAX)),
                )?;
                if rest.is_some() {
                    self.tx.run("UPDATE task SET rest_state = ?2 WHERE id = ?1", (task, to))?;
                }
                let rows = self.tx.run(
                    "UPDATE member SET state = ?3, ended_at = coalesce(?4, ended_at) WHERE task_id = ?1 AND state = ?2",
                    (task, from, to, ended_at),
                )?;
                rest.unwrap_or(0).saturating_add(u32::try_from(rows).unwrap_or(u32::MAX))
            }
            Some(index) => {
                let rows = self.tx.run(
                    "UPDATE member SET state = ?4, ended_at = coalesce(?5, ended_at) WHERE task_id = ?1 AND idx = ?2 AND state = ?3",
                    (task, index, from, to, ended_at),
                )?;
                u32::try_from(rows).unwrap_or(1)
            }
        };
        if let (Some(index), 0) = (index, moved) {
            moved = self.split_off(task, index, from, to, ended_at)?;
        }
        if moved > 0 {
            self.count(task, from, to, moved);
            if to == Phase::Ended(EndState::Cancelled) {
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
        let implied =
            row.rest_phase == from && row.shape.position_of(index, row.size).is_some_and(|p| p >= row.rest_next);
        if !implied || row.rest == 0 || self.tx.member(task, index)?.is_some() {
            return Ok(0);
        }
        self.tx.run(
            "INSERT INTO member (task_id, idx, state, number, ended_at) VALUES (?1, ?2, ?3, 0, ?4)",
            (task, index, to, ended_at),
        )?;
        self.tx.run("UPDATE task SET rest = rest - 1 WHERE id = ?1", [task])?;
        Ok(1)
    }

    /// Makes members wait again that ended in these states: `grid retry`. Gives their number.
    pub fn again(&mut self, task: TaskId, index: Option<Index>, states: &[EndState]) -> Result<u32> {
        let mut moved = 0;
        for state in states {
            self.archive(task, index, Phase::Ended(*state), *state)?;
            moved += self.shift(task, index, Phase::Ended(*state), Phase::Waiting)?;
        }
        if moved > 0 {
            self.tx.run(
                concat!("UPDATE task SET ended_at = NULL, exit_code = (SELECT max(exit_code) FROM member WHERE task_id = ?1 AND state NOT IN ", unended!(), "),
                        shell_code = (SELECT max(CASE state WHEN ", phase!(timeout), " THEN 124 WHEN ", phase!(lost), " THEN 125 WHEN ", phase!(cancelled), " THEN 130
                                                 WHEN ", phase!(out_of_memory), " THEN 137 ELSE coalesce(exit_code, 128 + signal) END)
                                      FROM member WHERE task_id = ?1 AND state NOT IN ", unended!(), ") WHERE id = ?1"),
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
