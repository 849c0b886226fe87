//! Invariants after each step of a history.

use super::history::History;
use crate::matching::Query;
use crate::model::ambient::Ambient;
use crate::model::server::Taken;
use crate::model::task::{Counts, Phase};
use crate::store::tasks::TaskRow;

impl History {
    /// Checks all invariants.
    pub fn check(&self) {
        self.bench.check();
        let view = self.bench.store.view();
        for id in &self.tasks {
            let row = view.task(*id).unwrap().unwrap();
            assert_eq!(view.task_by_uuid(row.uuid).unwrap(), Some(*id), "each uuid has one row");
            self.check_counts(&row);
            if row.counts.waiting > 0 {
                self.check_place(&row);
            }
        }
        for (distributor, fleet) in self.bench.dispatcher.schedule.fleets.iter() {
            for booked in view.booked(distributor).unwrap() {
                let known = fleet.get(booked.server).unwrap();
                assert_eq!(known.taken, booked.taken, "{}: what the dispatcher believes is taken is", known.name);
                let held = |taken: Taken| (taken.cpus, taken.mem);
                let believed = known.pool.as_ref().map(|pool| held(pool.taken));
                assert_eq!(believed, booked.pool.map(|(taken, ..)| held(taken)), "host of {}", known.name);
            }
        }
    }

    /// Checks that the counts of a task match its members.
    fn check_counts(&self, row: &TaskRow) {
        let mut counts = Counts::default();
        for member in self.bench.store.view().members(row.id, u32::MAX).unwrap() {
            *counts.phase_mut(member.phase()) += 1;
        }
        *counts.phase_mut(row.rest_phase) += row.rest;
        assert_eq!(row.counts, counts, "counts of task {} against its members", row.id);
    }

    /// Checks that no waiting task fits on a free server to which it may go.
    fn check_place(&self, row: &TaskRow) {
        let dispatcher = &self.bench.dispatcher;
        let capped = row.at_once.is_some_and(|most| dispatcher.attempts.lanes.count_of(row.id) >= most);
        let known = dispatcher.schedule.queue.key(row.class).is_some();
        assert!(
            known || capped && dispatcher.schedule.capped.contains(&row.class),
            "nobody knows that this waits: {row:?}"
        );
        if capped {
            return;
        }
        let view = self.bench.store.view();
        let class = view.class(row.class).unwrap().unwrap();
        let (user, client) = (view.user_by_id(class.user).unwrap(), view.client_by_id(class.client).unwrap());
        let query = Query::new(&class.demand, &user.unwrap(), &client.unwrap()).unwrap();
        // Members wait for another server than one on which they failed, and for a while no suspect gets a start.
        let attempts = &dispatcher.attempts;
        let now = self.bench.clock.now().mono;
        let mut without = attempts.suspects.closed_to(row.class, now);
        let failed = attempts.retries.of(row.id).into_iter().flatten();
        if row.rest == 0 || row.rest_phase != Phase::Waiting {
            without.extend(failed.flat_map(|(failed_on, _)| failed_on));
        }
        let fleet = dispatcher.schedule.fleets.get(class.distributor);
        let best = fleet.and_then(|fleet| fleet.best_without(&query, Some(row.id), &without));
        assert!(best.is_none(), "task {} waits though it fits on {best:?}", row.id);
    }
}
