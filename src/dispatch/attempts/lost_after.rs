//! Servers out of reach: their attempts are lost only if the task says after how long (`--lost-after`).

use crate::dispatch::attempts::recover::lost;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::time::short;
use crate::protocol::agent::Event;
use std::time::Duration;

impl Dispatcher {
    /// Records when cut links were last up, and ends attempts that were out of reach for their `--lost-after`.
    pub(in crate::dispatch) fn end_out_of_reach(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
        for (route, last, machine) in std::mem::take(&mut self.links.silent) {
            for id in self.servers_on(route) {
                turn.tx.record_last_contact(id, last)?;
                if let Some(machine) = machine {
                    turn.tx.record_heard(id, machine, last)?;
                }
            }
        }
        if self.attempts.lose_at.is_none_or(|at| at > turn.now.mono) || self.clock_step_pending() {
            return Ok(());
        }
        self.attempts.lose_at = None;
        let mut next: Option<Duration> = None;
        for live in turn.tx.live()? {
            let Some(limit) = live.lost_after.filter(|_| live.sent.is_some()) else { continue };
            let Some(route) = self.route_of(Place { server: live.server, host: live.host }) else { continue };
            // Also open: a link with early starts.
            let open =
                self.links.slots.get(&route).is_some_and(|slot| slot.boot().is_some() || slot.takes_starts().is_some());
            if open && self.is_there(route, live.machine) {
                continue;
            }
            let heard = match live.machine {
                Some(machine) => turn.tx.heard_of(live.host, machine)?,
                None => turn.tx.contacted_at(live.host)?,
            };
            // While no dispatcher ran, nothing tried to reach the server.
            let last = heard.unwrap_or(self.instance.began_at).max(self.instance.began_at);
            match limit.checked_sub(last.age_at(turn.now.wall)).filter(|left| !left.is_zero()) {
                Some(left) => next = Some(next.map_or(left, |known| known.min(left))),
                None => {
                    let name =
                        turn.tx.server_name(live.host)?.map_or_else(|| "its server".to_owned(), |n| n.to_string());
                    let why = format!("no contact with {name} for {}; it may still run there", short(limit));
                    let ended = lost(&why, turn.now.wall);
                    self.event(turn, route, Event::Ended { attempt: live.attempt(), ended })?;
                }
            }
        }
        self.attempts.lose_at = next.map(|left| turn.now.mono + left);
        Ok(())
    }
}
