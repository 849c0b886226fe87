//! The reader of a `grid run` has gone: its task is cancelled, as a command in a pipe would end, unless the whole session was dropped.

use super::interrupts::Interrupts;
use super::reader::OutputReader;
use super::selecting::Chosen;
use super::{Grid, OpsError, cancel, member_state, remote, wait};
use std::time::{Duration, Instant};

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// After a reader has gone, its terminal (or a SIGHUP, which ends us) may follow for so long: a dropped session ends its processes one
/// by one.
const SESSION: Duration = Duration::from_secs(2);
/// The end is waited for a little longer than the grace, and no longer: an unreachable server holds up no pipe.
const END: Duration = Duration::from_secs(15);

/// What became of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// It had ended already.
    Ended,
    /// It was cancelled.
    Cancelled { ended: bool },
    /// It goes on, as `--keep-going` asks for.
    KeptGoing,
    /// It goes on: the terminal has gone too.
    SessionDropped,
}

/// Decides about the task of a `run` whose reader has gone, and carries that out.
pub fn abandon(
    grid: &mut Grid,
    what: Chosen,
    reader: &OutputReader,
    keep_going: bool,
    interrupts: &Interrupts,
) -> Result<Abandoned, OpsError> {
    if member_state(&grid.store.view(), what)?.ended() {
        return Ok(Abandoned::Ended);
    }
    if keep_going {
        return Ok(Abandoned::KeptGoing);
    }
    if reader.terminal_goes_within(SESSION, interrupts) {
        return Ok(Abandoned::SessionDropped);
    }
    cancel::cancel(grid, &[what], GRACE)?;
    if remote::away(grid, what)?.is_none() {
        // What comes after the pipe may count on it that the task runs no more.
        let until = Instant::now() + END;
        wait::wait(grid, &[what], &mut |_| Instant::now() < until && !interrupts.came())?;
    }
    Ok(Abandoned::Cancelled { ended: member_state(&grid.store.view(), what)?.ended() })
}
