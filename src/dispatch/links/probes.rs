//! When hosts are read: after starts and ends, for a caller, every few seconds while something is blocked, and before a
//! reading is too old to be believed.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::distributor::fleets;
use crate::model::id::ClassId;
use crate::protocol::agent::ToAgent;
use crate::store::Store;
use crate::store::settings::watch_list;
use std::time::{Duration, Instant};

/// After starts and ends a host is read at most this often.
const PAUSE: Duration = Duration::from_secs(2);
/// And this often while something is blocked.
const BLOCKED: Duration = Duration::from_secs(4);
/// A link that waiting tasks may have use for is kept trying so long, unless they are looked at again.
const WANTED: Duration = Duration::from_secs(10);
/// How long a host that can't start anything is left alone: its disk is full, say.
const REST: Duration = Duration::from_secs(3);
/// Of many blocked classes these are looked at.
const CLASSES: usize = 64;

impl Dispatcher {
    /// The host behind a link can't start a task, though it can be read: it is left alone for a while.
    pub(in crate::dispatch) fn rest(&mut self, route: Route, now: Instant) {
        if let Some(slot) = self.links.slots.get_mut(&route) {
            slot.rests_until = now + REST;
            slot.read_at = Some(slot.rests_until);
        }
    }

    /// The host behind a link is to be read by then.
    pub(in crate::dispatch) fn read_by(&mut self, route: Route, at: Instant) {
        if let Some(slot) = self.links.slots.get_mut(&route) {
            let at = at.max(slot.rests_until);
            slot.read_at = Some(slot.read_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Something began or ended there.
    pub(in crate::dispatch) fn moved(&mut self, route: Route, now: Instant) {
        self.read_by(route, now + PAUSE);
    }

    /// Asks for the readings that are due.
    pub(in crate::dispatch) fn ask_for_readings(&mut self, store: &Store) -> Result<(), DispatchError> {
        let (at, now) = (self.ambient.now().wall, self.ambient.now().mono);
        if self.schedule.queue.blocked().next().is_some() && self.schedule.look_again.is_none_or(|at| at <= now) {
            self.schedule.look_again = Some(now + BLOCKED);
            let up: Vec<Route> = self.links.slots.iter().filter(|(_, s)| s.boot().is_some()).map(|(r, _)| *r).collect();
            up.into_iter().for_each(|route| self.read_by(route, now + BLOCKED));
            let classes: Vec<ClassId> = self.schedule.queue.blocked().take(CLASSES).map(|(key, _)| key.2).collect();
            classes.into_iter().for_each(|class| self.want_for(class, now));
        }
        for (server, since) in self.callers.probes() {
            if let Some(route) = self.route_to(server)
                && let Some(slot) = self.links.slots.get_mut(&route).filter(|slot| slot.read_since(since))
            {
                // Somebody who knows more than we do asks.
                slot.rests_until = now;
                self.read_by(route, now);
            }
        }
        let due: Vec<Route> =
            self.links.slots.iter().filter(|(_, slot)| slot.is_to_be_read(now)).map(|(r, _)| *r).collect();
        if due.is_empty() {
            return Ok(());
        }
        let view = store.view();
        let watch = watch_list(view.setting("watch")?.as_deref());
        let script = view.setting("probe_script")?;
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

    /// The same for a class that was blocked just now. Where many are, `ask_for_readings` looks at the first of them now and then.
    pub(in crate::dispatch) fn want_for_blocked(&mut self, class: ClassId, now: Instant) {
        if self.schedule.queue.blocked().take(CLASSES).count() < CLASSES {
            self.want_for(class, now);
        }
    }

    /// A class that fits nowhere may fit where is not known what there is: those links are opened, those hosts read.
    fn want_for(&mut self, class: ClassId, now: Instant) {
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
            self.read_by(route, now);
        }
    }
}
