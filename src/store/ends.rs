//! Ends of attempts: the member's row, and what its task counts.

use super::ledger::Ledger;
use super::members::Outputs;
use super::phases::live;
use super::{Result, Tx};
use crate::model::attempt::{Cause, End};
use crate::model::clock::STEP;
use crate::model::id::AttemptKey;
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use rusqlite::{CachedStatement, OptionalExtension};

/// The statements of an end, prepared once for all ends of a ledger.
pub(super) struct Ends<'c> {
    was: CachedStatement<'c>,
    write: CachedStatement<'c>,
}

impl<'c> Ends<'c> {
    fn prepare(tx: &Tx<'c>) -> Result<Self> {
        let was = tx.prepare(concat!(
            "SELECT state, started_at FROM member
             WHERE task_id = ?1 AND idx = ?2 AND number = ?3 AND state IN ",
            live!()
        ))?;
        let write = tx.prepare(
            "UPDATE member SET state = ?3, started_at = coalesce(?4, started_at), ended_at = ?5, exit_code = ?6, signal = ?7, detail = ?8,
             cpu_ms = ?9, max_rss = ?10, out_len = ?11, err_len = ?12, home_out = ?13, cut = ?14
             WHERE task_id = ?1 AND idx = ?2",
        )?;
        Ok(Self { was, write })
    }
}

impl Ledger<'_, '_> {
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
            Cause::Signalled { signal } => of_a_limit(*signal),
            _ => None,
        };
        let cut = end.cut.and_then(|cut| serde_json::to_string(&cut).ok());
        let mut ends = self.ends.take().map_or_else(|| Ends::prepare(self.tx), Ok)?;
        let was: Option<(Phase, Option<Timestamp>)> =
            ends.was.query_row((task, index, number), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((from, begun)) = was else { return Ok(false) };
        let begun = begun.filter(|_| from == Phase::Running);
        let (started_at, ended_at) = as_begun(end, begun);
        ends.write.execute(rusqlite::params![
            task,
            index,
            to,
            started_at,
            ended_at,
            end.cause.exit_code(),
            end.cause.signal(),
            detail,
            end.usage.cpu_ms,
            end.usage.max_rss,
            end.out_len,
            end.err_len,
            outputs,
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
}

/// The limit of the submitter's shell that ended an attempt, by the signal that the kernel sends at such a limit alone.
const fn of_a_limit(signal: u8) -> Option<&'static str> {
    /// As Linux counts them on every processor that grid is built for.
    const SIGXCPU: u8 = 24;
    const SIGXFSZ: u8 = 25;
    match signal {
        SIGXCPU => Some("ended at its limit of processor time (`ulimit -t`)"),
        SIGXFSZ => Some("ended at its limit for the size of a file (`ulimit -f`)"),
        _ => None,
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
