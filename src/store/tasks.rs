//! Task rows, read back; why they wait, and what was found of them.

use super::columns::{at_least_none, json};
use super::reading::{Lenient, readable};
use super::trace::NoteId;
use super::{Result, Tx, View};
use crate::model::command::{Command, Environment, Text};
use crate::model::demand::Demand;
use crate::model::id::{ClassId, DistributorId, Index, TaskId, TaskUuid, UserId};
use crate::model::max_output::MaxOutput;
use crate::model::name::Name;
use crate::model::task::{Counts, HELD_BY_USER, Launch, Phase, State};
use crate::model::time::Timestamp;
use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use std::time::Duration;

/// How the members of a task are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Single,
    Array { first: u32, step: u32 },
    Lines,
}

impl Shape {
    /// The index of the member at a position (counted from 0).
    pub const fn index_at(self, position: u32) -> Index {
        match self {
            Self::Single => Index(0),
            Self::Array { first, step } => Index(first + position * step),
            Self::Lines => Index(position + 1),
        }
    }

    /// The position of the first member with this index or a higher one.
    pub const fn position_from(self, index: Index) -> u32 {
        match self {
            Self::Single => 0,
            Self::Array { first, step } => index.0.saturating_sub(first).div_ceil(step),
            Self::Lines => index.0.saturating_sub(1),
        }
    }

    /// The position of an index, if the task has such a member.
    pub fn position_of(self, index: Index, size: u32) -> Option<u32> {
        let position = match self {
            Self::Single => (index.0 == 0).then_some(0),
            Self::Array { first, step } => {
                let from = index.0.checked_sub(first)?;
                (from % step == 0).then_some(from / step)
            }
            Self::Lines => index.0.checked_sub(1),
        }?;
        (position < size).then_some(position)
    }
}

/// Why a task waits or is held, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskReason {
    /// Its user holds it.
    HeldByUser,
    /// For a person to read.
    Words(String),
}

impl TaskReason {
    /// For a person, and in the column.
    pub fn words(&self) -> &str {
        match self {
            Self::HeldByUser => HELD_BY_USER,
            Self::Words(words) => words,
        }
    }
}

impl FromSql for TaskReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str()? {
            HELD_BY_USER => Self::HeldByUser,
            words => Self::Words(words.to_owned()),
        })
    }
}

/// A task row with what reports need.
#[derive(Debug, Clone)]
pub struct TaskRow {
    pub id: TaskId,
    pub uuid: TaskUuid,
    pub class: ClassId,
    pub distributor: DistributorId,
    pub name: Option<String>,
    pub user: Name,
    pub user_id: UserId,
    pub client: String,
    pub demand: Demand,
    pub shown: String,
    pub shape: Shape,
    pub size: u32,
    pub at_once: Option<u32>,
    pub rest: u32,
    pub rest_next: u32,
    /// Of members without a row of their own.
    pub rest_phase: Phase,
    pub counts: Counts,
    pub reason: Option<TaskReason>,
    pub exit_code: Option<u8>,
    pub shell_code: Option<u8>,
    pub retries: u32,
    pub retry_lost: bool,
    pub submitted_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub tier1: String,
    pub tier2: String,
    pub search: Option<NoteId>,
    pub verdict: Option<NoteId>,
    pub verdict_at: Option<Timestamp>,
    pub round: u32,
    /// Columns of the row that can't be read, and why.
    pub unreadable: Option<String>,
}

impl TaskRow {
    /// The state of the whole.
    pub fn state(&self) -> State {
        self.counts.state()
    }

    /// The distributor that has it, for a person. While it is searched for it has none.
    pub fn holder(&self) -> &str {
        if self.tier2.is_empty() { "its home" } else { &self.tier2 }
    }

    /// Does a person hold it?
    pub fn is_held_by_user(&self) -> bool {
        self.reason == Some(TaskReason::HeldByUser)
    }

    /// Why it, or a member of it that is in this state, waits or is held. Of an array some members may be held, and others wait.
    pub fn reason_in(&self, state: State) -> Option<String> {
        if let Some(why) = self.unreadable.as_ref().filter(|_| state != State::Held || self.reason.is_none()) {
            return Some(format!("its row can't be read ({why})"));
        }
        if let (State::Pending, Some(most)) = (state, self.at_once)
            && self.counts.starting + self.counts.running >= most
        {
            return Some(format!("at most {most} run at once (%{most})"));
        }
        let by_user = Some(&TaskReason::HeldByUser);
        let why = match (state, self.reason.as_ref()) {
            // Then what is noted is why the others wait.
            (State::Held, _) if self.counts.waiting > 0 => by_user,
            (State::Held, noted) => noted.or(by_user),
            (_, noted) => noted.filter(|reason| **reason != TaskReason::HeldByUser),
        };
        why.map(|reason| reason.words().to_owned())
    }
}

const SELECT: &str = "
    SELECT t.id, t.uuid, t.class_id, c.distributor_id, t.name, u.name, t.user_id, k.host, c.demand, t.shown, t.shape, t.first, t.step, t.size,
           t.at_once, t.rest, t.rest_next, t.rest_state, t.waiting, t.held, t.starting, t.running, t.completed, t.failed, t.timeout,
           t.out_of_memory, t.cancelled, t.skipped, t.lost, coalesce(t.reason, CASE WHEN t.waiting > 0 THEN c.reason END) AS reason, t.exit_code, t.shell_code, t.retries, t.retry_lost, t.submitted_at,
           t.started_at, t.ended_at, t.tier1, t.tier2, t.search, t.verdict, t.verdict_at, t.round
    FROM task t JOIN class c ON c.id = t.class_id JOIN user u ON u.id = t.user_id JOIN client k ON k.id = c.client_id ";

/// Columns that can't be read are named in the row: a report shows the others, the dispatcher reads strictly what it needs.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<TaskRow> {
    let mut of = Lenient::of(row);
    let shape: String = of.get(10);
    let shape = match shape.as_str() {
        "single" => Shape::Single,
        "array" => Shape::Array { first: of.get(11), step: of.or(12, 1).max(1) },
        _ => Shape::Lines,
    };
    let demand = row.get::<_, String>(8).and_then(|text| json(&text));
    Ok(TaskRow {
        id: row.get(0)?,
        uuid: of.or(1, TaskUuid(uuid::Uuid::nil())),
        class: row.get(2)?,
        distributor: row.get(3)?,
        name: of.get(4),
        user: of.or(5, Name::unreadable()),
        user_id: row.get(6)?,
        client: of.get(7),
        demand: of.take(8, demand).unwrap_or_default(),
        shown: of.get(9),
        shape,
        size: of.get(13),
        at_once: of.get(14),
        rest: at_least_none(row, 15)?,
        rest_next: of.get(16),
        rest_phase: of.or(17, Phase::Waiting),
        counts: Counts {
            waiting: at_least_none(row, 18)?,
            held: at_least_none(row, 19)?,
            starting: at_least_none(row, 20)?,
            running: at_least_none(row, 21)?,
            completed: at_least_none(row, 22)?,
            failed: at_least_none(row, 23)?,
            timeout: at_least_none(row, 24)?,
            out_of_memory: at_least_none(row, 25)?,
            cancelled: at_least_none(row, 26)?,
            skipped: at_least_none(row, 27)?,
            lost: at_least_none(row, 28)?,
        },
        reason: of.get(29),
        exit_code: of.get(30),
        shell_code: of.get(31),
        retries: of.get(32),
        retry_lost: of.get(33),
        submitted_at: of.or(34, Timestamp(0)),
        started_at: of.get(35),
        ended_at: of.get(36),
        tier1: of.get(37),
        tier2: of.get(38),
        search: of.get::<Option<i64>>(39).map(NoteId),
        verdict: of.get::<Option<i64>>(40).map(NoteId),
        verdict_at: of.get(41),
        round: of.get(42),
        unreadable: of.faults(),
    })
}

/// All members of all tasks in each public state.
pub type Tally = Vec<(State, u64)>;

impl View<'_> {
    /// One task.
    pub fn task(&self, id: TaskId) -> Result<Option<TaskRow>> {
        self.one(&format!("{SELECT} WHERE t.id = ?1"), [id], read)
    }

    /// The task with this uuid, if this home holds it.
    pub fn task_by_uuid(&self, uuid: TaskUuid) -> Result<Option<TaskId>> {
        self.one("SELECT id FROM task WHERE uuid = ?1", [uuid], |row| row.get(0))
    }

    /// The task with this uuid that this home holds, and the one that it knows only as a client.
    pub fn held_by_uuid(&self, uuid: TaskUuid) -> Result<(Option<TaskId>, Option<TaskId>)> {
        let sql =
            "SELECT t.id, a.task_id IS NOT NULL FROM task t LEFT JOIN away a ON a.task_id = t.id WHERE t.uuid = ?1";
        let found = self.one(sql, [uuid], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(match found {
            Some((id, true)) => (None, Some(id)),
            Some((id, false)) => (Some(id), None),
            None => (None, None),
        })
    }

    /// Existing ids from one to another, both included.
    pub fn task_ids(&self, from: TaskId, to: TaskId) -> Result<Vec<TaskId>> {
        self.all("SELECT id FROM task WHERE id BETWEEN ?1 AND ?2 ORDER BY id", (from, to), |row| row.get(0))
    }

    /// The newest task of a user, or of anybody.
    pub fn last_task(&self, user: Option<UserId>) -> Result<Option<TaskId>> {
        match user {
            Some(user) => {
                self.one("SELECT id FROM task WHERE user_id = ?1 ORDER BY id DESC LIMIT 1", [user], |row| row.get(0))
            }
            None => self.one("SELECT id FROM task ORDER BY id DESC LIMIT 1", [], |row| row.get(0)),
        }
    }

    /// Has a dispatcher anything to do?
    pub fn has_unended(&self) -> Result<bool> {
        // What another home holds is its dispatcher's care; what nobody has taken for certain is ours.
        let sql = "SELECT 1 FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 AND waiting + starting + running > 0
                   AND NOT EXISTS (SELECT 1 FROM away WHERE task_id = task.id AND home IS NOT NULL)
                   UNION ALL SELECT 1 FROM away INDEXED BY away_open WHERE home IS NULL OR cancel IS NOT NULL LIMIT 1";
        Ok(self.one(sql, [], |_| Ok(()))?.is_some())
    }

    /// Unended tasks, newest last, at most `limit`.
    pub fn unended(&self, user: Option<UserId>, limit: u32) -> Result<Vec<TaskRow>> {
        // Those that run first, then by age: what a person looks for.
        let sql = format!(
            "{SELECT} WHERE t.id IN (SELECT id FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0
                                     AND (?1 IS NULL OR user_id = ?1) ORDER BY id LIMIT ?2) ORDER BY t.id"
        );
        self.all(&sql, (user, limit), read)
    }

    /// How many unended tasks there are.
    pub fn count_unended(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0";
        Ok(self.one(sql, [], |row| row.get(0))?.unwrap_or(0))
    }

    /// How many unended tasks a user has, or anybody.
    pub fn count_unended_of(&self, user: Option<UserId>) -> Result<u64> {
        // Everybody's are counted in the index alone, without a look at the rows.
        let Some(user) = user else { return self.count_unended() };
        let sql = "SELECT count(*) FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 AND user_id = ?1";
        Ok(self.one(sql, [user], |row| row.get(0))?.unwrap_or(0))
    }

    /// The tasks that ended last, oldest first.
    pub fn ended(&self, user: Option<UserId>, limit: u32) -> Result<Vec<TaskRow>> {
        let sql = format!(
            "{SELECT} WHERE t.id IN (SELECT id FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0
                                     AND (?1 IS NULL OR user_id = ?1) ORDER BY ended_at DESC LIMIT ?2) ORDER BY t.id"
        );
        self.all(&sql, (user, limit), read)
    }

    /// All members of all tasks by public state.
    pub fn tally(&self) -> Result<Tally> {
        let found = self.one(
            "SELECT pending, held, running, completed, failed, timeout, out_of_memory, cancelled, skipped, lost FROM tally",
            [],
            |row| State::ALL.iter().enumerate().map(|(at, state)| Ok((*state, at_least_none(row, at)?.into()))).collect::<rusqlite::Result<Tally>>(),
        )?;
        Ok(found.unwrap_or_default())
    }

    /// What a server runs for a task.
    pub fn launch(&self, id: TaskId) -> Result<Option<Launch>> {
        let files = self.files_of(id)?;
        const SELECT: &str =
            "SELECT argv, cwd, env, time_limit, stdout, stderr, stdin, client_home, max_output FROM task WHERE id = ?1";
        self.one(SELECT, [id], |row| {
            Ok(Launch {
                command: Command::from_blob(row.get_ref(0)?.as_blob()?),
                cwd: row.get(1)?,
                env: Environment::from_blob(row.get_ref(2)?.as_blob()?),
                time_limit: row.get::<_, Option<u64>>(3)?.map(Duration::from_millis),
                stdout: row.get(4)?,
                stderr: row.get(5)?,
                stdin: row.get(6)?,
                home: row.get(7)?,
                workplace: files.0,
                fetch: files.1,
                max_output: row.get::<_, Option<String>>(8)?.and_then(|text| MaxOutput::parse(&text).ok()),
            })
        })
    }

    /// What a server runs for a task; None also where it can't be read.
    pub fn launch_if_readable(&self, id: TaskId) -> Result<Option<Launch>> {
        readable(self.launch(id))
    }

    /// The line of a member of an each-line task.
    pub fn entry(&self, id: TaskId, index: Index) -> Result<Option<Text>> {
        self.one("SELECT line FROM entry WHERE task_id = ?1 AND idx = ?2", (id, index), |row| row.get(0))
    }
}

impl Tx<'_> {
    /// Records why a task waits or is held.
    pub fn set_reason(&self, id: TaskId, reason: Option<&str>) -> Result<()> {
        self.run("UPDATE task SET reason = ?2 WHERE id = ?1 AND reason IS NOT ?2", (id, reason))?;
        Ok(())
    }

    /// Records what each tier answered.
    pub fn set_search(&self, id: TaskId, search: NoteId) -> Result<()> {
        self.run("UPDATE task SET search = ?2 WHERE id = ?1", (id, search.0))?;
        Ok(())
    }

    /// Records the verdict of the last match of a waiting task.
    pub fn set_verdict(&self, id: TaskId, verdict: NoteId, at: Timestamp) -> Result<()> {
        self.run("UPDATE task SET verdict = ?2, verdict_at = ?3 WHERE id = ?1", (id, verdict.0, at))?;
        Ok(())
    }
}
