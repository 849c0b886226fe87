//! Recovery of a home that was restored from a backup: attempts that the backup knew, and those that it did not.

use crate::dispatch::attempts::machines::GreetedHost;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::distributor::fleets::Booking;
use crate::matching::Place;
use crate::model::id::{AttemptId, LaneId};
use crate::store::members::Live;
use crate::store::placing::Placing;
use crate::store::{StoreError, Tx};

impl Dispatcher {
    /// True if this home was restored from a backup.
    pub(in crate::dispatch) fn is_restored(&self) -> bool {
        self.instance.restored.is_some()
    }

    /// Holds a member whose server has no record of its attempt: it may have ended after the backup, and the end was confirmed to
    /// the home that was backed up.
    pub(in crate::dispatch) fn hold_unknown(
        &mut self,
        turn: &mut Turn<'_, '_>,
        live: &Live,
    ) -> Result<(), DispatchError> {
        let made_of = turn.tx.made_of()?.map_or_else(|| "restored from a backup".to_owned(), |(_, words)| words);
        let why = format!("{made_of}; its server knows nothing of it any more");
        if turn.ledger.held_back(live.key(), live.running, &why)? {
            turn.tx.set_reason(live.task, Some(&why))?;
            turn.tx.trace(live.task, turn.now.wall, &why)?;
        }
        self.attempts.lanes.drop_attempt(live.attempt());
        self.attempts.cancelling.remove(&live.attempt());
        self.activity.dirty = true;
        Ok(())
    }

    /// Follows an attempt that the home started after the backup.
    pub(in crate::dispatch) fn follow_unknown(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        GreetedHost { boot, machine }: GreetedHost<'_>,
        lane: LaneId,
        attempt: AttemptId,
    ) -> Result<Option<Live>, DispatchError> {
        if !self.is_restored() {
            return Ok(None);
        }
        let Some(task) = turn.tx.task_by_uuid(attempt.task)? else { return Ok(None) };
        let key = attempt.key(task);
        let Some(row) = turn.tx.task(task)? else { return Ok(None) };
        let fleet = self.schedule.fleets.get(row.distributor);
        let mut servers = self.servers_on(route);
        servers.sort_by_key(|id| fleet.and_then(|fleet| fleet.get(*id)).is_none());
        let Some(server) = servers.first().copied() else { return Ok(None) };
        let at = Placing {
            server,
            host: server,
            boot: boot.clone(),
            machine,
            lane,
            sent: self.instance.restored,
            verdict: None,
        };
        if !turn.ledger.taken_up(key, &at)? {
            return Ok(None);
        }
        let live = turn.tx.live_of(task)?.into_iter().find(|live| live.index == attempt.index);
        if let Some(live) = &live {
            self.reserve_place(turn.tx, live)?;
            turn.tx.trace(task, turn.now.wall, "found at its server, begun after the backup")?;
        }
        Ok(live)
    }

    fn reserve_place(&mut self, tx: &Tx<'_>, live: &Live) -> Result<(), StoreError> {
        // A lane holds its place once, however many attempts are in it.
        if live.lane.is_some_and(|lane| self.attempts.lanes.get(lane).is_none())
            && let Some(class) = tx.class(live.class)?
        {
            let needs = class.demand.needs;
            tx.take(live.server, live.host, needs)?;
            self.schedule.fleets.book(Place { server: live.server, host: live.host }, needs, Booking::Take);
        }
        self.adopt(tx, live)?;
        Ok(())
    }
}
