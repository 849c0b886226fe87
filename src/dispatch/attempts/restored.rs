//! A home that was restored from a backup against what its servers hold: attempts that the backup knew and those it did not.

use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::distributor::fleets::Booking;
use crate::matching::Place;
use crate::model::id::{AttemptId, BootId, Epoch, LaneId, MachineId};
use crate::model::time::Timestamp;
use crate::store::ledger::Ledger;
use crate::store::members::Live;
use crate::store::placing::Placing;
use crate::store::{StoreError, Tx};

impl Dispatcher {
    /// Was this home made of a backup?
    pub(in crate::dispatch) fn is_restored(&self) -> bool {
        self.restored > Epoch(0)
    }

    /// Its server knows nothing of an attempt that the backup knew: it may have ended since, and its end was told to the home
    /// that was backed up.
    pub(in crate::dispatch) fn held_back(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        live: &Live,
    ) -> Result<(), DispatchError> {
        let made_of = tx.made_of()?.map_or_else(|| "restored from a backup".to_owned(), |(_, words)| words);
        let why = format!("{made_of}; its server knows nothing of it any more");
        if ledger.held_back(live.task, live.index, live.number, live.running, &why)? {
            tx.set_reason(live.task, Some(&why))?;
            tx.trace(live.task, Timestamp::now(), &why)?;
        }
        self.lanes.drop_attempt(live.attempt());
        self.cancelling.remove(&live.attempt());
        self.stirred = true;
        Ok(())
    }

    /// A server holds an attempt that the home which was backed up has begun since: it is followed from here on.
    pub(in crate::dispatch) fn taken_up(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        route: Route,
        (boot, machine, lane): (&BootId, Option<MachineId>, LaneId),
        attempt: AttemptId,
    ) -> Result<Option<Live>, DispatchError> {
        if !self.is_restored() {
            return Ok(None);
        }
        let Some(task) = tx.task_by_uuid(attempt.task)? else { return Ok(None) };
        let Some(row) = tx.task(task)? else { return Ok(None) };
        let fleet = self.fleets.get(row.distributor);
        let mut servers = self.servers_on(route);
        servers.sort_by_key(|id| fleet.and_then(|fleet| fleet.get(*id)).is_none());
        let Some(server) = servers.first().copied() else { return Ok(None) };
        let at =
            Placing { server, host: server, boot: boot.clone(), machine, lane, sent: self.restored, verdict: None };
        if !ledger.taken_up(task, attempt.index, attempt.number, &at)? {
            return Ok(None);
        }
        let live = tx.live_of(task)?.into_iter().find(|live| live.index == attempt.index);
        if let Some(live) = &live {
            self.take_place(tx, live)?;
            tx.trace(task, Timestamp::now(), "found at its server, begun after the backup")?;
        }
        Ok(live)
    }

    fn take_place(&mut self, tx: &Tx<'_>, live: &Live) -> Result<(), StoreError> {
        // A lane holds its place once, however many attempts lie in it.
        if live.lane.is_some_and(|lane| self.lanes.get(lane).is_none())
            && let Some(class) = tx.class(live.class)?
        {
            let needs = class.demand.needs;
            tx.take(live.server, live.host, needs)?;
            self.fleets.book(Place { server: live.server, host: live.host }, needs, Booking::Take);
        }
        self.adopt(tx, live)?;
        Ok(())
    }
}
