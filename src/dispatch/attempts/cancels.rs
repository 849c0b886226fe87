//! Cancels: recorded by commands, carried out here.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::task::{EndState, Phase};
use crate::store::StoreError;
use crate::store::members::Cancel;
use std::time::Duration;

impl Dispatcher {
    /// Carries out the requested cancels: waiting members end here, attempts on a server are cancelled there.
    pub(in crate::dispatch) fn carry_out_cancels(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), StoreError> {
        let asked = turn.tx.cancels()?;
        if asked.is_empty() {
            return Ok(());
        }
        for Cancel { task, index, grace_ms, asked_at } in asked {
            let grace = Duration::from_millis(grace_ms);
            for from in [Phase::Waiting, Phase::Held] {
                turn.ledger.shift(task, index, from, Phase::Ended(EndState::Cancelled))?;
            }
            for live in turn.tx.live_of(task)?.into_iter().filter(|l| index.is_none_or(|i| i == l.index)) {
                let place = Place { server: live.server, host: live.host };
                let Some(route) = self.route_of(place) else { continue };
                if live.sent.is_none() {
                    // No start was ever sent, so no agent is told. The place is released with the lane.
                    self.adopt(turn.tx, &live)?;
                    turn.ledger.cancelled(live.key())?;
                    self.attempts.lanes.drop_attempt(live.attempt());
                } else if let Some((route, next)) = self.transfers.results.give_up(live.attempt(), asked_at) {
                    // The command has ended already: the cancel ends the packing of its results.
                    turn.then(Effect::Cancel { route, attempt: live.attempt(), grace });
                    self.carry_out_step(route, next);
                } else if self.links.slots.get(&route).is_some_and(|s| s.boot().is_some())
                    && self.is_there(route, live.machine)
                    && self.attempts.cancelling.insert(live.attempt())
                {
                    turn.then(Effect::Cancel { route, attempt: live.attempt(), grace });
                }
            }
        }
        turn.tx.clear_cancels()
    }
}
