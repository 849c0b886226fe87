//! Giving waiting members to servers: the claim of the dispatcher, and of a submit that finds room at once.

use super::columns::epoch_column;
use super::ledger::Ledger;
use super::phases::{idle, phase};
use super::tasks::Shape;
use super::trace::NoteId;
use super::{Result, Tx, View};
use crate::model::command::Text;
use crate::model::id::{AttemptKey, BootId, Epoch, Index, LaneId, MachineId, MemberKey, ServerId, TaskId};
use crate::model::task::Phase;
use rusqlite::CachedStatement;

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
    /// The machine that it is sent to; None: this host, or it is not sent yet.
    pub machine: Option<MachineId>,
    pub lane: LaneId,
    /// The dispatcher that sent it; None: it is still to be sent.
    pub sent: Option<Epoch>,
    pub verdict: Option<NoteId>,
}

/// A member's first attempt.
const FIRST: &str = concat!(
    "INSERT INTO member (task_id, idx, state, number, server_id, host_id, lane, boot_id, sent, verdict, machine_id)
    VALUES (?1, ?2, ",
    phase!(starting),
    ", 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT DO UPDATE SET state = ",
    phase!(starting),
    ", number = 1, server_id = excluded.server_id, host_id = excluded.host_id,
    lane = excluded.lane, boot_id = excluded.boot_id, sent = excluded.sent, verdict = excluded.verdict,
    machine_id = excluded.machine_id
    WHERE state = ",
    phase!(waiting)
);

impl Ledger<'_, '_> {
    /// Gives up to `limit` waiting members of a task to a lane: first those that wait again and may go there, then those that never
    /// had an attempt.
    pub fn claim(
        &mut self,
        task: TaskId,
        limit: u32,
        at: &Placing,
        may_go: &dyn Fn(Index) -> bool,
    ) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        for (index, number) in self.tx.waiting_again(task, limit, may_go)? {
            self.tx.place(AttemptKey { task, index, number: number + 1 }, at)?;
            claimed.push(Claimed { index, number: number + 1, entry: self.tx.entry(task, index)? });
        }
        let again = u32::try_from(claimed.len()).unwrap_or(limit);
        if again > 0 {
            self.count(task, Phase::Waiting, Phase::Starting, again);
        }
        // At once: the next look at the queue has to see it.
        if let Some(change) = self.changes.remove(&task) {
            self.write(task, &change)?;
        }
        if again < limit {
            self.claim_rest(task, limit - again, at, &mut claimed)?;
        }
        Ok(claimed)
    }

    /// Members without a row of their own; they and the task's counts are one write.
    fn claim_rest(&self, task: TaskId, limit: u32, at: &Placing, claimed: &mut Vec<Claimed>) -> Result<()> {
        let found = self.tx.one(
            concat!(
                "SELECT shape, first, step, size, rest, rest_next FROM task WHERE id = ?1 AND rest_state = ",
                phase!(waiting),
                " AND rest > 0"
            ),
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
        let (mut taken, mut first) = (0, self.tx.prepare(FIRST)?);
        while taken < limit.min(rest) && next < size {
            let index = shape.index_at(next);
            next += 1;
            // A member that was cancelled by itself has a row already and is passed over.
            if self.tx.place_first(&mut first, MemberKey { task, index }, at)? {
                let entry = if shape == Shape::Lines { self.tx.entry(task, index)? } else { None };
                claimed.push(Claimed { index, number: 1, entry });
                taken += 1;
            }
        }
        self.tx.run(
            "UPDATE task SET rest = rest - ?2, rest_next = ?3, waiting = waiting - ?2, starting = starting + ?2 WHERE id = ?1",
            (task, taken, next),
        )?;
        Ok(())
    }
}

impl View<'_> {
    /// Members of a task that wait again and that are wanted, at most `limit`, each with the number of its last attempt.
    pub fn waiting_again(&self, task: TaskId, limit: u32, wanted: &dyn Fn(Index) -> bool) -> Result<Vec<(Index, u32)>> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT idx, number FROM member INDEXED BY member_again WHERE task_id = ?1 AND state = ",
            phase!(waiting),
            " AND state IN ",
            idle!(),
            " ORDER BY idx"
        ))?;
        let (mut rows, mut found) = (select.query([task])?, Vec::new());
        while found.len() < limit as usize
            && let Some(row) = rows.next()?
        {
            let index = row.get(0)?;
            if wanted(index) {
                found.push((index, row.get(1)?));
            }
        }
        Ok(found)
    }
}

impl Tx<'_> {
    /// Writes the attempt; false if it is the first one and the member has a row already.
    pub(super) fn place(&self, key: AttemptKey, at: &Placing) -> Result<bool> {
        let AttemptKey { task, index, number } = key;
        let written = if number == 1 {
            self.place_first(&mut self.prepare(FIRST)?, key.member(), at)?
        } else {
            self.run(
                concat!("UPDATE member SET state = ", phase!(starting), ", number = ?3, server_id = ?4, host_id = ?5, lane = ?6, boot_id = ?7, sent = ?8, verdict = ?9,
                        orphaned = 0, started_at = NULL, ended_at = NULL, exit_code = NULL, signal = NULL, detail = NULL, cpu_ms = NULL,
                        max_rss = NULL, out_len = NULL, err_len = NULL, home_out = 0, cut = NULL,
                        machine_id = ?10
                 WHERE task_id = ?1 AND idx = ?2"),
                (task, index, number, at.server, at.host, at.lane, &at.boot, epoch_column(at.sent), at.verdict.map(|n| n.0), at.machine),
            )? > 0
        };
        Ok(written)
    }

    /// Writes a first attempt; false if the member has a row already.
    fn place_first(
        &self,
        first: &mut CachedStatement<'_>,
        MemberKey { task, index }: MemberKey,
        at: &Placing,
    ) -> Result<bool> {
        let verdict = at.verdict.map(|n| n.0);
        let row = (task, index, at.server, at.host, at.lane, &at.boot, epoch_column(at.sent), verdict, at.machine);
        Ok(first.execute(row)? > 0)
    }
}
