//! Servers as the database has them: changed servers go into the fleets, and blocked classes are matched with them again.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::distributor::fleets::Booking;
use crate::matching::Place;
use crate::model::attribute::Source;
use crate::model::id::ServerId;
use crate::model::resources::Needs;
use crate::model::server::{Engine, Health, Server};
use crate::store::{StoreError, Tx, View};

/// Has more changed than what is measured?
fn is_altered(before: &Server, now: &Server) -> bool {
    let options =
        |server: &Server| (server.slots, server.cpus, server.mem, server.max_load, server.health == Health::Up);
    let declared = |server: &Server| {
        let all = server.attributes.iter().filter(|(_, attribute)| attribute.source == Source::Declared);
        all.map(|(name, attribute)| (name.clone(), attribute.value.clone())).collect::<Vec<_>>()
    };
    options(before) != options(now)
        || (&before.accepts, &before.drained) != (&now.accepts, &now.drained)
        || declared(before) != declared(now)
}

impl Dispatcher {
    /// Reads the changed servers into the fleets, and frees blocked classes to be matched with them.
    pub(in crate::dispatch) fn load_servers(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        let changes = view.changes()?;
        if changes == self.schedule.seen_servers {
            return Ok(());
        }
        let now = self.ambient.now().mono;
        let placement = crate::distributor::fleets::placement(view)?;
        let (mut left, mut closed, mut altered) = (false, false, false);
        let (mut by_home, mut kept) = (false, false);
        for server in view.servers_changed(self.schedule.seen_servers)? {
            by_home |= matches!(&server.engine, Engine::Ssh(target) if target.command().is_none());
            let (distributor, id) = (server.distributor, server.id);
            closed |= server.drained.is_some() || server.health != Health::Up;
            let route = Route::to(&server.engine);
            if let Some(route) = route {
                self.links.slots.entry(route).or_insert_with(|| LinkState::new(server.engine.clone(), now));
            }
            left |= self.schedule.fleets.server(id).is_some_and(|before| Route::to(&before.engine) != route);
            for (task, barred) in self.attempts.barred.iter_mut().filter(|(_, barred)| barred.contains(&id)) {
                // A refusal concerned the host, the prologue and the directories that the server had before.
                if !view.refusals(*task)?.iter().any(|(server, _)| *server == id) {
                    barred.remove(&id);
                }
            }
            let kept_before = self.schedule.fleets.server(id).and_then(|before| before.kept_for);
            kept |= server.kept_for != kept_before;
            altered |= self.schedule.fleets.server(id).is_none_or(|before| is_altered(before, &server));
            self.schedule.fleets.set(server, placement);
            // A server without room for any task is dropped from the rounds, whatever else changed.
            if self.schedule.fleets.get(distributor).is_some_and(|fleet| fleet.has_slot(id)) {
                self.schedule.queue.free(distributor, id);
            }
        }
        if by_home {
            // A changed ssh command counts as a change of the servers that use it.
            self.links.connector.read_command(view)?;
        }
        if view.count_servers()? < self.schedule.fleets.servers().count() {
            let ids = view.server_ids()?;
            self.schedule.fleets.retain(&|id| ids.contains(&id));
            left = true;
        }
        if left {
            // Drop links that lead to no server any more.
            let used: std::collections::HashSet<Route> = self.routes().collect();
            self.links.slots.retain(|route, _| *route == Route::Here || used.contains(route));
        }
        if left || kept {
            self.note_kept(view)?;
        }
        if left || closed {
            self.free_kept_from();
        }
        if left || altered {
            // Why a class waits may be another matter now.
            self.schedule.queue.blocked().for_each(|(key, _)| self.schedule.to_explain.add(key.2));
        }
        if std::mem::replace(&mut self.schedule.seen_servers, changes) == 0 {
            // The routes of servers are known from here on.
            self.load_discards(view)?;
        }
        Ok(())
    }

    /// Releases the resources of empty lanes.
    pub(in crate::dispatch) fn close_lanes(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for id in self.attempts.lanes.empty() {
            let Some(lane) = self.attempts.lanes.close(id) else { continue };
            tx.give_back(lane.place.server, lane.place.host, lane.needs)?;
            self.release_place(lane.place, lane.needs);
            if self.schedule.capped.remove(&lane.class) {
                self.load_class(tx, lane.class)?;
            }
        }
        Ok(())
    }

    /// Releases a place.
    fn release_place(&mut self, place: Place, needs: Needs) {
        if let Some(route) = self.route_of(place) {
            self.probe_after_change(route, self.ambient.now().mono);
        }
        self.schedule.fleets.book(place, needs, Booking::GiveBack);
        self.free_host_of(place.host);
    }

    /// Blocked classes may fit on this server, on the other servers of its host, and in groups.
    pub(in crate::dispatch) fn free_host_of(&mut self, server: ServerId) {
        let host = self.schedule.fleets.server(server).and_then(|s| s.pool.as_ref()).map(|p| p.host);
        for (distributor, fleet) in self.schedule.fleets.iter() {
            for server in fleet.felt_by(host) {
                self.schedule.queue.free(distributor, server);
            }
        }
    }

    fn routes(&self) -> impl Iterator<Item = Route> {
        self.schedule.fleets.servers().filter_map(|server| Route::to(&server.engine))
    }

    /// The route to a place.
    pub(in crate::dispatch) fn route_of(&self, place: Place) -> Option<Route> {
        self.route_to(place.host)
    }

    /// The route to a server.
    pub(in crate::dispatch) fn route_to(&self, server: ServerId) -> Option<Route> {
        self.schedule.fleets.server(server).and_then(|server| Route::to(&server.engine))
    }
}
