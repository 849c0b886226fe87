//! A home whose disk is full: the dispatcher stays, carries cancels out that could not be written, and writes when there is room.

use crate::dispatch::attempts::lanes::Lanes;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::queue::Queue;
use crate::dispatch::sealed;
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

/// A transaction that found no room is tried again so much later.
const AGAIN: Duration = Duration::from_secs(1);
/// A reserve that was given up, or could not be made, is made anew so much later.
const RESERVE_AGAIN: Duration = Duration::from_secs(30);

/// A longer time between TERM and KILL is none that anybody means.
const GRACE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The disk of the home.
#[derive(Debug)]
pub struct Disk {
    /// What waits for room.
    pub shortage: Shortage,
    /// When the write-ahead log was moved last.
    pub log_moved: Option<Instant>,
}

/// What is to be done once there is room.
#[derive(Debug)]
pub struct Shortage {
    /// Since when transactions find no room.
    since: Option<Timestamp>,
    /// Cancels that could not be written, with the time between TERM and KILL.
    cancels: Vec<(TaskId, Option<Index>, Duration)>,
    /// Links whose words the transaction under way takes in.
    spoke: Vec<Route>,
    /// Callers whose submits it handles.
    submitted: Vec<u64>,
    /// So many, the first, of what came of asking for files once more are taken in by it.
    again: usize,
    /// It takes an end in: that is what the reserve is for.
    ends: bool,
    /// When the reserve is to be made.
    reserve_at: Option<Instant>,
}

impl Disk {
    /// The reserve is to be made at once.
    pub fn new(now: Instant) -> Self {
        Self { shortage: Shortage::new(now), log_moved: None }
    }
}

impl Shortage {
    fn new(now: Instant) -> Self {
        Self {
            since: None,
            cancels: Vec::new(),
            spoke: Vec::new(),
            submitted: Vec::new(),
            again: 0,
            ends: false,
            reserve_at: Some(now),
        }
    }
}

impl Shortage {
    /// Are there cancels to be written?
    pub fn has_cancels(&self) -> bool {
        !self.cancels.is_empty()
    }

    /// It takes in so much of what came of asking for files once more.
    pub const fn takes_again(&mut self, many: usize) {
        self.again = many;
    }

    /// A transaction begins that takes in these messages of agents, these ends and these submits.
    pub fn takes_in(&mut self, words: &[(Route, FromAgent)], endings: &[Ending], submits: &[(u64, Vec<u8>)]) {
        self.again = 0;
        self.submitted.clear();
        self.submitted.extend(submits.iter().map(|(caller, _)| *caller));
        self.spoke.clear();
        self.spoke.extend(words.iter().map(|(route, _)| *route));
        self.spoke.extend(endings.iter().map(|ending| ending.report().route));
        self.ends = !endings.is_empty() || words.iter().any(|(_, word)| brings_end(word));
    }
}

/// Does it tell of an attempt that has ended?
fn brings_end(word: &FromAgent) -> bool {
    match word {
        FromAgent::Hello { inventory, .. } => inventory.iter().any(|held| matches!(held.state, HeldState::Ended(_))),
        FromAgent::Events(events) => events.iter().any(|event| matches!(event, Event::Ended { .. })),
        _ => false,
    }
}

impl Dispatcher {
    /// A transaction is on the disk.
    pub(in crate::dispatch) fn written(&mut self) {
        self.disk.shortage.spoke.clear();
        self.disk.shortage.submitted.clear();
        self.disk.shortage.cancels.clear();
        let taken = std::mem::take(&mut self.disk.shortage.again).min(self.transfers.again.len());
        self.transfers.again.drain(..taken);
        if let Some(since) = self.disk.shortage.since.take() {
            tracing::warn!("there is room on the home's disk again; it was full since {}", since.local());
        }
    }

    /// The write-ahead log is moved into the database here, never by a command that somebody waits for.
    pub(in crate::dispatch) fn move_log(&mut self, store: &Store) -> Result<(), StoreError> {
        const PAGES_MAX: u32 = 1_000;
        let now = self.ambient.now();
        if self.disk.log_moved.is_some_and(|at| now.since(at) < Duration::from_millis(100)) {
            return Ok(());
        }
        self.disk.log_moved = Some(now.mono);
        if store.log_pages()? > PAGES_MAX {
            match store.checkpoint(Log::Stays) {
                // The log goes on growing, if it can.
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

    /// A cancel that its command could not write: carried out now, written with the next transaction.
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
        self.pass_on(view, task, index, grace)
    }

    /// Tells agents to end what lies there; again is no harm.
    fn pass_on(
        &mut self,
        view: &View<'_>,
        task: TaskId,
        index: Option<Index>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        for live in view.live_of(task)?.into_iter().filter(|live| index.is_none_or(|index| index == live.index)) {
            // Another machine knows nothing of it, and would say that it never began.
            if let Some(route) = self.route_of(Place { server: live.server, host: live.host })
                && self.is_own_machine(view, route, &live)?
            {
                self.send(route, &ToAgent::Cancel { attempt: live.attempt(), grace });
            }
        }
        Ok(())
    }

    /// Is it an attempt's own machine that answers over a route? Its last hello may be one that is not written yet.
    fn is_own_machine(&self, view: &View<'_>, route: Route, live: &Live) -> Result<bool, StoreError> {
        if self.is_there(route, live.machine) {
            return Ok(true);
        }
        let hello = self.links.inbox.iter().rev().find_map(|(of, word)| match word {
            FromAgent::Hello { machine, .. } if *of == route => Some(machine),
            _ => None,
        });
        let (Some(bound), Some(hello)) = (live.machine, hello) else { return Ok(false) };
        let as_before = view.machine_of(live.host)?.is_some_and(|(name, _)| name == *hello);
        Ok(as_before && view.misled_from(live.host, bound)?.is_none())
    }

    /// Keeps the ssh command that a caller names. Where there is no room its next caller brings it again.
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

    /// Writes the cancels that could not be written before.
    pub(in crate::dispatch) fn record_cancels(&self, turn: &Turn<'_, '_>) -> Result<(), StoreError> {
        let (tx, now) = (turn.tx, turn.now.wall);
        for (task, index, grace) in &self.disk.shortage.cancels {
            // It may have ended since, or be gone.
            if tx.task(*task)?.is_some_and(|row| !row.state().ended()) {
                tx.ask_cancel(*task, *index, *grace, now)?;
                tx.trace(*task, now, "cancel asked")?;
            }
        }
        Ok(())
    }

    /// The disk was full. What is in the log is moved into the database: the next transaction goes into the blocks that the log has. For
    /// an end the reserve is given up; for anything else a program that writes on would only take that too. Then a while is waited, in
    /// which callers are heard. True: it is to leave, and there is no hope for room.
    pub(in crate::dispatch) fn without_room(
        &mut self,
        store: &mut Store,
        listener: &UnixListener,
    ) -> Result<bool, DispatchError> {
        self.take_back(&store.view())?;
        // Whoever submits is told that the disk is full; what the log has is for those who make room.
        let urgent = self.disk.shortage.ends || self.disk.shortage.has_cancels();
        let moved = urgent && store.checkpoint(Log::Stays).is_ok();
        let first = self.disk.shortage.since.is_none();
        if first {
            self.disk.shortage.since = Some(self.ambient.now().wall);
            tracing::warn!("the home's disk is full: what is to be written waits until there is room");
        }
        if self.disk.shortage.ends && self.home.give_up_reserve() {
            self.disk.shortage.reserve_at = Some(self.ambient.now().mono + RESERVE_AGAIN);
            return Ok(false);
        }
        if first && moved {
            return Ok(false);
        }
        let until = self.ambient.now().mono + AGAIN;
        while let Some(left) = until.checked_duration_since(self.ambient.now().mono).filter(|_| !self.activity.leave) {
            self.open_links(store)?;
            for (task, index, grace) in self.disk.shortage.cancels.clone() {
                self.pass_on(&store.view(), task, index, grace)?;
            }
            self.flush();
            self.wait_at_most(left.min(AGAIN / 4), store, listener)?;
        }
        // Cancels that can't be written were passed on; they go out before it leaves.
        self.flush();
        Ok(self.activity.leave)
    }

    /// Nothing of the last transaction was written. What it changed in memory is made anew from the database, and agents say again at
    /// their next hello what it had taken in.
    pub(in crate::dispatch) fn take_back(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        for route in std::mem::take(&mut self.disk.shortage.spoke) {
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.failed(LinkError::Ended, &self.links.connector);
                slot.retry_now();
            }
            self.links.inbox.retain(|(of, _)| *of != route);
            self.link_lost(route, "the disk of the home is full: its words are asked for again");
        }
        self.callers.detach();
        self.disk.shortage.again = 0;
        for again in std::mem::take(&mut self.transfers.again) {
            self.callers.brought(again.key.task, again.key.index);
        }
        // They do it by themselves, and hear why it can't be.
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
        self.look_at_servers(view)
    }
}
