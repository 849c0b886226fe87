//! Reports of agents: readings of their hosts, attempts that started, and attempts that will not.

use crate::dispatch::attempts::absent::note_absent;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::distributor::tier2::{self, TierError};
use crate::matching::Place;
use crate::model::facts::Facts;
use crate::model::id::{AttemptId, AttemptKey, ServerId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FromAgent};
use crate::store::{StoreError, Tx};

impl Dispatcher {
    /// Applies one message of an agent.
    pub(in crate::dispatch) fn collect(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        message: FromAgent,
    ) -> Result<(), DispatchError> {
        match message {
            FromAgent::Hello { boot, machine, hostname, inventory, .. } => {
                let answering = self.note_machine(turn, route, &machine, &hostname)?;
                self.recover(turn, route, &boot, answering, inventory)
            }
            FromAgent::Unfit { error } => self.route_down(turn, route, &error),
            FromAgent::Facts(facts) => Ok(self.record_reading(turn, route, &facts)?),
            FromAgent::Events(events) => events.into_iter().try_for_each(|event| self.event(turn, route, event)),
            // Chunks are handled outside of transactions.
            FromAgent::Data { .. }
            | FromAgent::Linked { .. }
            | FromAgent::Need { .. }
            | FromAgent::Packed { .. }
            | FromAgent::Packet { .. }
            | FromAgent::Cleared { .. } => Ok(()),
        }
    }

    /// Records a reading of the host behind a link.
    fn record_reading(&mut self, turn: &mut Turn<'_, '_>, route: Route, facts: &Facts) -> Result<(), StoreError> {
        let now = turn.now;
        let asked = self.links.slots.get_mut(&route).and_then(|slot| slot.probing.take());
        let servers = self.servers_on(route);
        if let Some((asked_at, _)) = asked
            && read_since(turn.tx, &servers, asked_at, now.wall)?
        {
            // A newer reading was recorded meanwhile, perhaps with other watched applications: it stays.
            self.probe_by(route, now.mono);
            return Ok(());
        }
        for id in servers {
            turn.tx.record_facts(id, facts, now.wall)?;
            turn.then(Effect::Probed { server: id, read: Ok(asked.map_or(now.mono, |(_, at)| at)) });
        }
        self.load_servers(turn.tx)?;
        tier2::reconsider_unmatched(turn.tx, &mut self.schedule.fleets, now.wall).map_err(|error| match error {
            TierError::Store(error) => error,
            other => StoreError::Corrupt { path: "grid.db".into(), found: other.to_string() },
        })?;
        Ok(())
    }

    /// Applies one event of an attempt.
    pub(in crate::dispatch) fn event(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        event: Event,
    ) -> Result<(), DispatchError> {
        match event {
            Event::Began { attempt, at, without, .. } => {
                self.attempts.lanes.began(attempt, turn.now.mono);
                if let Some(key) = self.known(turn.tx, route, attempt)? {
                    // A lost attempt may be heard of once more, while its member waits for the next one.
                    if turn.ledger.began(key, at)? {
                        self.attempts.retries.take(key.task, key.index);
                        note_absent(turn.tx, key, &without, turn.now.wall)?;
                    }
                    self.transferred(turn.tx, key.task)?;
                }
                Ok(())
            }
            Event::Orphaned { attempt } => {
                if let Some(key) = self.known(turn.tx, route, attempt)? {
                    turn.tx.mark_orphaned(key.task, key.index)?;
                    turn.tx.trace(
                        key.task,
                        turn.now.wall,
                        "its supervisor is gone; the command runs on without one",
                    )?;
                }
                Ok(())
            }
            Event::Ended { attempt, ended } => self.ended(turn, route, attempt, ended),
            Event::Recalled { attempt } => match self.known(turn.tx, route, attempt)? {
                Some(key) => self.return_to_queue(turn, key, attempt),
                None => Ok(()),
            },
            Event::Refused { attempt, why } => self.refused(turn, route, attempt, why),
        }
    }

    /// The row of an attempt: from its lane, else from the database. None also if the attempt is on a server that this link does
    /// not lead to: an attempt that never started keeps its number when it moves to the next server, and a late message of the
    /// first server must not change it there.
    pub(in crate::dispatch) fn known(
        &self,
        tx: &Tx<'_>,
        from: Route,
        attempt: AttemptId,
    ) -> Result<Option<AttemptKey>, StoreError> {
        let key = |task| attempt.key(task);
        if let Some((lane, held)) = self.attempts.lanes.find(attempt) {
            let place = self.attempts.lanes.get(lane).map(|lane| lane.place);
            let here = place.and_then(|place| self.route_of(place)).is_none_or(|route| route == from);
            return Ok(here.then(|| key(held.task)));
        }
        let Some(task) = tx.task_by_uuid(attempt.task)? else { return Ok(None) };
        let member = tx.member(task, attempt.index)?.filter(|member| member.number == attempt.number);
        let place = member.and_then(|m| Some(Place { server: m.server()?, host: m.host()? }));
        let here = place.and_then(|place| self.route_of(place)).is_none_or(|route| route == from);
        Ok(here.then(|| key(task)))
    }

    /// Returns an attempt that never started to the queue: its member waits as before its placement.
    pub(in crate::dispatch) fn return_to_queue(
        &mut self,
        turn: &mut Turn<'_, '_>,
        key: AttemptKey,
        attempt: AttemptId,
    ) -> Result<(), DispatchError> {
        if turn.ledger.unplaced(key)? {
            self.attempts.lanes.drop_attempt(attempt);
            self.attempts.cancelling.remove(&attempt);
            self.activity.dirty = true;
            if self.attempts.retries.of(key.task).is_some() {
                self.match_anew(turn, key.task)?;
            }
        }
        Ok(())
    }
}

/// True if one of these servers was read again after `since`. A reading from the future dates from before the clock was set back.
fn read_since(tx: &Tx<'_>, servers: &[ServerId], since: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
    for id in servers {
        let read_at = tx.server_by_id(*id)?.and_then(|s| s.pool).map(|pool| pool.read_at);
        if read_at.is_some_and(|at| at > since && at <= now) {
            return Ok(true);
        }
    }
    Ok(false)
}
