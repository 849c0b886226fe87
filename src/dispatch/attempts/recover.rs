//! Finding everything again: what the database says lies with servers, against what their agents hold.

use crate::dispatch::attempts::lanes::LaneAttempt;
use crate::dispatch::attempts::machines::{Answering, BoundElsewhere};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::id::AttemptKey;
use crate::model::id::{AttemptId, BootId, Epoch, LaneId, MachineId, ServerId};
use crate::model::resources::Needs;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Ended, Event, Held as Inventory, HeldState};
use crate::store::files::Whereabouts;
use crate::store::members::Live;
use crate::store::{StoreError, Tx, View};
use std::collections::HashMap;
use std::time::Duration;

/// A host that has just been told to begin something is read so much later.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);

impl Dispatcher {
    /// A new dispatcher takes over the lanes that live.
    pub(in crate::dispatch) fn adopt_lanes(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        view.live()?.iter().try_for_each(|live| self.adopt(view, live))
    }

    /// Knows a member that lies with a server, and its lane.
    pub(in crate::dispatch) fn adopt(&mut self, view: &View<'_>, live: &Live) -> Result<(), StoreError> {
        let now = self.ambient.now().mono;
        if self.attempts.lanes.find(live.attempt()).is_some() {
            return Ok(());
        }
        // Of one whose process is gone the place is given back already; nothing but its end is waited for.
        let Some(lane) = live.lane else {
            self.links.awaited.insert(live.host);
            return Ok(());
        };
        let needs = match view.class(live.class) {
            Ok(Some(class)) => class.demand.needs,
            Ok(None) => return Ok(()),
            // What runs is followed to its end; what it took is counted as one that says nothing.
            Err(StoreError::Unreadable(_)) => Needs::default(),
            Err(error) => return Err(error),
        };
        let held = LaneAttempt { attempt: live.attempt(), task: live.task, began: live.running.then_some(now) };
        let place = Place { server: live.server, host: live.host };
        self.attempts.lanes.put(lane, live.class, place, needs, held);
        if !live.running {
            self.transfers.inputs.may_wait(live.task);
        }
        Ok(())
    }

    /// An agent said hello: what it holds against what the database says.
    pub(in crate::dispatch) fn recover(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        (boot, answering): (&BootId, Option<Answering>),
        inventory: Vec<Inventory>,
    ) -> Result<(), DispatchError> {
        self.links.cut.remove(&route);
        let machine = answering.as_ref().map(|answering| answering.machine);
        self.callers.give_up_on_others(route, machine);
        self.transfers.discards.link_up(route);
        let mut elsewhere = BoundElsewhere::default();
        let early_starts = self.links.slots.get(&route).is_some_and(LinkState::sent_early_starts);
        let mut there: HashMap<AttemptId, (LaneId, HeldState)> =
            inventory.into_iter().map(|held| (held.attempt, (held.lane, held.state))).collect();
        for live in turn.tx.live()? {
            let place = Place { server: live.server, host: live.host };
            if self.route_of(place) != Some(route) {
                continue;
            }
            self.adopt(turn.tx, &live)?;
            match there.remove(&live.attempt()) {
                Some((_, state)) => {
                    if let Some(machine) = machine.filter(|_| live.machine != machine) {
                        turn.tx.bind(live.task, live.index, machine)?;
                    }
                    self.found(turn, route, &live, state)?;
                }
                // It is about to be ended here: nobody over there has heard of it.
                None if live.sent == Epoch(0) && turn.tx.cancel_asked(live.task, Some(live.index))?.is_some() => {}
                None if live.sent == Epoch(0) => self.start_again(turn, &live, (boot, machine))?,
                // Said right behind our hello, and this is the answer to that.
                None if live.sent == self.instance.epoch && early_starts => {}
                None if self.lies_elsewhere(turn, &live, answering.as_ref())? => elsewhere.add(&live),
                None if live.sent <= self.instance.restored => self.held_back(turn, &live)?,
                None if live.lane.is_none() => {
                    let event = Event::Ended {
                        attempt: live.attempt(),
                        ended: lost("its record on the server is gone", turn.now.wall),
                    };
                    self.event(turn, route, event)?;
                }
                None if live.running => {
                    let same = live.boot == *boot;
                    let why =
                        if same { "its record on the server is gone" } else { "the server was restarted while it ran" };
                    let event = Event::Ended { attempt: live.attempt(), ended: lost(why, turn.now.wall) };
                    self.event(turn, route, event)?;
                }
                None if live.boot != *boot => {
                    // It may have begun, and its record may not have come to the disk.
                    let why = "the server was restarted while its start was on the way";
                    let event = Event::Ended { attempt: live.attempt(), ended: lost(why, turn.now.wall) };
                    self.event(turn, route, event)?;
                }
                // The agent has no record of a beginning, and makes one before it begins anything: the start is said again.
                None => self.start_again(turn, &live, (boot, machine))?,
            }
        }
        let here = self.servers_on(route);
        // Ends that lie with a machine that does not answer are still awaited.
        self.links.awaited.retain(|host| !here.contains(host) || elsewhere.holds_end_on(*host));
        self.set_elsewhere(route, elsewhere);
        for (attempt, (lane, state)) in there {
            if let Some(live) = self.taken_up(turn, route, (boot, machine, lane), attempt)? {
                self.found(turn, route, &live, state)?;
                continue;
            }
            match state {
                // Submitted after the backup that this home was restored from: nobody here may say that it should end.
                HeldState::Queued | HeldState::Running { .. }
                    if self.is_restored() && turn.tx.task_by_uuid(attempt.task)?.is_none() => {}
                // An output that was too long to bring home is read from there as long as it is kept.
                HeldState::Ended(_) if self.stays_there(turn.tx, route, attempt)? => {}
                HeldState::Ended(_) => turn.then(Effect::Confirm { route, attempt }),
                // Nobody asks for it any more.
                HeldState::Queued | HeldState::Running { .. } => {
                    turn.then(Effect::Cancel { route, attempt, grace: Duration::from_secs(10) })
                }
            }
        }
        if let Some(slot) = self.links.slots.get_mut(&route) {
            slot.set_reconciled();
        }
        let now = turn.now.wall;
        for id in self.servers_on(route) {
            turn.tx.record_contact(id, now)?;
            if let Some((distributor, fleet)) = self.schedule.fleets.with(id) {
                self.schedule.queue.free(distributor, id);
                for group in fleet.felt_by(None) {
                    self.schedule.queue.free(distributor, group);
                }
            }
        }
        self.activity.dirty = true;
        // What is told to begin there begins first.
        let begins = early_starts
            || turn
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Start(placed) if self.route_of(placed.place) == Some(route)));
        self.probe_by(route, turn.now.mono + if begins { BEGIN_PAUSE } else { Duration::ZERO });
        Ok(())
    }

    /// Starts a member on its server, for the first time or again.
    fn start_again(
        &self,
        turn: &mut Turn<'_, '_>,
        live: &Live,
        (boot, machine): (&BootId, Option<MachineId>),
    ) -> Result<(), DispatchError> {
        turn.tx.mark_sent(live, self.instance.epoch, boot, machine)?;
        turn.effects.extend(self.starts_of(turn.tx, live, boot)?.into_iter().map(Effect::Start));
        Ok(())
    }

    fn stays_there(&self, tx: &Tx<'_>, route: Route, attempt: AttemptId) -> Result<bool, StoreError> {
        let Some(known) = self.known(tx, route, attempt)? else { return Ok(false) };
        if tx.outputs_stay_there(known)? {
            return Ok(true);
        }
        let fetched = tx.fetched(known.task, known.index)?.filter(|f| f.number == known.number);
        Ok(fetched.is_some_and(|f| matches!(f.lies, Whereabouts::There { .. })))
    }

    fn found(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        live: &Live,
        state: HeldState,
    ) -> Result<(), DispatchError> {
        let attempt = live.attempt();
        match state {
            HeldState::Queued => Ok(()),
            HeldState::Running { started_at, process, supervised } => {
                self.event(turn, route, Event::Began { attempt, at: started_at, process })?;
                if supervised { Ok(()) } else { self.event(turn, route, Event::Orphaned { attempt }) }
            }
            HeldState::Ended(ended) => self.event(turn, route, Event::Ended { attempt, ended }),
        }
    }

    /// The link is lost: what lies over there goes on, and is found again at the next hello.
    pub(in crate::dispatch) fn link_lost(&mut self, route: Route, error: &str) {
        tracing::warn!("link {route:?}: {error}");
        self.attempts.cancelling.clear();
        self.transfers.inputs.forget(route);
        self.transfers.discards.forget(route);
        self.callers.cleared(route, &Err(error.to_owned()));
        let (brought, asked) = self.transfers.results.forget(route);
        if self.transfers.outputs.forget(route) || brought {
            // Its place is free already, but the end is not taken in: the link is wanted.
            self.links.cut.insert(route);
        }
        for known in asked {
            self.callers.brought(known.task, known.index);
        }
        self.callers.detach();
        self.activity.dirty = true;
    }

    /// A host can't be reached, or its agent can't work.
    pub(in crate::dispatch) fn route_down(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        error: &str,
    ) -> Result<(), DispatchError> {
        self.callers.give_up(route);
        for id in self.servers_on(route) {
            turn.tx.record_down(id, error, turn.now.wall)?;
            turn.then(Effect::Probed { server: id, read: Err(error.to_owned()) });
        }
        self.release_lost_early_starts(turn.tx, route)?;
        self.replace_unsent(turn, route)?;
        Ok(self.load_servers(turn.tx)?)
    }

    /// What went ahead to an agent that did not hear it was as good as never sent.
    fn release_lost_early_starts(&mut self, tx: &Tx<'_>, route: Route) -> Result<(), StoreError> {
        if !self.links.slots.get_mut(&route).is_some_and(LinkState::take_early_starts_lost) {
            return Ok(());
        }
        for live in tx.live()? {
            let place = Place { server: live.server, host: live.host };
            if live.sent == self.instance.epoch && self.route_of(place) == Some(route) {
                tx.mark_unsent(live.task, live.index)?;
            }
        }
        Ok(())
    }

    /// What was given to a server and never sent there goes on to another; it has not used an attempt.
    fn replace_unsent(&mut self, turn: &mut Turn<'_, '_>, route: Route) -> Result<(), DispatchError> {
        for live in turn.tx.unsent()? {
            let place = Place { server: live.server, host: live.host };
            if self.route_of(place) == Some(route) {
                self.adopt(turn.tx, &live)?;
                let known = AttemptKey { task: live.task, index: live.index, number: live.number };
                self.back_to_waiting(turn, known, live.attempt())?;
            }
        }
        Ok(())
    }

    /// The servers that a link leads to.
    pub(in crate::dispatch) fn servers_on(&self, route: Route) -> Vec<ServerId> {
        let all = self.schedule.fleets.servers();
        all.filter(|s| Route::to(&s.engine) == Some(route)).map(|s| s.id).collect()
    }
}

/// An end of which no record says how it came.
pub(in crate::dispatch) fn lost(why: &str, now: Timestamp) -> Ended {
    let cause = Cause::Lost { why: why.to_owned() };
    let end =
        End { cause, started_at: None, ended_at: now, usage: Usage::default(), out_len: 0, err_len: 0, cut: None };
    Ended { end, out: None, err: None }
}
