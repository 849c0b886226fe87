//! Starvation: a server is reserved for a task that has waited too long.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::pass::compile;
use crate::distributor::avoided::Avoiding;
use crate::matching::Fleet;
use crate::model::ambient::Now;
use crate::model::id::{ClassId, DistributorId, ServerId, TaskId};
use crate::model::server::{Server, Taken};
use crate::model::settings::STARVE_AFTER;
use crate::store::{StoreError, Tx, View};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// Tasks that have waited too long.
#[derive(Debug)]
pub(in crate::dispatch) struct Starving {
    /// When waiting tasks are checked next.
    pub(in crate::dispatch) due: Instant,
    /// Those for which servers are kept, by their classes.
    kept: BTreeMap<ClassId, TaskId>,
}

impl Starving {
    /// None are known; waiting tasks are checked now.
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: now, kept: BTreeMap::new() }
    }
}

impl Dispatcher {
    /// Reserves a server for each task that waits longer than `starve_after`.
    pub(in crate::dispatch) fn reserve_for_starving(&mut self, tx: &Tx<'_>, now: Now) -> Result<(), DispatchError> {
        if now.mono < self.schedule.starving.due || self.clock_step_pending() {
            return Ok(());
        }
        let after = tx.value_of(&STARVE_AFTER)?;
        self.schedule.starving.due = now.mono + (after / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        let kept_before = self.kept();
        self.release_reservations(tx)?;
        let mut served: HashSet<DistributorId> = HashSet::new();
        // Within a priority, classes behind a young one are younger still.
        let mut young: HashSet<(DistributorId, Reverse<i32>)> = HashSet::new();
        let blocked: Vec<_> = self.schedule.queue.blocked().collect();
        for (key, distributor) in blocked {
            if served.contains(&distributor) || young.contains(&(distributor, key.0)) {
                continue;
            }
            let Some(row) = tx.head(key.2, TaskId(key.1.0 - 1))? else { continue };
            if row.submitted_at.age_at(now.wall) < after {
                young.insert((distributor, key.0));
                continue;
            }
            if !compile(self, tx, key.2)? {
                continue;
            }
            served.insert(distributor);
            if self.schedule.fleets.get(distributor).is_some_and(|f| f.servers().any(|s| s.kept_for.is_some())) {
                continue;
            }
            let (Some(compiled), Some(fleet)) =
                (self.schedule.compiled.get(&key.2), self.schedule.fleets.get(distributor))
            else {
                continue;
            };
            let avoiding = Avoiding::new(tx, fleet, &compiled.query, key.2, now.wall)?;
            let avoided = avoiding.of(row.task, row.waiting, None)?;
            let without: Vec<ServerId> = avoided.into_iter().map(|(server, _)| server).collect();
            if let Some(server) = self.soonest(distributor, key.2, &without) {
                tx.keep_server(server, Some(row.task))?;
                let name = tx.server_name(server)?.map_or_else(|| "a server".to_owned(), |name| name.to_string());
                tx.trace(row.task, now.wall, &format!("waits too long: {name} is kept for it"))?;
                self.load_servers(tx)?;
            }
        }
        if self.kept() != kept_before {
            // Why the others wait is another matter now.
            self.schedule.queue.blocked().for_each(|(key, _)| self.schedule.to_explain.add(key.2));
        }
        Ok(())
    }

    /// The servers that are kept, each with its task.
    fn kept(&self) -> Vec<(ServerId, TaskId)> {
        self.schedule.fleets.servers().filter_map(|server| Some((server.id, server.kept_for?))).collect()
    }

    /// Notes the classes of the tasks for which servers are kept.
    pub(super) fn note_kept(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        self.schedule.starving.kept.clear();
        for (_, task) in self.kept() {
            if let Some(row) = view.task(task)? {
                self.schedule.starving.kept.insert(row.class, task);
            }
        }
        Ok(())
    }

    /// The task in whose name a class claims a place. Tasks of a class are equal: what is kept for one of them goes to the first.
    pub(super) fn claimant(&self, class: ClassId, first: TaskId) -> TaskId {
        self.schedule.starving.kept.get(&class).copied().unwrap_or(first)
    }

    /// Releases the reservations of tasks that do not wait here any more.
    fn release_reservations(&mut self, tx: &Tx<'_>) -> Result<(), DispatchError> {
        let mut released = Vec::new();
        for (server, task) in self.kept() {
            if tx.task(task)?.is_none_or(|row| row.counts.waiting == 0) || tx.away(task)?.is_some() {
                tx.keep_server(server, None)?;
                released.push(server);
            }
        }
        self.load_servers(tx)?;
        released.into_iter().for_each(|server| self.free_host_of(server));
        Ok(())
    }

    /// Of the servers that would fit if they were empty, the one with the least left to run. Of a group: its member. None of `without`.
    fn soonest(&self, distributor: DistributorId, class: ClassId, without: &[ServerId]) -> Option<ServerId> {
        let (fleet, compiled) = (self.schedule.fleets.get(distributor)?, self.schedule.compiled.get(&class)?);
        let empty = |server: &Server| {
            let mut server = server.clone();
            server.taken = Taken::default();
            if let Some(pool) = &mut server.pool {
                pool.taken = Taken::default();
                pool.mem_available = pool.mem_total;
            }
            // The load falls as attempts end.
            server.max_load = None;
            server
        };
        let free = Fleet::new(fleet.servers().map(empty).collect(), crate::matching::Placement::Spread);
        let needs = compiled.query.needs();
        let short = |server: &Server| {
            let host = server.pool.as_ref().map_or(0, |pool| (pool.taken.cpus + needs.cpus).saturating_sub(pool.cpus));
            (server.taken.cpus + needs.cpus).saturating_sub(server.cpus).max(host)
        };
        let places = free.places(&compiled.query, None);
        let hosts =
            places.iter().filter(|place| !without.contains(&place.host)).filter_map(|place| fleet.get(place.host));
        hosts.min_by_key(|server| (short(server), server.taken.slots, server.name.clone())).map(|server| server.id)
    }
}
