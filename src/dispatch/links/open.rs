//! Which links are opened: to servers with attempts, to those that callers ask about, and to those where waiting tasks may fit. A
//! host accepts only so many logins at once, so few are under way at a time.

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
    /// Opens the links that are due, and gives up those that make no progress.
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
            self.handle_news(route, news);
        }
        self.fail_overdue_probes(patience, now);
        self.retry_names(now);
        self.mark_wanted_links();
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

    /// If the home's ssh command has changed, closes the links that used the old one, so that they are opened with the new one.
    pub(in crate::dispatch) fn follow_ssh_command(&mut self) {
        if !self.links.connector.take_changed() {
            return;
        }
        let by_it: Vec<Route> =
            self.links.slots.iter().filter(|(_, slot)| slot.uses_home_command()).map(|(route, _)| *route).collect();
        for route in by_it {
            let closed = self.links.slots.get_mut(&route);
            let closed =
                closed.and_then(|slot| slot.close("the home's ssh command is another one now", &self.links.connector));
            self.handle_news(route, closed);
        }
    }

    /// Sends the hello to the agent of this host before our epoch is on the disk, so that a turn need not wait for its recovery.
    /// Nothing is sent under the epoch until then; early starts follow right behind the hello. It is the only message before a
    /// commit.
    pub(in crate::dispatch) fn handshake_here(&mut self) {
        if self.links.connector.agent.is_none() {
            return;
        }
        let Some(slot) = self.links.slots.get_mut(&Route::Here) else { return };
        match sealed::lifted(|| slot.open(&mut self.links.connector)) {
            Ok(()) => slot.allow_early_starts(BootId::of_this_host()),
            Err(error) => self.links.inbox.push((Route::Here, FromAgent::Unfit { error })),
        }
    }

    /// Reports overdue probes to the callers that wait for them. Tasks on those servers keep running.
    fn fail_overdue_probes(&mut self, patience: Duration, now: Instant) {
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
            self.fail_probes(route, &format!("no reading within {} s", patience.as_secs()));
        }
        let mute: Vec<Route> = self
            .links
            .slots
            .iter()
            .filter(|(_, slot)| slot.hello_is_overdue(patience, now))
            .map(|(route, _)| *route)
            .collect();
        for route in mute {
            self.fail_probes(route, &format!("logged in, but the agent says nothing for {} s", patience.as_secs()));
        }
    }

    fn fail_probes(&mut self, route: Route, why: &str) {
        for server in self.servers_on(route) {
            self.callers.probed(server, Err(why.to_owned()));
        }
    }

    /// Marks the links that are needed. If all links are open there is nothing to mark.
    fn mark_wanted_links(&mut self) {
        if !self.links.slots.values().any(LinkState::is_down) {
            return;
        }
        let now = self.ambient.now().mono;
        if self.schedule.queue.blocked().next().is_some() {
            self.retry_lost_links(now);
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

    /// Retries the links to lost servers while something waits, each with its own pauses.
    fn retry_lost_links(&mut self, now: Instant) {
        let lost = |s: &&Server| s.health != Health::Up && s.drained.is_none();
        let routes: HashSet<Route> =
            self.schedule.fleets.servers().filter(lost).filter_map(|s| Route::to(&s.engine)).collect();
        for (_, slot) in self.links.slots.iter_mut().filter(|(route, _)| routes.contains(route)) {
            slot.wanted_until = now + WANTED;
        }
    }

    /// Retries the links that are down without a pause: a caller waits for an answer.
    pub(in crate::dispatch) fn retry_links_now(&mut self) {
        self.links.slots.values_mut().for_each(LinkState::retry_soon);
    }

    /// Handles the events of a link.
    pub(in crate::dispatch) fn handle_news(&mut self, route: Route, news: impl IntoIterator<Item = News>) {
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
                    self.handle_news(route, Some(News::Cut { error: error.clone(), last }));
                    self.links.inbox.push((route, FromAgent::Unfit { error }));
                }
                News::NoWay(error) => {
                    self.link_lost(route, &error);
                    self.links.inbox.push((route, FromAgent::Unfit { error }));
                }
            }
        }
    }

    /// Flushes all links.
    pub(in crate::dispatch) fn flush_links(&mut self) {
        let mut failed = Vec::new();
        for (route, slot) in &mut self.links.slots {
            failed.extend(slot.flush(&self.links.connector).map(|news| (*route, news)));
        }
        for (route, news) in failed {
            self.handle_news(route, Some(news));
        }
    }

    /// Queues a message for a route. A message that can't be encoded is logged and dropped: a bug must not stop the rest.
    pub(in crate::dispatch) fn send(&mut self, route: Route, message: &ToAgent) {
        sealed::assert_open();
        if let Some(slot) = self.links.slots.get_mut(&route)
            && let Err(error) = slot.send(message)
        {
            tracing::error!("a message to the agent was not sent: {error}");
        }
    }
}
