//! Recovery: the attempts in the database are reconciled with those that the agents hold.

use crate::dispatch::attempts::lanes::LaneAttempt;
use crate::dispatch::attempts::machines::{Answering, BoundElsewhere, GreetedHost};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::id::{AttemptId, BootId, LaneId, ServerId};
use crate::model::resources::Needs;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Ended, Event, Held as Inventory, HeldState};
use crate::store::files::Whereabouts;
use crate::store::members::Live;
use crate::store::{StoreError, Tx, View};
use std::collections::HashMap;
use std::time::Duration;

/// Pause before a probe of a host that has just got a start.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);

impl Dispatcher {
    /// Takes over the lanes of the previous dispatcher.
    pub(in crate::dispatch) fn adopt_lanes(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        view.live()?.iter().try_for_each(|live| self.adopt(view, live))
    }

    /// Takes over a member on a server, and its lane.
    pub(in crate::dispatch) fn adopt(&mut self, view: &View<'_>, live: &Live) -> Result<(), StoreError> {
        let now = self.ambient.now().mono;
        if self.attempts.lanes.find(live.attempt()).is_some() {
            return Ok(());
        }
        // Without a lane the process is gone and the place is released: only the end is awaited.
        let Some(lane) = live.lane else {
            self.links.awaited.insert(live.host);
            return Ok(());
        };
        let needs = match view.class(live.class) {
            Ok(Some(class)) => class.demand.needs,
            Ok(None) => return Ok(()),
            // What runs is followed to its end; if its demand can't be read, the default is counted.
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

    /// Reconciles the database with the inventory of an agent's hello.
    pub(in crate::dispatch) fn recover(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        boot: &BootId,
        answering: Option<Answering>,
        inventory: Vec<Inventory>,
    ) -> Result<(), DispatchError> {
        self.links.cut.remove(&route);
        let machine = answering.as_ref().map(|answering| answering.machine);
        let host = GreetedHost { boot, machine };
        self.callers.give_up_on_others(route, machine);
        self.transfers.discards.link_up(route);
        let mut elsewhere = BoundElsewhere::default();
        let early_starts = self.links.slots.get(&route).is_some_and(LinkState::sent_early_starts);
        let mut there: HashMap<AttemptId, (LaneId, HeldState)> =
            inventory.into_iter().map(|held| (held.attempt, (held.lane, held.state))).collect();
        let all = turn.tx.live()?.into_iter();
        let sent_there: Vec<Live> = all.filter(|live| self.route_to(live.host) == Some(route)).collect();
        // An agent without the record of a command that ran has lost its spool: others of which it has none may have run too.
        let spool_is_lost = sent_there.iter().any(|live| {
            let (began, kept) = (live.running || live.lane.is_none(), live.sent > self.instance.restored);
            began && kept && live.boot == *boot && live.machine == machine && !there.contains_key(&live.attempt())
        });
        for live in sent_there {
            self.adopt(turn.tx, &live)?;
            match there.remove(&live.attempt()) {
                Some((_, state)) => {
                    if let Some(machine) = machine.filter(|_| live.machine != machine) {
                        turn.tx.bind(live.task, live.index, machine)?;
                    }
                    self.found(turn, route, &live, state)?;
                }
                // A cancel ends it in this turn, and no agent has it.
                None if live.sent.is_none() && turn.tx.cancel_asked(live.task, Some(live.index))?.is_some() => {}
                None if live.sent.is_none() => self.resend_start(turn, &live, host)?,
                // An early start: this hello is the answer to ours, and was sent before the start was read.
                None if live.sent == Some(self.instance.epoch) && early_starts => {}
                None if self.is_on_other_machine(turn, &live, answering.as_ref())? => elsewhere.add(&live),
                None if live.sent <= self.instance.restored => self.hold_unknown(turn, &live)?,
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
                    // It may have started, and its record may be lost with the restart.
                    let why = "the server was restarted while its start was on the way";
                    let event = Event::Ended { attempt: live.attempt(), ended: lost(why, turn.now.wall) };
                    self.event(turn, route, event)?;
                }
                None if spool_is_lost => {
                    let ended = lost("the server has lost its records: it may have run", turn.now.wall);
                    self.event(turn, route, Event::Ended { attempt: live.attempt(), ended })?;
                }
                // The agent writes a record before it starts anything, and has none: the start is sent again.
                None => self.resend_start(turn, &live, host)?,
            }
        }
        let here = self.servers_on(route);
        // Ends on a machine that does not answer are still awaited.
        self.links.awaited.retain(|host| !here.contains(host) || elsewhere.holds_end_on(*host));
        self.set_elsewhere(route, elsewhere);
        for (attempt, (lane, state)) in there {
            if let Some(live) = self.follow_unknown(turn, route, host, lane, attempt)? {
                self.found(turn, route, &live, state)?;
                continue;
            }
            match state {
                // Submitted after the backup that this home was restored from: this home must not cancel it.
                HeldState::Queued | HeldState::Running { .. }
                    if self.is_restored() && turn.tx.task_by_uuid(attempt.task)?.is_none() => {}
                // An output too long to fetch is read there for as long as it is kept.
                HeldState::Ended(_) if self.output_stays_on_server(turn.tx, route, attempt)? => {}
                HeldState::Ended(_) => turn.then(Effect::Confirm { route, attempt }),
                // No task of this home: cancel it.
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
        // Starts that were just sent are started before the host is probed.
        let begins = early_starts
            || turn
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Start(placed) if self.route_of(placed.place) == Some(route)));
        self.probe_by(route, turn.now.mono + if begins { BEGIN_PAUSE } else { Duration::ZERO });
        Ok(())
    }

    /// Sends the start of a member, for the first time or again.
    fn resend_start(
        &self,
        turn: &mut Turn<'_, '_>,
        live: &Live,
        GreetedHost { boot, machine }: GreetedHost<'_>,
    ) -> Result<(), DispatchError> {
        turn.tx.mark_sent(live, self.instance.epoch, boot, machine)?;
        turn.effects.extend(self.starts_of(turn.tx, live, boot)?.into_iter().map(Effect::Start));
        Ok(())
    }

    fn output_stays_on_server(&self, tx: &Tx<'_>, route: Route, attempt: AttemptId) -> Result<bool, StoreError> {
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
            HeldState::Running { started_at, process, supervised, without } => {
                self.event(turn, route, Event::Began { attempt, at: started_at, process, without })?;
                if supervised { Ok(()) } else { self.event(turn, route, Event::Orphaned { attempt }) }
            }
            HeldState::Ended(ended) => self.event(turn, route, Event::Ended { attempt, ended }),
        }
    }

    /// Handles the loss of a link: attempts over there keep running, and the next hello finds them.
    pub(in crate::dispatch) fn link_lost(&mut self, route: Route, error: &str) {
        tracing::warn!("link {route:?}: {error}");
        self.attempts.cancelling.clear();
        self.transfers.inputs.forget(route);
        self.transfers.discards.forget(route);
        self.callers.cleared(route, &Err(error.to_owned()));
        let (brought, asked) = self.transfers.results.forget(route);
        if self.transfers.outputs.forget(route) || brought {
            // The place is released, but the end is not recorded: the link is needed.
            self.links.cut.insert(route);
        }
        for known in asked {
            self.callers.brought(known.member());
        }
        self.callers.detach();
        self.activity.dirty = true;
    }

    /// Handles a host that can't be reached, or whose agent can't work.
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

    /// Marks early starts as unsent: the agent ended before it read them.
    fn release_lost_early_starts(&mut self, tx: &Tx<'_>, route: Route) -> Result<(), StoreError> {
        if !self.links.slots.get_mut(&route).is_some_and(LinkState::take_early_starts_lost) {
            return Ok(());
        }
        for live in tx.live()? {
            let place = Place { server: live.server, host: live.host };
            if live.sent == Some(self.instance.epoch) && self.route_of(place) == Some(route) {
                tx.mark_unsent(live.task, live.index)?;
            }
        }
        Ok(())
    }

    /// Returns members that were placed on a server, but never sent there, to the queue. No attempt is used up.
    fn replace_unsent(&mut self, turn: &mut Turn<'_, '_>, route: Route) -> Result<(), DispatchError> {
        for live in turn.tx.unsent()? {
            let place = Place { server: live.server, host: live.host };
            if self.route_of(place) == Some(route) {
                self.adopt(turn.tx, &live)?;
                self.return_to_queue(turn, live.key(), live.attempt())?;
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

/// The end of an attempt without a record of how it ended.
pub(in crate::dispatch) fn lost(why: &str, now: Timestamp) -> Ended {
    let cause = Cause::Lost { why: why.to_owned() };
    let end = End {
        cause,
        started_at: None,
        ended_at: now,
        usage: Usage::default(),
        out_len: 0,
        err_len: 0,
        cut: None,
        without: Vec::new(),
    };
    Ended { end, out: None, err: None }
}
