//! Outcomes of attempts: what they say of the servers on which they ran.

use super::suspects::{Change, MOMENTS};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::model::attempt::{Cause, End};
use crate::model::id::{ClassId, LaneId, ServerId};
use crate::store::failing::Failing;
use crate::store::{StoreError, Tx};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

impl Dispatcher {
    /// Notes how an attempt of a class ended on a server.
    pub(in crate::dispatch) fn note_outcome(
        &mut self,
        turn: &mut Turn<'_, '_>,
        class: ClassId,
        server: ServerId,
        end: &End,
        took: Duration,
    ) -> Result<(), StoreError> {
        let now = turn.now.mono;
        let changes = match &end.cause {
            Cause::Cancelled | Cause::Lost { .. } => return Ok(()),
            Cause::Exited { code: 0 } | Cause::TimeLimit => self.lived(class, server, took, now),
            _ if took >= MOMENTS => self.lived(class, server, took, now),
            _ => {
                let change = self.attempts.suspects.failed(class, server, now);
                let mut changes: Vec<Change> = change.into_iter().collect();
                if self.attempts.suspects.looks_for_life(class, server) {
                    for other in self.lives_elsewhere(class, server, now) {
                        changes.extend(self.lived(class, other, MOMENTS, now));
                    }
                }
                changes
            }
        };
        self.record_changes(turn, &changes)
    }

    fn lived(&mut self, class: ClassId, server: ServerId, took: Duration, now: Instant) -> Vec<Change> {
        self.attempts.suspects.lived(class, server, now.checked_sub(took).unwrap_or(now), now)
    }

    /// Other servers on which an attempt of a class has run for more than moments.
    fn lives_elsewhere(&self, class: ClassId, server: ServerId, now: Instant) -> BTreeSet<ServerId> {
        let lanes = self.attempts.lanes.iter().filter(|(_, lane)| lane.class == class && lane.place.host != server);
        lanes.filter(|(_, lane)| lane.lives_since(now).is_some()).map(|(_, lane)| lane.place.host).collect()
    }

    /// Clears suspects on which an attempt has run for more than moments, or that have not failed for long. Gives those that get a
    /// start.
    pub(super) fn look_after_suspects(&mut self, turn: &mut Turn<'_, '_>) -> Result<Vec<ServerId>, DispatchError> {
        let now = turn.now.mono;
        let suspects = self.attempts.suspects.take_due(now);
        if suspects.is_empty() {
            return Ok(suspects);
        }
        let running: Vec<(ClassId, ServerId, Instant)> = self
            .attempts
            .lanes
            .iter()
            .filter(|(_, lane)| suspects.contains(&lane.place.host))
            .filter_map(|(_, lane)| Some((lane.class, lane.place.host, lane.lives_since(now)?)))
            .collect();
        let mut changes = self.attempts.suspects.expire(now);
        for (class, server, began) in running {
            changes.extend(self.attempts.suspects.lived(class, server, began, now));
        }
        self.record_changes(turn, &changes)?;
        Ok(suspects)
    }

    /// Records new and cleared suspects. What is queued on a new one returns to the queue.
    fn record_changes(&mut self, turn: &mut Turn<'_, '_>, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            match *change {
                Change::Suspected(server, failures) => {
                    let about = self.attempts.suspects.about(server);
                    turn.tx.set_failing(server, Some(&Failing { failures, at: turn.now.wall, about }))?;
                    self.recall_from(turn, server);
                }
                Change::Opened(server) => {
                    turn.tx.set_suspect_classes(server, &self.attempts.suspects.about(server))?;
                    self.free_host_of(server);
                }
                Change::Cleared(server) => {
                    turn.tx.set_failing(server, None)?;
                    self.free_host_of(server);
                }
            }
        }
        Ok(())
    }

    fn recall_from(&mut self, turn: &mut Turn<'_, '_>, server: ServerId) {
        let Some(route) = self.route_to(server) else { return };
        let queued: Vec<LaneId> = self.attempts.lanes.recall_on(server);
        for lane in queued.into_iter().filter(|lane| !self.is_elsewhere(*lane)) {
            turn.then(Effect::Recall { route, lane });
        }
    }

    /// Suspects and refusals as the database has them.
    pub(in crate::dispatch) fn adopt_remembered(&mut self, tx: &Tx<'_>, now: Instant) -> Result<(), StoreError> {
        for (task, server) in tx.all_refusals()? {
            self.attempts.barred.entry(task).or_default().insert(server);
        }
        for (server, failing) in tx.failing_servers()? {
            self.attempts.suspects.restore(server, failing, now);
        }
        Ok(())
    }
}
