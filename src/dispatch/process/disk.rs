//! A home whose disk is full: the dispatcher keeps running, sends cancels that could not be written, and writes once there is room.

use crate::dispatch::attempts::lanes::Lanes;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::queue::Queue;
use crate::dispatch::sealed;
use crate::dispatch::submits::SubmitMessage;
use crate::dispatch::transfer::ending::Ending;
use crate::dispatch::turn::Turn;
use crate::distributor::fleets::Fleets;
use crate::link::LinkError;
use crate::matching::Place;
use crate::model::id::{Index, TaskId};
use crate::model::ssh_command::SshCommand;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FromAgent, HeldState, ToAgent};
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::members::Live;
use crate::store::{Durability, Log, Store, StoreError, View};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// A transaction that found no room is retried after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// A reserve that was given up, or could not be made, is made again after this time.
const RESERVE_AGAIN: Duration = Duration::from_secs(30);

/// The longest time between TERM and KILL that is accepted.
const GRACE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The disk of the home.
#[derive(Debug)]
pub struct Disk {
    /// State of a disk without room.
    pub shortage: Shortage,
    /// When the write-ahead log was last moved into the database.
    pub log_moved: Option<Instant>,
}

/// What could not be written, and what a failed transaction has to undo.
#[derive(Debug)]
pub struct Shortage {
    /// Since when transactions have found no room.
    since: Option<Timestamp>,
    /// Cancels that could not be written, each with the time between TERM and KILL.
    cancels: Vec<(TaskId, Option<Index>, Duration)>,
    /// Links whose messages the open transaction records.
    reported_by: Vec<Route>,
    /// Callers whose submits the open transaction handles.
    submitted: Vec<u64>,
    /// How many outcomes of repeated fetches, from the first, the open transaction records.
    again: usize,
    /// The open transaction records an end: only then the reserve may be given up.
    ends: bool,
    /// When the reserve is due to be made.
    reserve_at: Option<Instant>,
}

impl Disk {
    /// A disk with room; the reserve is due at `now`.
    pub fn new(now: Instant) -> Self {
        Self { shortage: Shortage::new(now), log_moved: None }
    }
}

impl Shortage {
    fn new(now: Instant) -> Self {
        Self {
            since: None,
            cancels: Vec::new(),
            reported_by: Vec::new(),
            submitted: Vec::new(),
            again: 0,
            ends: false,
            reserve_at: Some(now),
        }
    }
}

impl Shortage {
    /// True if there are cancels to record.
    pub fn has_cancels(&self) -> bool {
        !self.cancels.is_empty()
    }

    /// Notes that the open transaction records this many outcomes of repeated fetches.
    pub const fn will_record_refetched(&mut self, many: usize) {
        self.again = many;
    }

    /// Notes what the transaction that begins records: messages of agents, ends and submits.
    pub fn will_record(
        &mut self,
        messages: &[(Route, FromAgent)],
        endings: &[Ending],
        submits: &[(u64, SubmitMessage)],
    ) {
        self.again = 0;
        self.submitted.clear();
        self.submitted.extend(submits.iter().map(|(caller, _)| *caller));
        self.reported_by.clear();
        self.reported_by.extend(messages.iter().map(|(route, _)| *route));
        self.reported_by.extend(endings.iter().map(|ending| ending.report().route));
        self.ends = !endings.is_empty() || messages.iter().any(|(_, message)| reports_end(message));
    }
}

/// True if the message reports an attempt that has ended.
fn reports_end(message: &FromAgent) -> bool {
    match message {
        FromAgent::Hello { inventory, .. } => inventory.iter().any(|held| matches!(held.state, HeldState::Ended(_))),
        FromAgent::Events(events) => events.iter().any(|event| matches!(event, Event::Ended { .. })),
        _ => false,
    }
}

impl Dispatcher {
    /// Forgets what a failed transaction would have undone: the transaction is on the disk.
    pub(in crate::dispatch) fn committed(&mut self) {
        self.disk.shortage.reported_by.clear();
        self.disk.shortage.submitted.clear();
        self.disk.shortage.cancels.clear();
        let taken = std::mem::take(&mut self.disk.shortage.again).min(self.transfers.again.len());
        self.transfers.again.drain(..taken);
        if let Some(since) = self.disk.shortage.since.take() {
            tracing::warn!("the home's disk has room again; it was full since {}", since.local());
        }
    }

    /// Moves a long write-ahead log into the database, so that no command has to.
    pub(in crate::dispatch) fn move_log(&mut self, store: &Store) -> Result<(), StoreError> {
        const PAGES_MAX: u32 = 1_000;
        let now = self.ambient.now();
        if self.disk.log_moved.is_some_and(|at| now.since(at) < Duration::from_millis(100)) {
            return Ok(());
        }
        self.disk.log_moved = Some(now.mono);
        if store.log_pages()? > PAGES_MAX {
            match store.checkpoint(Log::Stays) {
                // The log keeps growing if it can.
                Err(error) if error.is_full(&self.home) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes the reserve if it is due.
    pub(in crate::dispatch) fn keep_reserve(&mut self) {
        let now = self.ambient.now().mono;
        if self.disk.shortage.reserve_at.is_some_and(|at| at <= now) {
            let kept = self.home.keep_reserve();
            self.disk.shortage.reserve_at = (!kept).then(|| now + RESERVE_AGAIN);
        }
    }

    /// Carries out a cancel that its command could not write; it is recorded with the next transaction.
    pub(in crate::dispatch) fn cancel_unwritten(
        &mut self,
        view: &View<'_>,
        task: TaskId,
        index: Option<Index>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        let grace = grace.min(GRACE_MAX);
        self.disk.shortage.cancels.push((task, index, grace));
        self.activity.dirty = true;
        self.send_cancels(view, task, index, grace)
    }

    /// Sends a cancel to the agents that run the attempts of a task or member. Repeating it does no harm.
    fn send_cancels(
        &mut self,
        view: &View<'_>,
        task: TaskId,
        index: Option<Index>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        for live in view.live_of(task)?.into_iter().filter(|live| index.is_none_or(|index| index == live.index)) {
            // Another machine has no record of it, and would report that it never started.
            if let Some(route) = self.route_of(Place { server: live.server, host: live.host })
                && self.is_own_machine(view, route, &live)?
            {
                self.send(route, &ToAgent::Cancel { attempt: live.attempt(), grace });
            }
        }
        Ok(())
    }

    /// True if the machine behind a route is the one the attempt was sent to, by the last hello, which may not be recorded yet.
    fn is_own_machine(&self, view: &View<'_>, route: Route, live: &Live) -> Result<bool, StoreError> {
        if self.is_there(route, live.machine) {
            return Ok(true);
        }
        let hello = self.links.inbox.iter().rev().find_map(|(of, message)| match message {
            FromAgent::Hello { machine, .. } if *of == route => Some(machine),
            _ => None,
        });
        let (Some(bound), Some(hello)) = (live.machine, hello) else { return Ok(false) };
        let as_before = view.machine_of(live.host)?.is_some_and(|(name, _)| name == *hello);
        Ok(as_before && view.misled_from(live.host, bound)?.is_none())
    }

    /// Stores the ssh command that a caller names. Without room it is dropped: the next caller names it again.
    pub(in crate::dispatch) fn keep_ssh_command(
        &mut self,
        store: &mut Store,
        command: &SshCommand,
    ) -> Result<(), StoreError> {
        match sealed::write(store, Durability::Full, |tx| self.links.connector.keep_command(tx, command)) {
            Err(error) if error.is_full(&self.home) => Ok(()),
            other => other,
        }
    }

    /// Records the cancels that could not be written before.
    pub(in crate::dispatch) fn record_cancels(&self, turn: &Turn<'_, '_>) -> Result<(), StoreError> {
        let (tx, now) = (turn.tx, turn.now.wall);
        for (task, index, grace) in &self.disk.shortage.cancels {
            // The task may have ended or been removed since.
            if tx.task(*task)?.is_some_and(|row| !row.state().ended()) {
                tx.ask_cancel(*task, *index, *grace, now)?;
                tx.trace(*task, now, "cancel asked")?;
            }
        }
        Ok(())
    }

    /// Handles a transaction that found no room. The log is moved into the database, so that the next transaction is written into
    /// the blocks of the log. The reserve is given up for ends only: a program that keeps writing would use it up too. Then the
    /// dispatcher waits for a while and serves its callers. True: it is to exit, and there is still no room.
    pub(in crate::dispatch) fn wait_for_room(
        &mut self,
        store: &mut Store,
        listener: &UnixListener,
    ) -> Result<bool, DispatchError> {
        self.roll_back(&store.view())?;
        // Submits are refused; the blocks of the log are kept for ends and cancels.
        let urgent = self.disk.shortage.ends || self.disk.shortage.has_cancels();
        let log_moved = urgent && store.checkpoint(Log::Stays).is_ok();
        let first = self.disk.shortage.since.is_none();
        if first {
            self.disk.shortage.since = Some(self.ambient.now().wall);
            tracing::warn!("the home's disk is full: writes are retried until there is room");
        }
        if self.disk.shortage.ends && self.home.give_up_reserve() {
            self.disk.shortage.reserve_at = Some(self.ambient.now().mono + RESERVE_AGAIN);
            return Ok(false);
        }
        if first && log_moved {
            return Ok(false);
        }
        let until = self.ambient.now().mono + AGAIN;
        while let Some(left) = until.checked_duration_since(self.ambient.now().mono).filter(|_| !self.activity.leave) {
            self.open_links(store)?;
            for (task, index, grace) in self.disk.shortage.cancels.clone() {
                self.send_cancels(&store.view(), task, index, grace)?;
            }
            self.flush();
            self.wait_at_most(left.min(AGAIN / 4), store, listener)?;
        }
        // The cancels are flushed before the dispatcher exits.
        self.flush();
        Ok(self.activity.leave)
    }

    /// Undoes a transaction that was not written. The state in memory is rebuilt from the database, and agents repeat at their
    /// next hello what the transaction had recorded.
    pub(in crate::dispatch) fn roll_back(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        for route in std::mem::take(&mut self.disk.shortage.reported_by) {
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.failed(LinkError::Ended, &self.links.connector);
                slot.retry_now();
            }
            self.links.inbox.retain(|(of, _)| *of != route);
            self.link_lost(route, "the disk of the home is full: its messages are requested again");
        }
        self.callers.detach();
        self.disk.shortage.again = 0;
        for again in std::mem::take(&mut self.transfers.again) {
            self.callers.brought(again.key.member());
        }
        // The commands submit by themselves, and report why it fails.
        for caller in std::mem::take(&mut self.disk.shortage.submitted) {
            self.callers.answer(caller, &FromDispatcher::Done { answer: None });
        }
        (self.attempts.lanes, self.schedule.queue, self.schedule.fleets) =
            (Lanes::default(), Queue::default(), Fleets::kept());
        (self.schedule.seen_servers, self.schedule.seen_classes, self.attempts.lane_numbers) = (0, 0, 0..0);
        self.schedule.compiled.clear();
        self.schedule.capped.clear();
        self.schedule.verdicts.kept.clear();
        self.attempts.cancelling.clear();
        self.attempts.lose_at = Some(self.ambient.now().mono);
        self.activity.dirty = true;
        self.adopt_lanes(view)?;
        self.load_servers(view)
    }
}
