//! Which machine answers under a server's name. A name may come to lead to another machine; attempts on the first one are left
//! alone until it answers again.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::turn::Turn;
use crate::model::id::{AttemptId, BootId, LaneId, MachineId, ServerId};
use crate::store::StoreError;
use crate::store::members::Live;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The first pause before a name is looked up again, while attempts are on a machine that does not answer.
const LOOK_FIRST: Duration = Duration::from_secs(30);
/// The longest such pause; each is longer than the one before.
const LOOK_LAST: Duration = Duration::from_secs(600);

/// Attempts behind a route on machines that do not answer there.
#[derive(Debug)]
pub(in crate::dispatch) struct Elsewhere {
    bound: BoundElsewhere,
    /// How long the link has to be up before the name is looked up again.
    patience: Duration,
}

/// Attempts bound to machines that do not answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dispatch) struct BoundElsewhere {
    lanes: BTreeSet<LaneId>,
    /// Attempts whose lanes are released, with their hosts: their ends are not recorded yet.
    ends: BTreeSet<(ServerId, AttemptId)>,
}

impl BoundElsewhere {
    /// Adds an attempt.
    pub(in crate::dispatch) fn add(&mut self, live: &Live) {
        match live.lane {
            Some(lane) => self.lanes.insert(lane),
            None => self.ends.insert((live.host, live.attempt())),
        };
    }

    /// True if an end on this host is still to be recorded.
    pub(in crate::dispatch) fn holds_end_on(&self, host: ServerId) -> bool {
        self.ends.iter().any(|(of, _)| *of == host)
    }

    fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.ends.is_empty()
    }
}

/// A host whose agent has sent the hello.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct GreetedHost<'a> {
    /// It runs since this boot.
    pub boot: &'a BootId,
    /// None: this host.
    pub machine: Option<MachineId>,
}

/// The machine that has sent the hello over an ssh link.
#[derive(Debug, Clone)]
pub(in crate::dispatch) struct Answering {
    pub machine: MachineId,
    pub hostname: String,
}

impl Dispatcher {
    /// Notes the machine that has sent the hello. None for this host, which is never another machine, whatever its name.
    pub(in crate::dispatch) fn note_machine(
        &mut self,
        turn: &Turn<'_, '_>,
        route: Route,
        name: &str,
        hostname: &str,
    ) -> Result<Option<Answering>, StoreError> {
        if route == Route::Here {
            return Ok(None);
        }
        let (tx, now) = (turn.tx, turn.now.wall);
        let machine = tx.machine(name, hostname)?;
        for server in self.servers_on(route) {
            if tx.answers(server, machine, now)? {
                tracing::warn!("server {server}: another machine answers: {hostname}");
            }
        }
        if let Some(slot) = self.links.slots.get_mut(&route) {
            slot.machine = Some(machine);
        }
        Ok(Some(Answering { machine, hostname: hostname.to_owned() }))
    }

    /// True if an attempt that was sent, and that the answering machine does not hold, is on another machine. Attempts from before
    /// machines were recorded are bound to the machine that was read last.
    pub(in crate::dispatch) fn is_on_other_machine(
        &self,
        turn: &Turn<'_, '_>,
        live: &Live,
        answering: Option<&Answering>,
    ) -> Result<bool, StoreError> {
        let tx = turn.tx;
        let Some(answering) = answering else { return Ok(false) };
        let bound = match live.machine {
            Some(machine) => Some(machine),
            None => tx.machine_read(live.host)?,
        };
        let Some(bound) = bound.filter(|bound| *bound != answering.machine) else { return Ok(false) };
        if live.machine.is_none() {
            tx.bind(live.task, live.index, bound)?;
        }
        let server = tx.server_name(live.host)?.map_or_else(|| "its server".to_owned(), |name| name.to_string());
        let text = format!(
            "another machine ({}) answers as {server}; it stays as it is until the one that it was sent to answers again",
            answering.hostname
        );
        if tx.steps(live.task)?.last().is_none_or(|(_, last)| *last != text) {
            tx.trace(live.task, turn.now.wall, &text)?;
        }
        Ok(true)
    }

    /// Sets the attempts behind a route that are on machines which do not answer there.
    pub(in crate::dispatch) fn set_elsewhere(&mut self, route: Route, bound: BoundElsewhere) {
        match self.links.bound.remove(&route) {
            _ if bound.is_empty() => {}
            Some(before) if before.bound == bound => {
                let patience = (before.patience * 2).min(LOOK_LAST);
                self.links.bound.insert(route, Elsewhere { bound, patience });
            }
            _ => {
                self.links.bound.insert(route, Elsewhere { bound, patience: LOOK_FIRST });
            }
        }
    }

    /// True if a lane's machine does not answer: nothing more is placed in it.
    pub(in crate::dispatch) fn is_elsewhere(&self, lane: LaneId) -> bool {
        self.links.bound.values().any(|elsewhere| elsewhere.bound.lanes.contains(&lane))
    }

    /// True if messages about an attempt that is bound to this machine may be sent over an open route.
    pub(in crate::dispatch) fn is_there(&self, route: Route, machine: Option<MachineId>) -> bool {
        machine.is_none() || self.links.slots.get(&route).is_some_and(|slot| slot.machine == machine)
    }

    /// The machine that answers as a server, if it is known.
    pub(in crate::dispatch) fn machine_at(&self, server: ServerId) -> Option<MachineId> {
        self.route_to(server).and_then(|route| self.links.slots.get(&route)).and_then(|slot| slot.machine)
    }

    /// Closes idle links from time to time while attempts are on a machine that does not answer, so that the name is looked up
    /// again: it may lead back, or to each machine of a pool in turn. Links with a transfer are kept.
    pub(in crate::dispatch) fn retry_names(&mut self, now: Instant) {
        self.links.bound.retain(|_, Elsewhere { bound, .. }| {
            !bound.ends.is_empty() || bound.lanes.iter().any(|lane| self.attempts.lanes.get(*lane).is_some())
        });
        let due: Vec<Route> = self
            .links
            .bound
            .iter()
            .filter(|(route, elsewhere)| {
                let stood = self.links.slots.get(route).and_then(|slot| slot.up_for(now));
                stood.is_some_and(|stood| stood >= elsewhere.patience) && !self.transfers.outputs.uses(**route)
            })
            .map(|(route, _)| *route)
            .filter(|route| !self.transfers.results.uses(*route))
            .collect();
        for route in due {
            let closed = self.links.slots.get_mut(&route);
            let closed = closed.and_then(|slot| slot.close("its name is looked up again", &self.links.connector));
            self.handle_news(route, closed);
        }
    }
}
