//! `grid wait`: waits until tasks have ended.

use super::remote::files;
use super::remote::owner::send_verb_until;
use super::remote::states::{WatchOutcome, has_moved, watch};
use super::report::{EndReport, Waited};
use super::selecting::Chosen;
use super::{Grid, OpsError, cancel, dispatcher, member_state, remote, shell_code};
use crate::dispatch::client::losses::Losses;
use crate::dispatch::client::relay::Stop;
use crate::dispatch::client::start::{self, Connection};
use crate::distributor::members::words_of;
use crate::distributor::peers::silently;
use crate::model::task::State;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::protocol::distributor::{Answer, Verb};
use crate::store::away::{Away, AwayState};
use crate::store::tasks::TaskRow;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

/// Progress of a wait, in members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitProgress {
    pub ended: u64,
    pub running: u64,
    pub size: u64,
}

/// An event of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEvent<'a> {
    Progress(WaitProgress),
    /// A message for stderr: why a task does not end.
    Note(&'a str),
}

/// Takes the events; false stops the wait.
pub type WaitSink<'f> = dyn FnMut(WaitEvent<'_>) -> bool + 'f;

/// Returns when all have ended, durably, or `told` gives false. Starts the dispatcher if needed.
pub fn wait(grid: &mut Grid, what: &[Chosen], told: &mut WaitSink<'_>) -> Result<Waited, OpsError> {
    wait_until(grid, what, &Stop::default(), told)
}

/// [`wait`] that also returns once `stop` is due, with tasks in the report that have not ended.
pub fn wait_until(grid: &mut Grid, what: &[Chosen], stop: &Stop, told: &mut WaitSink<'_>) -> Result<Waited, OpsError> {
    let mut connection: Option<Connection> = None;
    let mut losses = Losses::default();
    let mut of_members = BTreeMap::new();
    let mut all_told = true;
    'tasks: for chosen in what {
        let mut durable = false;
        let mut said_held = false;
        loop {
            let state = member_state(&grid.store.view(), *chosen)?;
            // After the state. Another home may have it since the last look: this one gives up what waits (`grid move`).
            if let Some(away) = remote::away(grid, *chosen)? {
                told(WaitEvent::Progress(progress(grid, what)?));
                if let Some(ended) = wait_remote(grid, *chosen, away, what, stop, told)? {
                    of_members.insert(*chosen, ended);
                }
                break;
            }
            grid.store.check_in_place()?;
            if state.ended() {
                break;
            }
            if state == State::Held && !said_held {
                said_held = true;
                let reason =
                    grid.store.view().task(chosen.task)?.and_then(|row| row.reason_in(state)).unwrap_or_default();
                told(WaitEvent::Note(&format!("task {chosen} is HELD: {reason}")));
            }
            if !told(WaitEvent::Progress(progress(grid, what)?)) || stop.is_due() {
                break 'tasks;
            }
            let mut open = match connection.take() {
                Some(open) => open,
                None => {
                    let watch = ToDispatcher::Watch { task: chosen.task, index: chosen.index };
                    start::call(grid.store.home(), &grid.login, &watch)?
                }
            };
            // 250 ms are for the progress bar; the end itself wakes the wait.
            if !readable(&open, 250)? {
                connection = Some(open);
                continue;
            }
            match open.receive()? {
                // The dispatcher sends ends once they are on the disk.
                Some(FromDispatcher::Ended { .. }) => durable = true,
                Some(_) => connection = Some(open),
                // The dispatcher stopped or was killed; the next call starts another one.
                None => losses.one_more(grid.store.home())?,
            }
        }
        connection = None;
        all_told &= durable;
    }
    told(WaitEvent::Progress(progress(grid, what)?));
    if !all_told {
        settle(grid)?;
    }
    // If another home was put here, its dispatcher may have sent the end of its own task.
    grid.store.check_in_place()?;
    let view = grid.store.view();
    let mut waited = Waited { tasks: Vec::with_capacity(what.len()), code: 0, files: Vec::new() };
    for chosen in what {
        let (state, code, exit_code) = match of_members.get(chosen) {
            Some(ended) => *ended,
            None => {
                let (code, exit_code) = shell_code(&view, *chosen)?;
                (member_state(&view, *chosen)?, code, exit_code)
            }
        };
        waited.code = waited.code.max(code);
        waited.tasks.push(EndReport { id: chosen.to_string(), state, exit_code });
    }
    Ok(waited)
}

/// Waits for a task that another home holds: that home reports the end. It is asked again until it answers.
/// Gives the end of a single member, which has no row here.
fn wait_remote(
    grid: &mut Grid,
    chosen: Chosen,
    mut away: Away,
    what: &[Chosen],
    stop: &Stop,
    told: &mut WaitSink<'_>,
) -> Result<Option<(State, u8, Option<u8>)>, OpsError> {
    const AGAIN: Duration = Duration::from_secs(1);
    let mut sent = false;
    let mut said_why = false;
    loop {
        let row = grid.store.view().task(chosen.task)?;
        grid.store.check_in_place()?;
        if row.as_ref().is_none_or(|row| row.state().ended()) && chosen.index.is_none() || stop.is_due() {
            return Ok(None);
        }
        let member = row.as_ref().map_or("its home", TaskRow::holder).to_owned();
        let why = row.and_then(|row| row.reason);
        let mut why = remote::states::why_waiting(why.as_ref()).to_owned();
        let (mut denied, mut moved) = (false, false);
        if matches!(away.held, AwayState::By { .. }) {
            // If the submit did not learn which home accepted the task, its files are not sent yet.
            sent = sent || files::send(grid, &away).is_ok();
            match chosen.index {
                Some(index) => {
                    let verb = Verb::Wait { index: Some(index) };
                    let said = send_verb_until(grid, &away, verb, stop.clone(), &mut silently);
                    match said {
                        Ok(Answer::Ended { state, code, exit_code }) => return Ok(Some((state, code, exit_code))),
                        Ok(other) => (denied, why) = (true, words_of(other)),
                        Err(_) if has_moved(grid, &away)? => moved = true,
                        Err(error) => (denied, why) = (matches!(error, OpsError::Denied { .. }), error.to_string()),
                    }
                }
                None => {
                    let others = what.iter().filter(|other| other.index.is_none());
                    let others = others.map(|other| remote::away(grid, *other)).collect::<Result<Vec<_>, _>>()?;
                    let others: Vec<Away> = others.into_iter().flatten().collect();
                    match watch(grid, &away, &others, stop)? {
                        WatchOutcome::Heard => continue,
                        WatchOutcome::Silent(words) => why = words,
                        WatchOutcome::Denied(words) => (denied, why) = (true, words),
                        WatchOutcome::Moved => moved = true,
                        // As for an unknown end: this gives no code of the task.
                        WatchOutcome::Gone(why) => return Err(OpsError::Grid(format!("task {chosen}: {why}"))),
                    }
                }
            }
        }
        if stop.is_due() {
            return Ok(None);
        }
        if !moved && !std::mem::replace(&mut said_why, true) {
            let since = away.answered_at.map_or_else(String::new, |at| format!(" since {}", at.local()));
            let remedy = cancel::remedy_if_lost(away.task);
            told(WaitEvent::Note(&match away.held {
                AwayState::By { .. } if denied => {
                    format!(
                        "task {chosen}: {member} does not report its state: {why}; it is asked again until it does; {remedy}"
                    )
                }
                AwayState::By { .. } => {
                    format!(
                        "task {chosen}: {member} does not answer{since}: {why}; it is asked again until it does; {remedy}"
                    )
                }
                AwayState::Open { .. } | AwayState::Moving { .. } => format!("task {chosen} waits: {why}"),
            }));
        }
        dispatcher::wake(grid)?;
        // Its home is down, or the search is still open. Both change without a message to this command.
        std::thread::sleep(AGAIN);
        match remote::away(grid, chosen)? {
            Some(now) => {
                // A new home has none of its files.
                sent &= now.held == away.held;
                away = now;
            }
            // The search led back to this home, which has the task now; or the task was given up.
            None => return wait_until(grid, &[chosen], stop, &mut |_| true).map(|_| None),
        }
    }
}

/// Syncs ends that are only in the log to the disk, so that a reported end is durable.
pub(super) fn settle(grid: &Grid) -> Result<(), OpsError> {
    match grid.store.settle() {
        // The end counts anyway; the log is synced when there is room.
        Err(error) if error.is_full(grid.store.home()) => Ok(()),
        other => Ok(other?),
    }
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

fn progress(grid: &Grid, what: &[Chosen]) -> Result<WaitProgress, OpsError> {
    let view = grid.store.view();
    let mut progress = WaitProgress::default();
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
                    progress.ended += u64::from(row.size.saturating_sub(row.counts.unended()));
                }
            }
        }
    }
    Ok(progress)
}
