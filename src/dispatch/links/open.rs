//! Which links are to be opened: where something of ours lies, where a caller wants to know something, and where waiting
//! tasks may find room. A few at a time, for a host takes only so many logins at once.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::news::News;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::link::LinkError;
use crate::model::id::BootId;
use crate::model::server::{Health, Server};
use crate::protocol::agent::{FromAgent, ToAgent};
use crate::store::Store;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Logins under way at a time (sshd's MaxStartups begins to refuse at 10).
const LOGINS_MAX: usize = 8;

/// A request for a link expires after this time, unless it is renewed.
const WANTED: Duration = Duration::from_secs(10);

impl Dispatcher {
    /// Opens what is due, gives up what does not get on.
    pub(in crate::dispatch) fn open_links(&mut self, store: &Store) -> Result<(), DispatchError> {
        for route in std::mem::take(&mut self.links.restarted) {
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.failed(LinkError::Ended, &self.links.connector);
                slot.retry_now();
            }
            self.link_lost(route, "the host was restarted");
        }
        let (patience, now) = (self.links.connector.patience, self.ambient.now().mono);
        let overdue: Vec<(Route, LinkError)> =
            self.links.slots.iter().filter_map(|(route, slot)| Some((*route, slot.overdue(patience, now)?))).collect();
        for (route, error) in overdue {
            let news = self.links.slots.get_mut(&route).map(|slot| slot.failed(error, &self.links.connector));
            self.take_news(route, news);
        }
        self.give_up_readings(patience, now);
        self.look_for_machines(now);
        self.find_wanted_links();
        let due: Vec<Route> =
            self.links.slots.iter().filter(|(_, slot)| slot.is_due(now)).map(|(route, _)| *route).collect();
        if due.is_empty() {
            return Ok(());
        }
        self.links.connector.read_settings(&store.view())?;
        let mut under_way = self.links.slots.values().filter(|slot| slot.is_logging_in(now)).count();
        for route in due {
            if route != Route::Here && under_way >= LOGINS_MAX {
                continue;
            }
            let Some(slot) = self.links.slots.get_mut(&route) else { continue };
            match slot.open(&mut self.links.connector) {
                Ok(()) => under_way += usize::from(route != Route::Here),
                Err(error) => self.links.inbox.push((route, FromAgent::Unfit { error })),
            }
        }
        Ok(())
    }

    /// Where the home's ssh command became another one, what was reached by the one before is reached by it, and nothing more goes
    /// over links of before.
    pub(in crate::dispatch) fn follow_ssh_command(&mut self) {
        if !self.links.connector.take_changed() {
            return;
        }
        let by_it: Vec<Route> = self
            .links
            .slots
            .iter()
            .filter(|(_, slot)| slot.is_by_the_homes_command())
            .map(|(route, _)| *route)
            .collect();
        for route in by_it {
            let closed = self.links.slots.get_mut(&route);
            let closed =
                closed.and_then(|slot| slot.close("the home's ssh command is another one now", &self.links.connector));
            self.take_news(route, closed);
        }
    }

    /// An agent of this host that came up beside us is said hello to before our epoch is on the disk: nothing is sent under it
    /// until it is, and who recovers meanwhile has not to be waited for. What is started then goes right behind the hello. It is the
    /// only message that goes before a commit.
    pub(in crate::dispatch) fn handshake_here(&mut self) {
        if self.links.connector.agent.is_none() {
            return;
        }
        let Some(slot) = self.links.slots.get_mut(&Route::Here) else { return };
        match sealed::lifted(|| slot.open(&mut self.links.connector)) {
            Ok(()) => slot.go_ahead(BootId::of_this_host()),
            Err(error) => self.links.inbox.push((Route::Here, FromAgent::Unfit { error })),
        }
    }

    /// Who waits for a reading that does not come is told so; tasks over there go on.
    fn give_up_readings(&mut self, patience: Duration, now: Instant) {
        let late: Vec<Route> = self
            .links
            .slots
            .iter()
            .filter(|(_, slot)| slot.reading_overdue(patience, now))
            .map(|(route, _)| *route)
            .collect();
        for route in late {
            if let Some(slot) = self.links.slots.get_mut(&route) {
                slot.probing = None;
                slot.read_at = Some(now + patience);
            }
            self.no_reading(route, &format!("no reading within {} s", patience.as_secs()));
        }
        let mute: Vec<Route> = self
            .links
            .slots
            .iter()
            .filter(|(_, slot)| slot.hello_is_overdue(patience, now))
            .map(|(route, _)| *route)
            .collect();
        for route in mute {
            self.no_reading(route, &format!("logged in, but the agent says nothing for {} s", patience.as_secs()));
        }
    }

    fn no_reading(&mut self, route: Route, why: &str) {
        for server in self.servers_on(route) {
            self.callers.probed(server, Err(why.to_owned()));
        }
    }

    /// Marks the links that somebody has use for. Where all are open there is nothing to do.
    fn find_wanted_links(&mut self) {
        if !self.links.slots.values().any(LinkState::is_down) {
            return;
        }
        let now = self.ambient.now().mono;
        if self.schedule.queue.blocked().next().is_some() {
            self.want_lost_links(now);
        }
        let mut wanted: HashSet<Route> = HashSet::from([Route::Here]);
        wanted.extend(self.attempts.lanes.iter().filter_map(|(_, lane)| self.route_of(lane.place)));
        wanted.extend(self.callers.probes().into_iter().filter_map(|(id, _)| self.route_to(id)));
        wanted.extend(self.callers.questions());
        wanted.extend(&self.links.cut);
        wanted.extend(self.links.awaited.iter().filter_map(|host| self.route_to(*host)));
        wanted.extend(self.transfers.discards.routes());
        for (route, slot) in &mut self.links.slots {
            slot.wanted = wanted.contains(route) || slot.wanted_until > now;
        }
    }

    /// Where something waits, servers that were lost are called again, each in its own pauses.
    fn want_lost_links(&mut self, now: Instant) {
        let lost = |s: &&Server| s.health != Health::Up && s.drained.is_none();
        let routes: HashSet<Route> =
            self.schedule.fleets.servers().filter(lost).filter_map(|s| Route::to(&s.engine)).collect();
        for (_, slot) in self.links.slots.iter_mut().filter(|(route, _)| routes.contains(route)) {
            slot.wanted_until = now + WANTED;
        }
    }

    /// Somebody waits for an answer: what is down is called again now, not after a pause.
    pub(in crate::dispatch) fn retry_links_now(&mut self) {
        self.links.slots.values_mut().for_each(LinkState::retry_soon);
    }

    /// Takes note of what became of a link.
    pub(in crate::dispatch) fn take_news(&mut self, route: Route, news: impl IntoIterator<Item = News>) {
        for piece in news {
            match piece {
                News::Said(message) => self.links.inbox.push((route, message)),
                News::Lost(error) => self.link_lost(route, &error),
                News::Cut { error, last } => {
                    let machine = self.links.slots.get(&route).and_then(|slot| slot.machine);
                    self.links.silent.push((route, last, machine));
                    self.attempts.lose_at = Some(self.ambient.now().mono);
                    self.link_lost(route, &error);
                }
                News::Broken { error, last } => {
                    self.take_news(route, Some(News::Cut { error: error.clone(), last }));
                    self.links.inbox.push((route, FromAgent::Unfit { error }));
                }
                News::NoWay(error) => {
                    self.link_lost(route, &error);
                    self.links.inbox.push((route, FromAgent::Unfit { error }));
                }
            }
        }
    }

    /// Sends what goes over all links.
    pub(in crate::dispatch) fn flush_links(&mut self) {
        let mut failed = Vec::new();
        for (route, slot) in &mut self.links.slots {
            failed.extend(slot.flush(&self.links.connector).map(|news| (*route, news)));
        }
        for (route, news) in failed {
            self.take_news(route, Some(news));
        }
    }

    /// Sends over a route; a message that can't be encoded is a bug that must not stop the rest.
    pub(in crate::dispatch) fn send(&mut self, route: Route, message: &ToAgent) {
        sealed::assert_open();
        if let Some(slot) = self.links.slots.get_mut(&route)
            && let Err(error) = slot.send(message)
        {
            tracing::error!("a message to the agent was not sent: {error}");
        }
    }
}
