//! When hosts are probed: after starts and ends, for a caller, every few seconds while something is blocked, and before a reading
//! is stale.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::distributor::fleets;
use crate::model::id::ClassId;
use crate::model::settings::{PROBE_SCRIPT, WATCH};
use crate::protocol::agent::ToAgent;
use crate::store::Store;
use std::time::{Duration, Instant};

/// Least time between probes after starts and ends.
const PAUSE: Duration = Duration::from_secs(2);
/// Time between probes while something is blocked.
const BLOCKED: Duration = Duration::from_secs(4);
/// How long a link that waiting tasks may use is retried, unless they are checked again.
const WANTED: Duration = Duration::from_secs(10);
/// How long a host that can't start a task is left alone, for instance because its disk is full.
const REST: Duration = Duration::from_secs(3);
/// How many blocked classes are checked.
const CLASSES: usize = 64;

impl Dispatcher {
    /// Leaves a host alone for a while: it answers probes, but can't start a task.
    pub(in crate::dispatch) fn pause_host(&mut self, route: Route, now: Instant) {
        if let Some(slot) = self.links.slots.get_mut(&route) {
            slot.rests_until = now + REST;
            slot.read_at = Some(slot.rests_until);
        }
    }

    /// Schedules a probe of the host behind a link, at this time at the latest.
    pub(in crate::dispatch) fn probe_by(&mut self, route: Route, at: Instant) {
        if let Some(slot) = self.links.slots.get_mut(&route) {
            let at = at.max(slot.rests_until);
            slot.read_at = Some(slot.read_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Schedules a probe after a start or an end.
    pub(in crate::dispatch) fn probe_after_change(&mut self, route: Route, now: Instant) {
        self.probe_by(route, now + PAUSE);
    }

    /// Sends the probes that are due.
    pub(in crate::dispatch) fn send_probes(&mut self, store: &Store) -> Result<(), DispatchError> {
        let (at, now) = (self.ambient.now().wall, self.ambient.now().mono);
        if self.schedule.queue.blocked().next().is_some() && self.schedule.look_again.is_none_or(|at| at <= now) {
            self.schedule.look_again = Some(now + BLOCKED);
            let up: Vec<Route> = self.links.slots.iter().filter(|(_, s)| s.boot().is_some()).map(|(r, _)| *r).collect();
            up.into_iter().for_each(|route| self.probe_by(route, now + BLOCKED));
            let classes: Vec<ClassId> = self.schedule.queue.blocked().take(CLASSES).map(|(key, _)| key.2).collect();
            classes.into_iter().for_each(|class| self.probe_unsure(class, now));
            // What they waited for may be there by now, and something else lack.
            self.schedule.to_explain.add_again(&self.schedule.queue);
        }
        for (server, since) in self.callers.probes() {
            if let Some(route) = self.route_to(server)
                && let Some(slot) = self.links.slots.get_mut(&route).filter(|slot| slot.read_since(since))
            {
                // A caller may know that the host can start tasks again.
                slot.rests_until = now;
                self.probe_by(route, now);
            }
        }
        let due: Vec<Route> =
            self.links.slots.iter().filter(|(_, slot)| slot.probe_is_due(now)).map(|(r, _)| *r).collect();
        if due.is_empty() {
            return Ok(());
        }
        let view = store.view();
        let watch = view.value_of(&WATCH)?;
        let script = view.value_of(&PROBE_SCRIPT)?;
        let fresh = fleets::stale_after(&view)? / 2;
        for route in due {
            let mut prologues = Vec::new();
            for server in self.servers_on(route) {
                prologues.extend(view.prologue(server)?);
            }
            prologues.sort_unstable();
            prologues.dedup();
            self.send(route, &ToAgent::Probe { watch: watch.clone(), script: script.clone(), prologues });
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.probing = Some((at, now));
                slot.read_at = (route != Route::Here).then(|| now + fresh);
            }
        }
        Ok(())
    }

    /// Like `probe_unsure`, for a class that was blocked just now. Where many are, `send_probes` checks the first of them from
    /// time to time.
    pub(in crate::dispatch) fn probe_for_blocked(&mut self, class: ClassId, now: Instant) {
        if self.schedule.queue.blocked().take(CLASSES).count() < CLASSES {
            self.probe_unsure(class, now);
        }
    }

    /// Opens the links and probes the hosts of servers where a blocked class may fit, because their resources are unknown.
    fn probe_unsure(&mut self, class: ClassId, now: Instant) {
        let Some(compiled) = self.schedule.compiled.get(&class) else { return };
        let unsure: Vec<Route> = self
            .schedule
            .fleets
            .iter()
            .flat_map(|(_, fleet)| fleet.unsure(&compiled.query).into_iter().filter_map(|id| fleet.get(id)))
            .filter_map(|server| Route::to(&server.engine))
            .collect();
        for route in unsure {
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.wanted_until = now + WANTED;
            }
            self.probe_by(route, now);
        }
    }
}
