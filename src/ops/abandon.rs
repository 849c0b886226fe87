//! Cancels the task of a `grid run` whose reader has gone, as a pipe ends its commands, unless the whole session was dropped.

use super::interrupts::Interrupts;
use super::reader::OutputReader;
use super::selecting::Chosen;
use super::{Grid, OpsError, cancel, member_state, remote, wait};
use std::time::{Duration, Instant};

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time between the end of the reader and that of its terminal (or a SIGHUP, which ends us): a dropped session ends its processes one
/// by one.
const SESSION: Duration = Duration::from_secs(2);
/// Longest wait for the end, a little above the grace: an unreachable server does not hold up a pipe.
const END: Duration = Duration::from_secs(15);

/// What became of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// It had ended already.
    Ended,
    /// It was cancelled.
    Cancelled { ended: bool },
    /// It keeps running, as `--keep-going` asks for.
    KeptGoing,
    /// It keeps running: the terminal has gone too.
    SessionDropped,
}

/// Cancels the task of a `run` whose reader has gone, or keeps it running.
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
    if reader.terminal_closes_within(SESSION, interrupts) {
        return Ok(Abandoned::SessionDropped);
    }
    cancel::cancel(grid, &[what], GRACE)?;
    if remote::away(grid, what)?.is_none() {
        // The command after the pipe may rely on the task being over.
        let until = Instant::now() + END;
        wait::wait(grid, &[what], &mut |_| Instant::now() < until && !interrupts.came())?;
    }
    Ok(Abandoned::Cancelled { ended: member_state(&grid.store.view(), what)?.ended() })
}
