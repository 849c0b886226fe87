//! One turn: everything that came is taken into one transaction, what may start is claimed in the same one,
//! and only after its commit anything is sent.

use crate::dispatch::links::link_state::Slot;
use crate::dispatch::attempts::starts::Order;
use crate::dispatch::links::route::Route;
use crate::dispatch::schedule::pass;
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::distributor::fleets::Booking;
use crate::matching::Place;
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, ClassId, Index, LaneId, TaskId};
use crate::model::resources::Needs;
use crate::model::server::Engine;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FEATURES_SINCE, FromAgent, Refusal, Start, ToAgent};
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::classes::Stirred;
use crate::store::ledger::Ledger;
use crate::store::members::Live;
use crate::store::{Durability, Store, StoreError, Tx, View};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What a turn's transaction leaves to be said after its commit.
#[derive(Debug, Default)]
pub struct Outcome {
    pub orders: Vec<Order>,
    pub confirm: Vec<(Route, AttemptId)>,
    pub cancel: Vec<(Route, AttemptId, Duration)>,
    pub recall: Vec<(Route, LaneId)>,
    /// Tasks that have ended as a whole, and members that have.
    pub ended: Vec<(TaskId, Option<Index>)>,
    /// Codes of those that somebody watches.
    pub codes: HashMap<TaskId, Option<u8>>,
    /// To callers whose orders were carried out, by the callers' ids.
    pub answers: Vec<(u64, FromDispatcher)>,
    /// When a reading was asked for that has come, or why there is none.
    pub probed: Vec<(crate::model::id::ServerId, Result<Timestamp, String>)>,
    /// Attempts whose directories are not needed any more.
    pub drop_files: Vec<(Route, AttemptId)>,
    /// Members whose files somebody asked for once more.
    pub brought: Vec<(TaskId, Index)>,
}

/// Has a task, or a member of it, ended? What is not there any more has.
pub(in crate::dispatch) fn has_ended(view: &View<'_>, task: TaskId, index: Option<Index>) -> Result<bool, StoreError> {
    let member = match index {
        Some(index) => view.member(task, index)?,
        None => None,
    };
    match member {
        Some(member) => Ok(member.phase.state().ended()),
        None => Ok(view.task(task)?.is_none_or(|row| row.state().ended())),
    }
}

/// May an attempt be over by this?
fn may_end(message: &FromAgent) -> bool {
    match message {
        FromAgent::Hello { .. } => true,
        FromAgent::Events(events) => {
            events.iter().any(|event| !matches!(event, Event::Began { .. } | Event::Orphaned { .. }))
        }
        _ => false,
    }
}

impl Dispatcher {
    /// One turn.
    pub(in crate::dispatch) fn turn(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        self.send_unsent(store)?;
        self.data();
        self.send_pieces();
        self.say_discards();
        self.tell_progress(store)?;
        for (route, question) in self.callers.askable(|(route, machine)| {
            let slot = self.links.get(&route).filter(|slot| slot.boot().is_some());
            slot.is_some_and(|slot| machine.is_none() || slot.machine == machine)
        }) {
            self.tell(route, &question);
        }
        self.look_for_room();
        let now = Instant::now();
        let due = self.starve_at <= now || self.lose_at.is_some_and(|at| at <= now);
        let orders = self.callers.orders();
        let heard = !self.inbox.is_empty()
            || !self.again.is_empty()
            || !orders.is_empty()
            || self.discards.have_heard()
            || self.shortage.has_cancels();
        let quiet = !heard && !self.stirred && !self.queue.stirs() && !due;
        let stuck = self.lanes.stuck();
        if quiet && stuck.is_empty() {
            self.explain_some(store)?;
            return self.ask_for_readings(store);
        }
        // A claim is on the disk before its start is sent, an end before it is told: to whoever waits, and to its agent, which
        // then forgets that it ever ran.
        let ends = self.inbox.iter().any(|(_, message)| may_end(message));
        let asked = !orders.is_empty() || self.callers.watching() || self.stirred;
        let promises = asked || ends || due || !self.queue.is_empty();
        let durability = if promises { Durability::Full } else { Durability::Normal };
        let inbox = std::mem::take(&mut self.inbox);
        self.shortage.takes_in(&inbox, &orders);
        self.stirred = false;
        let mut outcome = Outcome::default();
        for (lane, place) in stuck.into_iter().filter(|(lane, _)| !self.is_elsewhere(*lane)) {
            if let Some(route) = self.route_of(place) {
                outcome.recall.push((route, lane));
            }
        }
        store.write(durability, |tx| {
            let now = Timestamp::now();
            self.people.forget();
            self.look_at_servers(tx)?;
            self.fleets.look_up(tx, now)?;
            self.take_orders(tx, orders, &mut outcome)?;
            self.record_cancels(tx, now)?;
            for (server, _) in self.callers.probes() {
                if self.route_to(server).is_none() {
                    outcome.probed.push((server, Err("there is no such server to be read".to_owned())));
                }
            }
            let mut ledger = Ledger::open(tx, now);
            for (route, message) in inbox {
                self.collect(tx, &mut ledger, route, message, &mut outcome)?;
            }
            self.take_in_again(tx, &mut outcome)?;
            self.strike_discards(tx)?;
            self.carry_out_cancels(tx, &mut ledger, &mut outcome)?;
            self.give_up_lost(tx, &mut ledger, now, &mut outcome)?;
            self.look_at_classes(tx)?;
            // What came into the queue only now is claimed by the next turn, durably.
            if promises {
                pass::top_up(self, tx, &mut ledger, &mut outcome)?;
            }
            self.close_lanes(tx)?;
            self.starve(tx, now)?;
            if promises {
                pass::pass(self, tx, &mut ledger, &mut outcome)?;
            }
            for task in ledger.close()? {
                outcome.ended.push((task, None));
            }
            self.look_at_watches(tx, &mut outcome)?;
            Ok::<_, DispatchError>(())
        })?;
        failpoint("dispatcher-committed");
        self.written();
        self.say(outcome);
        self.flush();
        self.move_log(store)?;
        self.ask_for_readings(store)
    }

    /// Says what the commit has made true.
    pub(in crate::dispatch) fn say(&mut self, outcome: Outcome) {
        if !outcome.orders.is_empty() {
            failpoint("dispatcher-marked-sent");
        }
        // Somebody waits for these; waking an agent may cost us the processor.
        for (caller, answer) in outcome.answers {
            self.callers.answer(caller, &answer);
        }
        let mut confirm: HashMap<Route, Vec<AttemptId>> = HashMap::new();
        for (route, attempt) in outcome.confirm {
            confirm.entry(route).or_default().push(attempt);
        }
        for order in outcome.orders {
            if let Some(route) = self.route_of(order.place) {
                if self.is_too_old_for(route, &order.start) {
                    self.refuse_for(route, order.start);
                    continue;
                }
                self.tell(route, &ToAgent::Start(order.start));
                self.moved(route);
            }
        }
        failpoint("dispatcher-sent");
        for (route, attempt, grace) in outcome.cancel {
            self.tell(route, &ToAgent::Cancel { attempt, grace });
        }
        for (route, lane) in outcome.recall {
            self.tell(route, &ToAgent::Recall { lane });
        }
        for (route, attempt) in outcome.drop_files {
            self.tell(route, &ToAgent::DropFiles { attempt });
        }
        for (route, attempts) in confirm {
            self.tell(route, &ToAgent::Confirm { attempts });
        }
        for (task, index) in outcome.ended {
            if index.is_none() {
                self.barred.remove(&task);
                self.avoided.remove(&task);
            }
            self.callers.ended(task, index, outcome.codes.get(&task).copied().flatten());
        }
        for (task, index) in outcome.brought {
            self.callers.brought(task, index);
        }
        for (server, read) in outcome.probed {
            self.callers.probed(server, read);
        }
    }

    /// Would the agent leave out what this start needs? One that is older does not look at its features.
    fn is_too_old_for(&self, route: Route, start: &Start) -> bool {
        !start.features.is_empty() && self.links.get(&route).is_some_and(|slot| slot.version < FEATURES_SINCE)
    }

    /// What an agent that does not know features would have to say of a start.
    fn refuse_for(&mut self, route: Route, start: Start) {
        let Start { features, members, .. } = start;
        let refused = |attempt| Event::Refused { attempt, why: Refusal::Features { unknown: features.clone() } };
        let events = members.iter().map(|member| refused(member.attempt)).collect();
        self.inbox.push((route, FromAgent::Events(events)));
    }

    /// Sends over a route; a message that can't be encoded is a bug that must not stop the rest.
    pub(in crate::dispatch) fn tell(&mut self, route: Route, message: &ToAgent) {
        if let Some(slot) = self.links.get_mut(&route)
            && let Err(error) = slot.send(message)
        {
            tracing::error!("a message to the agent was not sent: {error}");
        }
    }

    /// Takes changed servers into the fleets, and lets blocked classes look at them.
    pub(in crate::dispatch) fn look_at_servers(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        let changes = view.changes()?;
        if changes == self.seen_servers {
            return Ok(());
        }
        let placement = crate::distributor::fleets::placement(view)?;
        let mut left = false;
        let mut by_home = false;
        for server in view.servers_changed(self.seen_servers)? {
            by_home |= matches!(&server.engine, Engine::Ssh(target) if target.command().is_none());
            let (distributor, id) = (server.distributor, server.id);
            let route = Route::to(&server.engine);
            if let Some(route) = route {
                self.links.entry(route).or_insert_with(|| Slot::new(server.engine.clone()));
            }
            if self.fleets.server(id).is_some_and(|before| Route::to(&before.engine) != route) {
                left = true;
                // What could not start there was another host's matter.
                self.barred.values_mut().for_each(|barred| barred.retain(|(server, _)| *server != id));
            }
            self.fleets.set(server, placement);
            // Where no task has room, whatever else changed, nobody needs to be asked.
            if self.fleets.get(distributor).is_some_and(|fleet| fleet.has_slot(id)) {
                self.queue.free(distributor, id);
            }
        }
        if by_home {
            // They count as changed where the home's ssh command is another one.
            self.ways.read_command(view)?;
        }
        if view.count_servers()? < self.fleets.servers().count() {
            let ids = view.server_ids()?;
            self.fleets.retain(&|id| ids.contains(&id));
            left = true;
        }
        if left {
            // A link that leads to no server of ours any more.
            let used: std::collections::HashSet<Route> = self.routes().collect();
            self.links.retain(|route, _| *route == Route::Here || used.contains(route));
        }
        if std::mem::replace(&mut self.seen_servers, changes) == 0 {
            // Now it is known over which links servers are reached.
            self.load_discards(view)?;
        }
        Ok(())
    }

    /// Takes classes in which members began to wait into the queue.
    fn look_at_classes(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        const SLICE: u32 = 1_000;
        let changes = tx.changes()?;
        let mut limit = SLICE;
        loop {
            let stirred = tx.classes_stirred(self.seen_classes, limit)?;
            let whole = stirred.len() < limit as usize;
            let last = stirred.last().map_or(changes, |(_, changed)| *changed);
            // Several classes may share a count; the last one's may go on behind the slice.
            let upto = if whole { changes } else { last - 1 };
            if !whole && upto <= self.seen_classes {
                limit *= 8;
                continue;
            }
            for (class, changed) in stirred {
                if changed <= upto {
                    self.compiled.remove(&class.id);
                    self.put_in_order(tx, class)?;
                }
            }
            self.seen_classes = upto;
            self.stirred |= !whole;
            return Ok(());
        }
    }

    /// Puts a class into the queue by its oldest waiting task.
    pub(in crate::dispatch) fn look_at_class(&mut self, tx: &Tx<'_>, id: ClassId) -> Result<(), StoreError> {
        match tx.stirred(id)? {
            Some(class) => self.put_in_order(tx, class),
            None => {
                self.queue.forget(id);
                Ok(())
            }
        }
    }

    fn put_in_order(&mut self, tx: &Tx<'_>, class: Stirred) -> Result<(), StoreError> {
        match tx.head(class.id, TaskId(0))? {
            Some(head) => self.queue.ready(class.id, class.priority, head.task, class.distributor),
            None => self.queue.forget(class.id),
        }
        Ok(())
    }

    /// Gives back what lanes held in which nothing is left.
    fn close_lanes(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for id in self.lanes.empty() {
            let Some(lane) = self.lanes.close(id) else { continue };
            tx.give_back(lane.place.server, lane.place.host, lane.needs)?;
            self.give_back(lane.place, lane.needs);
            if self.capped.remove(&lane.class) {
                self.look_at_class(tx, lane.class)?;
            }
        }
        Ok(())
    }

    /// A place is free again: blocked classes may fit there, on the other servers of its host, and in groups.
    fn give_back(&mut self, place: Place, needs: Needs) {
        if let Some(route) = self.route_of(place) {
            self.moved(route);
        }
        self.fleets.book(place, needs, Booking::GiveBack);
        let host = self.fleets.server(place.host).and_then(|s| s.pool.as_ref()).map(|p| p.host);
        for (distributor, fleet) in self.fleets.iter() {
            for server in fleet.felt_by(host) {
                self.queue.free(distributor, server);
            }
        }
    }

    /// Ends that happened before somebody watched.
    fn look_at_watches(&mut self, tx: &Tx<'_>, outcome: &mut Outcome) -> Result<(), StoreError> {
        for (task, index) in self.callers.watched() {
            if has_ended(tx, task, index)? {
                outcome.ended.push((task, index));
                outcome.codes.insert(task, tx.task(task)?.map(|row| row.shell_code.unwrap_or(0)));
            }
        }
        for (task, index) in self.callers.follows_unattached() {
            if let Some(live) = tx.live_of(task)?.into_iter().find(|l| l.index == index && l.running) {
                self.attach_follow(&live);
            }
        }
        Ok(())
    }

    fn attach_follow(&mut self, live: &Live) {
        let place = Place { server: live.server, host: live.host };
        // Said into a link that is down it would be lost; the next hello brings us here again.
        let up = |route: &Route| {
            self.links.get(route).is_some_and(|slot| slot.boot().is_some()) && self.is_there(*route, live.machine)
        };
        if let Some(route) = self.route_of(place).filter(up)
            && let Some((out, err)) = self.callers.attach(live.task, live.attempt())
        {
            self.tell(route, &ToAgent::Follow { attempt: live.attempt(), out, err });
        }
    }

    fn routes(&self) -> impl Iterator<Item = Route> {
        self.fleets.servers().filter_map(|server| Route::to(&server.engine))
    }

    /// The link over which a place is reached.
    pub(in crate::dispatch) fn route_of(&self, place: Place) -> Option<Route> {
        self.route_to(place.host)
    }

    /// The link over which a server is reached.
    pub(in crate::dispatch) fn route_to(&self, server: crate::model::id::ServerId) -> Option<Route> {
        self.fleets.server(server).and_then(|server| Route::to(&server.engine))
    }
}
