//! The dispatcher's wait: for a message of an agent, a home or a command, a new connection, or a time.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::settings::Settings;
use crate::model::endpoint::Endpoint;
use crate::store::Store;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// How often the database is checked for changes of others while no message arrives.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Waits until a message arrives or something is due, and receives the messages.
    pub(in crate::dispatch) fn wait(
        &mut self,
        store: &mut Store,
        listener: &UnixListener,
    ) -> Result<(), DispatchError> {
        self.wait_at_most(self.timeout(), store, listener)
    }

    /// Waits for the hello of an agent of this host that was started beside this dispatcher. It is due within milliseconds: the
    /// next turn then includes it, and the agent gets the processor meanwhile.
    pub(in crate::dispatch) fn wait_for_hello(
        &mut self,
        store: &mut Store,
        listener: &UnixListener,
    ) -> Result<(), DispatchError> {
        while self.links.inbox.is_empty()
            && !self.callers.have_submits()
            && let Some(by) = self.links.slots.get(&Route::Here).and_then(LinkState::hello_due_at)
            && let Some(left) = by.checked_duration_since(self.ambient.now().mono)
        {
            self.wait_at_most(left, store, listener)?;
            self.flush();
        }
        Ok(())
    }

    pub(in crate::dispatch) fn wait_at_most(
        &mut self,
        timeout: Duration,
        store: &mut Store,
        listener: &UnixListener,
    ) -> Result<(), DispatchError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let (ready_links, ready_peers, ready_callers, knocked, quiet) = {
            let mut fds = vec![PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
            let mut whose = Vec::new();
            for (route, slot) in &self.links.slots {
                let Some(link) = slot.link() else { continue };
                fds.push(PollFd::from_borrowed_fd(link.read_end(), PollFlags::IN));
                whose.push(Some(*route));
                if link.wants_to_write()
                    && let Some(end) = link.write_end()
                {
                    fds.push(PollFd::from_borrowed_fd(end, PollFlags::OUT));
                    whose.push(Some(*route));
                }
            }
            let first_peer = fds.len();
            let mut homes = Vec::new();
            for (endpoint, link) in self.homes.peers.links() {
                fds.push(PollFd::from_borrowed_fd(link.read_end(), PollFlags::IN));
                homes.push(endpoint.clone());
                if link.wants_to_write()
                    && let Some(end) = link.write_end()
                {
                    fds.push(PollFd::from_borrowed_fd(end, PollFlags::OUT));
                    homes.push(endpoint.clone());
                }
            }
            let first_caller = fds.len();
            for caller in &self.callers.all {
                let out = if caller.wants_to_write() { PollFlags::OUT } else { PollFlags::empty() };
                fds.push(PollFd::from_borrowed_fd(caller.stream.as_fd(), PollFlags::IN | out));
            }
            let quiet = match poll(&mut fds, Some(&timeout)) {
                Ok(ready) => ready == 0,
                Err(rustix::io::Errno::INTR) => false,
                Err(error) => return Err(io::Error::from(error).into()),
            };
            let spoke = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let routes: Vec<Route> = fds[1..first_peer]
                .iter()
                .zip(whose)
                .filter(|(fd, _)| spoke(fd))
                .filter_map(|(_, route)| route)
                .collect();
            let peers = fds[first_peer..first_caller].iter().zip(homes).filter(|(fd, _)| spoke(fd));
            let peers: Vec<Endpoint> = peers.map(|(_, endpoint)| endpoint).collect();
            let callers: Vec<bool> = fds[first_caller..].iter().map(spoke).collect();
            (routes, peers, callers, spoke(&fds[0]), quiet)
        };
        // Before anything is recorded with the wall clock.
        self.shift_stored_times(store)?;
        if quiet {
            // Finds commits of commands that were killed before they could wake the dispatcher.
            self.notice_other_writers(store)?;
        }
        let mut ready: Vec<usize> =
            ready_callers.into_iter().enumerate().filter(|(_, spoke)| *spoke).map(|(at, _)| at).collect();
        for endpoint in ready_peers {
            self.receive_elsewhere(&endpoint);
        }
        if knocked {
            // New callers are read at once: most have sent a message, and some have hung up already.
            let from = self.callers.all.len();
            self.callers.accept(listener);
            ready.extend(from..self.callers.all.len());
            self.activity.idle_since = self.ambient.now().mono;
        }
        for at in ready {
            for message in self.callers.all[at].receive() {
                self.handle(store, at, message)?;
            }
            // A connection without a message is a wake.
            self.activity.dirty |= self.callers.all[at].gone && !self.callers.all[at].spoke;
        }
        self.callers.sweep();
        for route in ready_links {
            let news = self
                .links
                .slots
                .get_mut(&route)
                .map(|slot| slot.receive(&mut self.links.connector))
                .unwrap_or_default();
            self.handle_news(route, news);
        }
        Ok(())
    }

    /// Marks the database as dirty if another process has changed it without a wake.
    pub(in crate::dispatch) fn notice_other_writers(&mut self, store: &Store) -> Result<(), DispatchError> {
        let others = store.data_version()?;
        if std::mem::replace(&mut self.activity.data_version, others) != others {
            self.activity.dirty = true;
            self.attempts.settings = Settings::default();
        }
        Ok(())
    }

    /// The time until something is due.
    fn timeout(&self) -> Duration {
        let now = self.ambient.now().mono;
        let mut due = now + LOOK_EVERY;
        let patience = self.links.connector.patience;
        let links = self.links.slots.values().filter_map(|slot| slot.due_at(patience, now));
        let again = self.schedule.look_again.filter(|_| self.schedule.queue.blocked().next().is_some());
        for at in
            links.chain(self.attempts.due_at()).chain(again).chain(self.schedule.spools.due).chain(self.homes_due())
        {
            due = due.min(at);
        }
        if let Some(at) = self.transfers.inputs.due_at() {
            due = due.min(at);
        }
        if !self.schedule.queue.is_empty() {
            due = due.min(self.schedule.starving.due);
        }
        if self.attempts.lanes.any_ahead() {
            due = due.min(now + Duration::from_millis(200));
        }
        if let Some(at) = self.schedule.to_explain.due_at(now) {
            due = due.min(at);
        }
        if self.has_chores() {
            due = due.min(now + Duration::from_millis(200));
        }
        if self.idle() {
            due = due.min(self.activity.idle_since + self.activity.idle_exit);
        }
        if self.has_more() {
            due = now;
        }
        due.saturating_duration_since(now)
    }

    /// True if a turn is due at once.
    pub(in crate::dispatch) fn has_more(&self) -> bool {
        self.activity.dirty
            || !self.links.inbox.is_empty()
            || !self.transfers.endings.is_empty()
            || self.schedule.queue.is_dirty()
            || self.has_pieces()
    }
}
