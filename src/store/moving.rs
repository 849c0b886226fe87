//! A task that moves to another home: its owner gives it up, and its client's home looks for a new one.

use super::away::{Away, AwayState};
use super::phases::phase;
use super::tasks::{Shape, TaskRow};
use super::{Result, Tx, View};
use crate::model::demand::Demand;
use crate::model::id::{ClassId, HomeId, TaskId};
use crate::model::task::{ClientFacts, Members, Request};
use std::fmt;
use std::time::Duration;

/// Why a task stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StayReason {
    Ended,
    /// A member is on a server, or has ended.
    Begun,
    /// It waits again: an earlier attempt of it ran.
    Ran,
    Held,
    /// Its client still sends its files.
    AwaitsFiles,
}

impl fmt::Display for StayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it has ended",
            Self::Begun => "it has begun, or some of its members have begun or ended",
            Self::Ran => "an attempt of it has run there",
            Self::Held => "it is held; `grid release` it first",
            Self::AwaitsFiles => "its files are still on their way there",
        })
    }
}

impl TaskRow {
    /// Why a task stays, as far as its row tells. Of a task in another home its owner knows more.
    pub fn why_stays(&self) -> Option<StayReason> {
        let (waiting, held) = (self.counts.waiting, self.counts.held);
        if self.counts.unended() == 0 {
            Some(StayReason::Ended)
        } else if waiting + held != self.size {
            Some(StayReason::Begun)
        } else if self.started_at.is_some() {
            Some(StayReason::Ran)
        } else {
            (held > 0 && (waiting > 0 || self.is_held_by_user())).then_some(StayReason::Held)
        }
    }
}

impl View<'_> {
    /// Why a task of this home is not given up. None: all of it waits for a server, and nothing of it ever started.
    pub fn why_stays(&self, task: TaskId) -> Result<Option<StayReason>> {
        let Some(row) = self.task(task)? else { return Ok(Some(StayReason::Ended)) };
        let why = row.why_stays();
        if why.is_some_and(|why| why != StayReason::Held) {
            return Ok(why);
        }
        let ran = "SELECT 1 FROM member WHERE task_id = ?1 AND number > 0 UNION ALL SELECT 1 FROM attempt WHERE task_id = ?1 LIMIT 1";
        if self.one(ran, [task], |_| Ok(()))?.is_some() {
            return Ok(Some(StayReason::Ran));
        }
        if self.awaits_files(task)? {
            return Ok(Some(StayReason::AwaitsFiles));
        }
        // What no server here could ever run waits for another one.
        let unmatched = self.is_unmatched(task)?;
        Ok(why.or((row.counts.held > 0 && !unmatched).then_some(StayReason::Held)))
    }

    /// A task of this home as it would be submitted now.
    pub fn request_of(&self, row: &TaskRow) -> Result<Option<Request>> {
        let (Some(launch), Some(class)) = (self.launch(row.id)?, self.class(row.class)?) else { return Ok(None) };
        let Some(client) = self.client_by_id(class.client)? else { return Ok(None) };
        let members = match row.shape {
            Shape::Single => Members::Single,
            Shape::Array { first, step } => Members::Range { first, step, count: row.size, at_once: row.at_once },
            Shape::Lines => {
                let lines = "SELECT line FROM entry WHERE task_id = ?1 ORDER BY idx";
                Members::Lines { lines: self.all(lines, [row.id], |row| row.get(0))?, at_once: row.at_once }
            }
        };
        let rest = "SELECT lost_after, unmatched FROM task WHERE id = ?1";
        let rest = self.one(rest, [row.id], |row| Ok((row.get::<_, Option<u64>>(0)?, row.get(1)?)))?;
        let Some((lost_after, hold_unmatched)) = rest else { return Ok(None) };
        Ok(Some(Request {
            demand: Demand { shared_account: false, ..class.demand },
            launch,
            members,
            retries: row.retries,
            retry_lost: row.retry_lost,
            lost_after: lost_after.map(Duration::from_millis),
            hold: false,
            hold_unmatched,
            user: None,
            client: ClientFacts { host: client.host, user: client.user, os: client.os, arch: client.arch },
        }))
    }
}

impl Tx<'_> {
    /// This home gives up a task of its own: from now on it is only its client, in this class of a first tier. All of it waits.
    pub fn give_up_own(&self, task: TaskId, class: ClassId, tier1: &str) -> Result<()> {
        // Leave the queue of the old class, change, enter that of the new one: triggers keep both counts.
        self.run("UPDATE task SET waiting = 0, held = 0 WHERE id = ?1", [task])?;
        self.run(
            concat!("UPDATE task SET class_id = ?2, tier1 = ?3, tier2 = '', reason = NULL, verdict = NULL, unmatched = 0, rest_state = ", phase!(waiting),
                    " WHERE id = ?1"),
            (task, class, tier1),
        )?;
        self.run("UPDATE task SET waiting = size WHERE id = ?1", [task])?;
        Ok(())
    }

    /// Gives up a task of another home's client, of which nothing ever started: nothing of it stays.
    pub fn give_up(&self, task: TaskId) -> Result<()> {
        self.run("DELETE FROM task WHERE id = ?1", [task])?;
        Ok(())
    }

    /// A task stays: it counts as taken in this round, so that it is not given up by an earlier question.
    pub fn keep_in_round(&self, task: TaskId, round: u32) -> Result<()> {
        self.run("UPDATE task SET round = ?2 WHERE id = ?1", (task, round))?;
        Ok(())
    }

    /// Its owner is to be asked to give the task up, from now on until it has answered. False: the row is another one by now.
    pub fn begin_move(&self, away: &Away, home: HomeId) -> Result<bool> {
        let among = serde_json::to_string(&[home]).unwrap_or_default();
        let begun = self.run(
            "UPDATE away SET home = NULL, among = ?3, tried_at = NULL WHERE task_id = ?1 AND home = ?2 AND cancel IS NULL",
            (away.task, home, among),
        )?;
        Ok(begun == 1)
    }

    /// Its owner keeps it. The next search, or the next move, begins in this round. False: the row is another one by now.
    pub fn end_move(&self, away: &Away, round: u32) -> Result<bool> {
        let AwayState::Moving { home, id } = away.held else { return Ok(false) };
        let ended = self.run(
            "UPDATE away SET home = ?2, among = NULL, round = ?4 WHERE task_id = ?1 AND home IS NULL AND remote_id = ?3",
            (away.task, home, id, round),
        )?;
        Ok(ended == 1)
    }

    /// Its owner gave it up: no home has the task, and nobody is asked yet. `sealed`: what is offered from now on. False: the row is
    /// another one by now.
    pub fn given_up_away(&self, away: &Away, sealed: &[u8]) -> Result<bool> {
        let AwayState::Moving { id, .. } = away.held else { return Ok(false) };
        let given_up = self.run(
            "UPDATE away SET remote_id = NULL, among = NULL, asked = 'local', onward = 0, server = NULL, signal = NULL, answered_at = NULL, sealed = ?3
             WHERE task_id = ?1 AND home IS NULL AND remote_id = ?2",
            (away.task, id, sealed),
        )?;
        if given_up == 1 {
            self.run(
                concat!(
                    "UPDATE task SET waiting = size, held = 0, starting = 0, running = 0, rest_state = ",
                    phase!(waiting),
                    ", tier2 = '', reason = NULL, started_at = NULL WHERE id = ?1"
                ),
                [away.task],
            )?;
        }
        Ok(given_up == 1)
    }
}
