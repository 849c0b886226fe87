//! A member row: where the member is, with what is true there. Columns are read here and nowhere else.

use super::Outputs;
use crate::model::attempt::{Cut, Stream, Usage};
use crate::model::id::{AttemptKey, BootId, Index, MachineId, ServerId, TaskId};
use crate::model::task::{EndState, Phase};
use crate::model::time::Timestamp;
use crate::store::columns::json;
use crate::store::phases::{list, phase};
use crate::store::reading::{Lenient, is_of_the_row, words};
use crate::store::trace::NoteId;
use rusqlite::Row;

/// Rows of members, with their columns in the order in which they are read.
macro_rules! select {
    ($($which:expr),+) => {
        concat!(
            "SELECT task_id, idx, state, number, server_id, host_id, boot_id, machine_id, orphaned, started_at, ended_at, exit_code, signal, detail,
                    cpu_ms, max_rss, out_len, err_len, home_out, cut, verdict
             FROM member WHERE ",
            $($which),+
        )
    };
}

pub(super) const ONE: &str = select!("task_id = ?1 AND idx = ?2");
pub(super) const OF_TASK: &str = select!("task_id = ?1 ORDER BY idx LIMIT ?2");
pub(super) const FAILED: &str =
    select!("task_id = ?1 AND state IN ", list!(failed, timeout, out_of_memory, lost), " ORDER BY idx LIMIT ?2");
pub(super) const RUNNING: &str = select!("task_id = ?1 AND state = ", phase!(running), " ORDER BY idx LIMIT ?2");

/// A member that has a row.
#[derive(Debug, Clone)]
pub struct MemberRow {
    pub task: TaskId,
    pub index: Index,
    /// Of its last attempt; 0: it had none.
    pub number: u32,
    pub state: MemberState,
    /// The match that placed its last attempt.
    pub verdict: Option<NoteId>,
}

/// Where a member is.
#[derive(Debug, Clone)]
pub enum MemberState {
    /// Not given to a server; what is kept of its last attempt.
    Waiting(LastAttempt),
    Held(LastAttempt),
    /// Given to a server, not known to have begun.
    Starting(Assignment),
    Running {
        on: Assignment,
        started_at: Option<Timestamp>,
        /// Its supervisor is gone.
        orphaned: bool,
    },
    Ended(EndState, LastAttempt),
    /// The row contradicts itself, or can't be read: of its phase is known what could be.
    Unreadable {
        phase: Phase,
        why: String,
    },
}

/// The server that an attempt is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The server, or the group, that was chosen.
    pub server: ServerId,
    /// The server that it runs on: of a group, a member.
    pub host: ServerId,
    /// The boot of its host for which the start is meant.
    pub boot: BootId,
    /// The machine that it was sent to; None: this host, or one that was not kept.
    pub machine: Option<MachineId>,
}

/// What is kept of an attempt that is over. All is empty where there was none.
#[derive(Debug, Clone, Default)]
pub struct LastAttempt {
    pub server: Option<ServerId>,
    pub host: Option<ServerId>,
    pub boot: Option<BootId>,
    pub machine: Option<MachineId>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    /// Why it could not run, or is LOST.
    pub detail: Option<String>,
    /// None: it is not known, or it never ended.
    pub usage: Option<Usage>,
    pub out_len: u64,
    pub err_len: u64,
    pub outputs: Outputs,
    /// Why its outputs are not all that it wrote.
    pub cut: Option<Cut>,
}

impl LastAttempt {
    /// Bytes that it wrote to a stream.
    pub const fn len(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Out => self.out_len,
            Stream::Err => self.err_len,
        }
    }
}

impl MemberRow {
    /// The row of its last attempt.
    pub const fn key(&self) -> AttemptKey {
        AttemptKey { task: self.task, index: self.index, number: self.number }
    }

    /// Its phase.
    pub const fn phase(&self) -> Phase {
        match &self.state {
            MemberState::Waiting(_) => Phase::Waiting,
            MemberState::Held(_) => Phase::Held,
            MemberState::Starting(_) => Phase::Starting,
            MemberState::Running { .. } => Phase::Running,
            MemberState::Ended(end, _) => Phase::Ended(*end),
            MemberState::Unreadable { phase, .. } => *phase,
        }
    }

    /// A server has it.
    pub const fn is_live(&self) -> bool {
        matches!(self.phase(), Phase::Starting | Phase::Running)
    }

    /// It has ended.
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase(), Phase::Ended(_))
    }

    /// The server that has it; None: no server, or it can't be read.
    pub const fn assignment(&self) -> Option<&Assignment> {
        match &self.state {
            MemberState::Starting(on) | MemberState::Running { on, .. } => Some(on),
            _ => None,
        }
    }

    /// What is kept of its last attempt; None: a server has it, or it can't be read.
    pub const fn last(&self) -> Option<&LastAttempt> {
        match &self.state {
            MemberState::Waiting(last) | MemberState::Held(last) | MemberState::Ended(_, last) => Some(last),
            _ => None,
        }
    }

    /// The server that its last attempt was given to.
    pub fn server(&self) -> Option<ServerId> {
        self.assignment().map_or_else(|| self.last()?.server, |on| Some(on.server))
    }

    /// The server that its last attempt ran on.
    pub fn host(&self) -> Option<ServerId> {
        self.assignment().map_or_else(|| self.last()?.host, |on| Some(on.host))
    }

    /// The boot for which the start of its last attempt was meant.
    pub fn boot(&self) -> Option<&BootId> {
        self.assignment().map_or_else(|| self.last()?.boot.as_ref(), |on| Some(&on.boot))
    }

    /// The machine that its last attempt was sent to.
    pub fn machine(&self) -> Option<MachineId> {
        self.assignment().map_or_else(|| self.last()?.machine, |on| on.machine)
    }

    /// When its last attempt began.
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.state {
            MemberState::Running { started_at, .. } => *started_at,
            _ => self.last()?.started_at,
        }
    }

    /// How its last attempt ended, besides its code: why it could not run or is LOST, and why its output is not whole.
    pub fn remark(&self) -> Option<String> {
        if let MemberState::Unreadable { why, .. } = &self.state {
            return Some(format!("its row can't be read ({why})"));
        }
        let last = self.last()?;
        let words = last.detail.clone().into_iter().chain(last.cut.as_ref().map(ToString::to_string));
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Reads a row as [`ONE`] gives it.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    let mut of = Lenient::of(row);
    let (index, phase, number) = (of.or(1, Index(0)), of.or(2, Phase::Held), of.get(3));
    let state = match (of.faults(), phase) {
        (Some(why), phase) => MemberState::Unreadable { phase, why },
        (None, Phase::Waiting) => MemberState::Waiting(last(row)),
        (None, Phase::Held) => MemberState::Held(last(row)),
        (None, Phase::Ended(end)) => MemberState::Ended(end, last(row)),
        (None, Phase::Starting | Phase::Running) => live(row, phase)?,
    };
    Ok(MemberRow {
        task: row.get(0)?,
        index,
        number,
        state,
        verdict: Lenient::of(row).get::<Option<i64>>(20).map(NoteId),
    })
}

/// A member that a server has. Without a server, a host and a boot it can't be followed.
fn live(row: &Row<'_>, phase: Phase) -> rusqlite::Result<MemberState> {
    let on = (|| Ok(Assignment { server: row.get(4)?, host: row.get(5)?, boot: row.get(6)?, machine: row.get(7)? }))();
    let mut of = Lenient::of(row);
    match on {
        Ok(on) if phase == Phase::Starting => Ok(MemberState::Starting(on)),
        Ok(on) => Ok(MemberState::Running { on, orphaned: of.get(8), started_at: of.get(9) }),
        Err(error) if is_of_the_row(&error) => Ok(MemberState::Unreadable { phase, why: words(&error) }),
        Err(error) => Err(error),
    }
}

/// What can be read of an attempt that is over.
fn last(row: &Row<'_>) -> LastAttempt {
    let mut of = Lenient::of(row);
    let used = of.get::<Option<u64>>(14).zip(of.get(15));
    LastAttempt {
        server: of.get(4),
        host: of.get(5),
        boot: of.get(6),
        machine: of.get(7),
        started_at: of.get(9),
        ended_at: of.get(10),
        exit_code: of.get(11),
        signal: of.get(12),
        detail: of.get(13),
        usage: used.map(|(cpu_ms, max_rss)| Usage { cpu_ms, max_rss }),
        out_len: of.get::<Option<u64>>(16).unwrap_or(0),
        err_len: of.get::<Option<u64>>(17).unwrap_or(0),
        outputs: of.get(18),
        cut: of.get::<Option<String>>(19).and_then(|text| json(&text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resources::Bytes;
    use rusqlite::Connection;

    /// The member that a row of these columns is.
    fn member(columns: &str, values: &str) -> MemberRow {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(include_str!("../../../schema.sql")).unwrap();
        let insert = format!("INSERT INTO member (task_id, idx, {columns}) VALUES (1, 0, {values})");
        database.execute_batch(&format!("PRAGMA foreign_keys = OFF; {insert}")).unwrap();
        database.query_row(ONE, (1, 0), read).unwrap()
    }

    fn is_unreadable(member: &MemberRow) -> bool {
        matches!(member.state, MemberState::Unreadable { .. })
    }

    #[test]
    fn live_row_without_a_server_is_unreadable_and_keeps_its_phase() {
        for (state, phase) in [("STARTING", Phase::Starting), ("RUNNING", Phase::Running)] {
            let member = member("state, number, boot_id", &format!("'{state}', 1, 'b'"));
            assert!(is_unreadable(&member), "{member:?}");
            assert_eq!((member.phase(), member.server(), member.number), (phase, None, 1));
        }
        let whole = member("state, number, server_id, host_id, boot_id", "'RUNNING', 1, 7, 8, 'b'");
        assert_eq!((whole.server(), whole.host()), (Some(ServerId(7)), Some(ServerId(8))));
    }

    #[test]
    fn row_of_no_phase_or_no_number_is_unreadable() {
        for values in ["'GONE', 1", "'PENDING', 1", "'RUNNING', -1"] {
            assert!(is_unreadable(&member("state, number", values)), "{values}");
        }
    }

    #[test]
    fn ended_row_tells_how_its_last_attempt_ended() {
        let member =
            member("state, number, exit_code, cpu_ms, max_rss, out_len, home_out", "'FAILED', 2, 3, 5, 6, 7, 2");
        let MemberState::Ended(EndState::Failed, last) = &member.state else { panic!("{member:?}") };
        assert_eq!((last.exit_code, last.usage), (Some(3), Some(Usage { cpu_ms: 5, max_rss: Bytes(6) })));
        assert_eq!((last.len(Stream::Out), last.len(Stream::Err), last.outputs), (7, 0, Outputs::Server));
    }
}
