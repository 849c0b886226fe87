//! `grid wait`: until tasks have ended.

use super::report::{Ended, Waited};
use super::selecting::Chosen;
use super::{Grid, OpsError, member_state, shell_code};
use crate::dispatch::start::{self, Connection, StartError};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::Durability;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;

/// How far the waiting is, in members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub ended: u64,
    pub running: u64,
    pub size: u64,
}

/// Returns when all have ended, durably. Starts the dispatcher if needed.
pub fn wait(grid: &mut Grid, what: &[Chosen], told: &mut dyn FnMut(Progress)) -> Result<Waited, OpsError> {
    let failed = |error: StartError| OpsError::Grid(error.to_string());
    let mut connection: Option<Connection> = None;
    let mut all_told = true;
    for chosen in what {
        let mut durable = false;
        while !member_state(&grid.store.view(), *chosen)?.ended() {
            told(progress(grid, what)?);
            let mut open = match connection.take() {
                Some(open) => open,
                None => {
                    let mut open = start::connect(grid.store.home(), &grid.login).map_err(failed)?;
                    open.send(&ToDispatcher::Watch { task: chosen.task, index: chosen.index }).map_err(failed)?;
                    open
                }
            };
            // A quarter of a second is for the progress bar; the end itself is told.
            if !readable(&open, 250)? {
                connection = Some(open);
                continue;
            }
            // None: it left or was shot; another one takes its place.
            match open.receive().map_err(failed)? {
                // The dispatcher tells it when it is on the disk.
                Some(FromDispatcher::Ended { .. }) => durable = true,
                Some(_) => connection = Some(open),
                None => {}
            }
        }
        connection = None;
        all_told &= durable;
    }
    told(progress(grid, what)?);
    if !all_told {
        settle(grid)?;
    }
    let view = grid.store.view();
    let mut waited = Waited { tasks: Vec::with_capacity(what.len()), code: 0 };
    for chosen in what {
        let (code, exit_code) = shell_code(&view, *chosen)?;
        waited.code = waited.code.max(code);
        waited.tasks.push(Ended { id: chosen.to_string(), state: member_state(&view, *chosen)?, exit_code });
    }
    Ok(waited)
}

/// What is answered stays: ends that are in the log only are put on the disk by one durable write.
pub(super) fn settle(grid: &mut Grid) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| tx.stamp().map_err(OpsError::from))
}

fn readable(connection: &Connection, ms: i64) -> Result<bool, OpsError> {
    let timeout = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    let mut fds = [PollFd::from_borrowed_fd(connection.stream().as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(OpsError::Grid(error.to_string())),
    }
}

fn progress(grid: &Grid, what: &[Chosen]) -> Result<Progress, OpsError> {
    let view = grid.store.view();
    let mut progress = Progress::default();
    for chosen in what {
        match chosen.index {
            Some(_) => {
                progress.size += 1;
                progress.ended += u64::from(member_state(&view, *chosen)?.ended());
            }
            None => {
                if let Some(row) = view.task(chosen.task)? {
                    progress.size += u64::from(row.size);
                    progress.running += u64::from(row.counts.running);
                    progress.ended += u64::from(row.size - row.counts.unended());
                }
            }
        }
    }
    Ok(progress)
}
