//! Tasks of this home's clients that another home holds, or may hold. `task` has a row for them as for others; here is the rest.

use super::intake::{Begins, NewTask, TierRoute};
use super::ledger::Ledger;
use super::phases::phase;
use super::{Result, Tx, View};
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, TaskId, TaskUuid};
use crate::model::task::{Counts, Phase};
use crate::model::time::Timestamp;
use std::time::Duration;

/// How far a task's way is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwayState {
    /// A home was asked to take it, and has not answered.
    Open {
        /// It was a first tier: it may have passed the task on.
        onward: bool,
        /// The homes that it redirected to, where that was heard.
        among: Option<Vec<HomeId>>,
    },
    /// This home owns it, under this id.
    By { home: HomeId, id: TaskId },
    /// This home has it under this id, or had: it is asked to give the task up (`moving`).
    Moving { home: HomeId, id: TaskId },
}

/// The rest of a task elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    pub task: TaskId,
    pub uuid: TaskUuid,
    pub round: u32,
    /// Who was asked last.
    pub asked: Endpoint,
    /// When the current search asked for the first time.
    pub asked_at: Timestamp,
    pub held: AwayState,
    pub answered_at: Option<Timestamp>,
    /// When it was asked for in vain.
    pub tried_at: Option<Timestamp>,
    pub server: Option<String>,
    pub signal: Option<u8>,
    /// A cancel that the owner has not heard yet, with its grace.
    pub cancel: Option<Duration>,
    /// Its end is recorded, and its owner has not heard that yet.
    pub unconfirmed: bool,
}

impl Away {
    /// Has no home been asked to take it, or has each one that was asked refused?
    pub fn is_unasked(&self) -> bool {
        matches!(self.held, AwayState::Open { .. }) && self.asked == Endpoint::Local
    }
}

/// An end that is recorded, of which its owner has not heard that yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedEnd {
    pub task: TaskId,
    pub home: HomeId,
    /// Who was asked to place the task.
    pub asked: Endpoint,
    pub uuid: TaskUuid,
    pub ended_at: Option<Timestamp>,
}

/// What the owner said last.
#[derive(Debug)]
pub struct Heard<'a> {
    pub counts: &'a Counts,
    pub server: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub exit_code: Option<u8>,
    pub shell_code: Option<u8>,
    pub signal: Option<u8>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// It tells of an end that was not known here.
    pub news: bool,
}

const SELECT: &str = "
    SELECT a.task_id, t.uuid, a.round, a.asked, a.asked_at, a.onward, a.among, a.home, a.remote_id, a.answered_at, a.tried_at, a.server, a.signal, a.cancel, a.unconfirmed
    FROM away a JOIN task t ON t.id = a.task_id ";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Away> {
    let among: Option<String> = row.get(6)?;
    let among: Option<Vec<HomeId>> = among.and_then(|text| serde_json::from_str(&text).ok());
    let held = match (row.get(7)?, row.get(8)?, among.as_deref()) {
        (Some(home), Some(id), _) => AwayState::By { home, id },
        (None, Some(id), Some([home])) => AwayState::Moving { home: *home, id },
        _ => AwayState::Open { onward: row.get(5)?, among },
    };
    Ok(Away {
        task: row.get(0)?,
        uuid: row.get(1)?,
        round: row.get(2)?,
        asked: row.get(3)?,
        asked_at: row.get(4)?,
        held,
        answered_at: row.get(9)?,
        tried_at: row.get(10)?,
        server: row.get(11)?,
        signal: row.get(12)?,
        cancel: row.get::<_, Option<u64>>(13)?.map(Duration::from_millis),
        unconfirmed: row.get(14)?,
    })
}

fn millis(grace: Duration) -> u64 {
    u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)
}

/// A task as it was sealed, to be offered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEnvelope {
    pub sealed: Vec<u8>,
    /// The list of its lines, sealed.
    pub list: Option<Vec<u8>>,
}

/// Who is asked to take a task.
#[derive(Debug)]
pub struct AskedAway<'a> {
    pub sealed: &'a [u8],
    /// The list of its lines, sealed.
    pub list: Option<&'a [u8]>,
    pub round: u32,
    pub asked: &'a Endpoint,
    /// It is a first tier: it may pass the task on.
    pub onward: bool,
}

impl View<'_> {
    /// The rest of a task, if it is elsewhere.
    pub fn away(&self, task: TaskId) -> Result<Option<Away>> {
        self.one(&format!("{SELECT} WHERE a.task_id = ?1"), [task], read)
    }

    /// Is it certain that no home holds this task or was asked to take it? Not where the home that this one was made of may have asked.
    pub fn is_nowhere(&self, task: TaskId) -> Result<bool> {
        let begins = self.begins_at()?;
        Ok(self.away(task)?.is_some_and(|away| away.is_unasked() && away.asked_at >= begins))
    }

    /// What was sealed, to be offered again.
    pub fn sealed(&self, task: TaskId) -> Result<Option<KeptEnvelope>> {
        self.one("SELECT sealed, list FROM away WHERE task_id = ?1", [task], |row| {
            Ok(KeptEnvelope { sealed: row.get(0)?, list: row.get(1)? })
        })
    }

    /// Tasks that no home has confirmed to hold, and tasks with a cancel that the owner has not confirmed.
    pub fn away_open(&self, limit: u32) -> Result<Vec<Away>> {
        let sql = format!(
            "{SELECT} WHERE a.home IS NULL OR a.cancel IS NOT NULL ORDER BY coalesce(a.tried_at, 0), a.task_id LIMIT ?1"
        );
        self.all_readable(&sql, [limit], read)
    }

    /// Tasks that have not ended, as far as this home knows.
    pub fn away_unended(&self, limit: u32) -> Result<Vec<Away>> {
        let sql = format!(
            "{SELECT} WHERE a.home IS NOT NULL AND t.waiting + t.held + t.starting + t.running > 0 ORDER BY a.task_id LIMIT ?1"
        );
        self.all_readable(&sql, [limit], read)
    }

    /// Ends of which their owners have not heard yet that they are recorded here, of the tasks behind this one.
    pub fn away_unconfirmed(&self, after: TaskId, limit: u32) -> Result<Vec<UnconfirmedEnd>> {
        let sql = "SELECT a.task_id, a.home, a.asked, t.uuid, t.ended_at
                   FROM away a INDEXED BY away_unconfirmed JOIN task t ON t.id = a.task_id
                   WHERE a.unconfirmed = 1 AND a.home IS NOT NULL AND a.task_id > ?1 ORDER BY a.task_id LIMIT ?2";
        self.all_readable(sql, (after, limit), |row| {
            let (task, home, asked) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(UnconfirmedEnd { task, home, asked, uuid: row.get(3)?, ended_at: row.get(4)? })
        })
    }
}

impl Tx<'_> {
    /// Before anything is sent: who is asked now. Makes the row, or moves it on to the next one asked. With a new series of rounds,
    /// 1,000 each, a new search begins: all that was asked before has been answered.
    pub fn ask_away(
        &self,
        task: TaskId,
        AskedAway { sealed, list, round, asked, onward }: AskedAway<'_>,
        now: Timestamp,
    ) -> Result<()> {
        self.run(
            "INSERT INTO away (task_id, sealed, round, asked, onward, asked_at, list) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET round = excluded.round, asked = excluded.asked, onward = excluded.onward, among = NULL, remote_id = NULL, tried_at = NULL,
                 asked_at = CASE WHEN away.round / 1000 < excluded.round / 1000 THEN excluded.asked_at ELSE away.asked_at END",
            (task, sealed, round, asked, onward, now, list),
        )?;
        Ok(())
    }

    /// Records the last round of a search in which no member took the task, and perhaps none was asked to.
    pub fn searched_away(&self, task: TaskId, round: u32) -> Result<()> {
        self.run("UPDATE away SET round = max(round, ?2) WHERE task_id = ?1", (task, round))?;
        Ok(())
    }

    /// Records that each home that was asked to take it has refused.
    pub fn refused_away(&self, task: TaskId) -> Result<()> {
        let sql = "UPDATE away SET asked = ?2, onward = 0, among = NULL WHERE task_id = ?1 AND home IS NULL";
        self.run(sql, (task, &Endpoint::Local))?;
        Ok(())
    }

    /// Records the homes to which the first tier redirected before it fell silent.
    pub fn redirected_away(&self, task: TaskId, among: &[HomeId]) -> Result<()> {
        let among = serde_json::to_string(among).unwrap_or_default();
        self.run("UPDATE away SET among = ?2 WHERE task_id = ?1", (task, among))?;
        Ok(())
    }

    /// Records the home that holds it.
    pub fn placed_away(&self, task: TaskId, home: HomeId, id: TaskId, route: TierRoute<'_>) -> Result<()> {
        self.run("UPDATE away SET home = ?2, remote_id = ?3, among = NULL WHERE task_id = ?1", (task, home, id))?;
        self.run("UPDATE task SET tier1 = ?2, tier2 = ?3 WHERE id = ?1", (task, route.tier1, route.tier2))?;
        Ok(())
    }

    /// Records the state that the owner told.
    pub fn heard_away(&self, task: TaskId, heard: &Heard<'_>, now: Timestamp) -> Result<()> {
        let c = heard.counts;
        self.run(
            "UPDATE task SET waiting = ?2, held = ?3, starting = ?4, running = ?5, completed = ?6, failed = ?7, timeout = ?8, out_of_memory = ?9,
                             cancelled = ?10, skipped = ?11, lost = ?12, reason = ?13, exit_code = ?14, shell_code = ?15, started_at = ?16, ended_at = ?17
             WHERE id = ?1",
            rusqlite::params![
                task,
                c.waiting,
                c.held,
                c.starting,
                c.running,
                c.completed,
                c.failed,
                c.timeout,
                c.out_of_memory,
                c.cancelled,
                c.skipped,
                c.lost,
                heard.reason,
                heard.exit_code,
                heard.shell_code,
                heard.started_at,
                heard.ended_at,
            ],
        )?;
        // What has ended needs no cancel; what was started again has no end to confirm.
        self.run(
            "UPDATE away SET server = ?2, signal = ?3, answered_at = ?4, tried_at = NULL, cancel = CASE WHEN ?5 THEN NULL ELSE cancel END,
                             unconfirmed = ?5 AND (?6 OR unconfirmed)
             WHERE task_id = ?1",
            (task, heard.server, heard.signal, now, c.unended() == 0, heard.news),
        )?;
        Ok(())
    }

    /// The owner has heard that this end is recorded.
    pub fn confirmed_away(&self, uuid: TaskUuid, ended_at: Option<Timestamp>) -> Result<()> {
        self.run(
            "UPDATE away SET unconfirmed = 0 WHERE unconfirmed = 1
             AND task_id = (SELECT id FROM task WHERE uuid = ?1 AND ended_at IS ?2)",
            (uuid, ended_at),
        )?;
        Ok(())
    }

    /// Records that the owner did not answer.
    pub fn unheard_away(&self, task: TaskId, now: Timestamp) -> Result<()> {
        self.run("UPDATE away SET tried_at = ?2 WHERE task_id = ?1", (task, now))?;
        Ok(())
    }

    /// Why nothing is heard of it; replaced by what is heard next.
    pub fn set_away_reason(&self, task: TaskId, reason: &str) -> Result<()> {
        self.run("UPDATE task SET reason = ?2 WHERE id = ?1 AND reason IS NOT ?2", (task, reason))?;
        Ok(())
    }

    /// The owner is to be told to cancel it.
    pub fn cancel_away(&self, task: TaskId, grace: Duration) -> Result<()> {
        self.run("UPDATE away SET cancel = ?2 WHERE task_id = ?1", (task, millis(grace)))?;
        Ok(())
    }

    /// The owner was told this. What was asked meanwhile it has still to hear.
    pub fn cancel_told(&self, task: TaskId, grace: Duration) -> Result<()> {
        self.run("UPDATE away SET cancel = NULL WHERE task_id = ?1 AND cancel = ?2", (task, millis(grace)))?;
        Ok(())
    }

    /// Ends a task that no home holds or will hold.
    pub fn cancelled_away(&self, task: TaskId, now: Timestamp) -> Result<()> {
        self.run(
            concat!("UPDATE task SET cancelled = size, waiting = 0, held = 0, starting = 0, running = 0, shell_code = 130, ended_at = ?2,
                             rest_state = ", phase!(cancelled), ", reason = NULL WHERE id = ?1"),
            (task, now),
        )?;
        self.run("DELETE FROM away WHERE task_id = ?1", [task])?;
        Ok(())
    }

    /// Stops asking for a task.
    pub fn forget_away(&self, task: TaskId) -> Result<()> {
        self.run("DELETE FROM away WHERE task_id = ?1", [task])?;
        Ok(())
    }

    /// It never was anywhere: the row goes. Its id is not used again.
    pub fn drop_away(&self, task: TaskId) -> Result<()> {
        self.run("DELETE FROM task WHERE id = ?1 AND id IN (SELECT task_id FROM away WHERE home IS NULL)", [task])?;
        Ok(())
    }

    /// The way led back to this home: what was a client's row becomes a task of this home, under the same id.
    pub fn adopt_away(&self, task: TaskId, new: &NewTask<'_>, now: Timestamp) -> Result<()> {
        let cancel: Option<u64> =
            self.one("SELECT cancel FROM away WHERE task_id = ?1", [task], |row| row.get(0))?.flatten();
        self.run("DELETE FROM away WHERE task_id = ?1", [task])?;
        if let Some(grace) = cancel {
            // Whoever holds it was to be told: that is this home now.
            self.ask_cancel(task, None, Duration::from_millis(grace), now)?;
        }
        // Leave the queue of the old class, change, enter that of the new one: triggers keep both counts.
        let waiting: u32 = self.one("SELECT waiting FROM task WHERE id = ?1", [task], |row| row.get(0))?.unwrap_or(0);
        self.run("UPDATE task SET waiting = 0 WHERE id = ?1", [task])?;
        self.run(
            "UPDATE task SET class_id = ?2, round = ?3, tier1 = ?4, tier2 = ?5, reason = NULL, search = ?6, verdict = ?7, verdict_at = ?8, unmatched = ?9
             WHERE id = ?1",
            (
                task,
                new.class,
                new.round,
                new.route.tier1,
                new.route.tier2,
                new.search.map(|n| n.0),
                new.verdict.map(|n| n.0),
                now,
                new.unmatched,
            ),
        )?;
        self.run("UPDATE task SET waiting = ?2 WHERE id = ?1", (task, waiting))?;
        let mut ledger = Ledger::open(self, now);
        match new.begins {
            Begins::Waiting => {}
            Begins::Held(why) => {
                ledger.shift(task, None, Phase::Waiting, Phase::Held)?;
                self.set_reason(task, Some(why))?;
            }
            Begins::Starting(at) => drop(ledger.claim(task, 1, at, &|_| true)?),
        }
        ledger.close()?;
        Ok(())
    }
}
