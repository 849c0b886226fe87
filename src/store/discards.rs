//! Outputs and files on servers that are not needed any more: recorded until the agents there have confirmed.

use super::columns::json;
use super::members::Outputs;
use super::{Result, Tx, View};
use crate::model::attempt::Cut;
use crate::model::id::{AttemptId, AttemptKey, MachineId, ServerId, TaskId};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;

/// Long outputs and files of one server's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftThere {
    pub server: String,
    pub attempts: u64,
    pub bytes: Bytes,
}

/// An attempt that a server has still to be told to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discard {
    /// The server that it ran on.
    pub host: ServerId,
    pub attempt: AttemptId,
    /// The machine that has it; None: this host, or one that was not kept.
    pub machine: Option<MachineId>,
}

/// Ended tasks that ended before `?1`, and the ended task `?1`.
const OLD: &str = "t.waiting + t.held + t.starting + t.running = 0 AND t.ended_at < ?1";
const ONE: &str = "t.waiting + t.held + t.starting + t.running = 0 AND t.id = ?1";

/// Bytes that are still there of the outputs of a member `m`.
pub(super) const BYTES_KEPT: &str = "coalesce(m.out_len, 0) + coalesce(m.err_len, 0)
                - coalesce(m.cut ->> '$.max_output.out.to' - m.cut ->> '$.max_output.out.from', 0)
                - coalesce(m.cut ->> '$.max_output.err.to' - m.cut ->> '$.max_output.err.from', 0)";

/// Attempts of `which` tasks with outputs or files on a server: its id, which attempt, bytes of its outputs, the machine where that is known.
fn there(which: &str) -> String {
    format!(
        "SELECT m.host_id, t.uuid, m.idx, m.number, {BYTES_KEPT} AS bytes, m.machine_id
         FROM member m INDEXED BY member_there JOIN task t ON t.id = m.task_id WHERE m.home_out = 2 AND {which}
         UNION ALL
         SELECT a.host_id, t.uuid, a.idx, a.number, 0, a.machine_id
         FROM attempt a INDEXED BY attempt_there JOIN task t ON t.id = a.task_id WHERE a.home_out = 2 AND {which}
         UNION ALL
         SELECT m.host_id, t.uuid, m.idx, m.number, 0, m.machine_id
         FROM fetched f JOIN task t ON t.id = f.task_id JOIN member m ON m.task_id = f.task_id AND m.idx = f.idx AND m.number = f.number
         WHERE f.error IS NOT NULL AND m.home_out <> 2 AND {which}"
    )
}

impl View<'_> {
    /// Attempts that servers have still to be told to drop.
    pub fn discards(&self) -> Result<Vec<Discard>> {
        self.all("SELECT host_id, uuid, idx, number, machine_id FROM discard", [], |row| {
            let attempt = AttemptId { task: row.get(1)?, index: row.get(2)?, number: row.get(3)? };
            Ok(Discard { host: row.get(0)?, attempt, machine: row.get(4)? })
        })
    }

    /// How many attempts each server has still to drop.
    pub fn count_discards(&self) -> Result<Vec<LeftThere>> {
        self.count_there("discard", [])
    }

    /// What servers keep of tasks that ended before, by server.
    pub fn there_before(&self, before: Timestamp) -> Result<Vec<LeftThere>> {
        self.count_there(&format!("({})", there(OLD)), [before])
    }

    fn count_there(&self, rows: &str, params: impl rusqlite::Params) -> Result<Vec<LeftThere>> {
        let sql = format!(
            "SELECT s.name, count(*), sum(x.bytes) FROM {rows} x JOIN server s ON s.id = x.host_id GROUP BY s.name ORDER BY s.name"
        );
        self.all(&sql, params, |row| Ok(LeftThere { server: row.get(0)?, attempts: row.get(1)?, bytes: row.get(2)? }))
    }

    /// The server that an attempt was given to, and the one that it ran on.
    pub fn place_of(&self, AttemptKey { task, index, number }: AttemptKey) -> Result<Option<(ServerId, ServerId)>> {
        let place = self.one(
            "SELECT server_id, host_id FROM member WHERE task_id = ?1 AND idx = ?2 AND number = ?3
             UNION ALL SELECT server_id, host_id FROM attempt WHERE task_id = ?1 AND idx = ?2 AND number = ?3",
            (task, index, number),
            |row| Ok((row.get::<_, Option<ServerId>>(0)?, row.get::<_, Option<ServerId>>(1)?)),
        )?;
        Ok(place.and_then(|(server, host)| server.zip(host)))
    }

    /// Are the outputs of an attempt on its server?
    pub fn outputs_stay_there(&self, key: AttemptKey) -> Result<bool> {
        Ok(self.outputs_of(key)?.0)
    }

    /// Whether the outputs of an attempt are on its server, and why they are not whole.
    pub fn outputs_of(&self, AttemptKey { task, index, number }: AttemptKey) -> Result<(bool, Option<Cut>)> {
        let found = self.one(
            "SELECT home_out, cut FROM member WHERE task_id = ?1 AND idx = ?2 AND number = ?3
             UNION ALL SELECT home_out, cut FROM attempt WHERE task_id = ?1 AND idx = ?2 AND number = ?3",
            (task, index, number),
            |row| {
                let cut = row.get::<_, Option<String>>(1)?.map(|text| json(&text)).transpose()?;
                Ok((row.get::<_, Outputs>(0)? == Outputs::Server, cut))
            },
        )?;
        Ok(found.unwrap_or_default())
    }
}

impl Tx<'_> {
    /// Records that servers drop what they keep of tasks that ended before; it can't be read from here any more.
    pub fn discard_before(&self, before: Timestamp) -> Result<()> {
        self.discard(OLD, &before)
    }

    /// Records that servers drop what they keep of one ended task.
    pub fn discard_of(&self, task: TaskId) -> Result<()> {
        self.discard(ONE, &task)
    }

    fn discard(&self, which: &str, of: &dyn rusqlite::ToSql) -> Result<()> {
        let there = there(which);
        self.run(
            &format!(
                "INSERT OR IGNORE INTO discard (host_id, uuid, idx, number, bytes, machine_id)
                 SELECT x.host_id, x.uuid, x.idx, x.number, x.bytes, x.machine_id FROM ({there}) x JOIN server s ON s.id = x.host_id"
            ),
            [of],
        )?;
        let tasks = format!("task_id IN (SELECT id FROM task t WHERE {which})");
        self.run(&format!("UPDATE member SET home_out = 0 WHERE home_out = 2 AND {tasks}"), [of])?;
        self.run(&format!("UPDATE attempt SET home_out = 0 WHERE home_out = 2 AND {tasks}"), [of])?;
        self.run(&format!("DELETE FROM fetched WHERE error IS NOT NULL AND {tasks}"), [of])?;
        Ok(())
    }

    /// The agent on their server has heard that these may go.
    pub fn discarded(&self, heard: &[Discard]) -> Result<()> {
        for Discard { host, attempt, .. } in heard {
            let sql = "DELETE FROM discard WHERE host_id = ?1 AND uuid = ?2 AND idx = ?3 AND number = ?4";
            self.run(sql, (*host, attempt.task, attempt.index, attempt.number))?;
        }
        Ok(())
    }
}
