//! Faults of a bench's home and hosts: replaced machines, full disks, backups.

use super::{Bench, Caller, FakeAgent, Task, begin};
use crate::dispatch::links::route::Route;
use crate::model::ambient::Ambient;
use crate::model::demand::Demand;
use crate::model::id::{AttemptId, BootId, Index, ServerId, TaskId};
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::backup::BackupContent;
use crate::store::ledger::Ledger;
use crate::store::members::{LastAttempt, MemberRow};
use crate::store::placing::Placing;
use crate::store::{Home, Store};
use std::path::PathBuf;
use std::time::Duration;

impl Bench {
    /// Lets another agent answer under a server's name. Gives the agent before, whose link is cut.
    pub fn replace_agent(&mut self, server: &str, agent: FakeAgent) -> FakeAgent {
        let mut before = self.agents.borrow_mut().insert(server.into(), agent).unwrap();
        before.cut();
        before
    }

    /// Cuts the link to a server; it is opened again after its pause.
    pub fn cut(&mut self, server: &str) {
        self.agent(server, FakeAgent::cut);
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// Lets one agent receive and answer its messages.
    pub fn pump(&mut self, server: &str) {
        let now = self.now();
        self.agent(server, |agent| agent.pump(now));
    }

    /// Ends the command of an attempt. The agent reports it unless its link is cut; the dispatcher has not read the report.
    pub fn end_unread(&mut self, server: &str, attempt: AttemptId, code: u8, out: &[u8]) {
        let now = self.now();
        self.agent(server, |agent| agent.end(attempt, code, out, now));
    }

    /// Runs one turn without the agents: sent messages stay in the links.
    pub fn turn(&mut self) {
        self.dispatcher.turn(&mut self.store).unwrap();
        self.dispatcher.flush();
    }

    /// Submits a task with an early start: placed on this host by its submit, and sent right behind the hello to an agent of this
    /// boot.
    pub fn submit_with_early_start(&mut self, boot: &str) -> TaskId {
        let task = self.submit(&Task::default());
        let (now, boot) = (self.now(), BootId(boot.into()));
        self.dispatcher.load_servers(&self.store.view()).unwrap();
        let local = self.server_id("local");
        self.write(|tx| {
            let (sent, lane, boot) = (None, tx.new_lane()?, boot.clone());
            let at = Placing { server: local, host: local, boot, machine: None, lane, sent, verdict: None };
            let mut ledger = Ledger::open(tx, now);
            ledger.claim(task, 1, &at, &|_| true)?;
            tx.take(local, local, Demand::default().needs)?;
            ledger.close()
        });
        let links = &mut self.dispatcher.links;
        let slot = links.slots.get_mut(&Route::Here).unwrap();
        slot.open(&mut links.connector).unwrap();
        slot.allow_early_starts(boot);
        self.turn();
        task
    }

    /// Receives the messages of all agents for the next turn.
    pub fn receive(&mut self) {
        let routes: Vec<_> = self.dispatcher.links.slots.keys().copied().collect();
        for route in routes {
            let links = &mut self.dispatcher.links;
            let news = links.slots.get_mut(&route).map(|slot| slot.receive(&mut links.connector));
            self.dispatcher.handle_news(route, news.unwrap_or_default());
        }
    }

    /// Runs until an output or results are fetched whose last step is done by a thread.
    pub fn run_until_brought(&mut self) {
        self.run();
        while !self.dispatcher.transfers.results.is_empty() {
            std::thread::yield_now();
            self.run();
        }
    }

    /// The row of a member.
    pub fn member(&self, task: TaskId, index: u32) -> MemberRow {
        self.store.view().member(task, Index(index)).unwrap().unwrap()
    }

    /// What is kept of the last attempt of a task's only member, which is over.
    pub fn last(&self, task: TaskId) -> LastAttempt {
        self.member(task, 0).last().unwrap().clone()
    }

    /// The phase of a member.
    pub fn phase(&self, task: TaskId) -> Phase {
        self.member(task, 0).phase()
    }

    /// The phase of a member; waiting if it was never placed.
    pub fn phase_or_waiting(&self, task: TaskId) -> Phase {
        self.store.view().member(task, Index(0)).unwrap().map_or(Phase::Waiting, |member| member.phase())
    }

    /// The last attempt of a task's first member.
    pub fn attempt(&self, task: TaskId) -> AttemptId {
        let row = self.store.view().task(task).unwrap().unwrap();
        AttemptId { task: row.uuid, index: Index(0), number: self.member(task, 0).number }
    }

    /// The number of a server.
    pub fn server_id(&self, name: &str) -> ServerId {
        let servers = self.dispatcher.schedule.fleets.servers();
        servers.into_iter().find(|server| server.name.to_string() == name).unwrap().id
    }

    /// A task that has ended on `local`, whose agent packs its results until the test calls `packed`.
    pub fn pack_results(&mut self) -> (TaskId, AttemptId) {
        self.agent("local", |agent| agent.packs_late = true);
        let task = self.submit(&Task { fetch: true, ..Task::default() });
        self.run();
        self.end("local", 0);
        (task, self.attempt(task))
    }

    /// Requests a cancel as a command does.
    pub fn ask_cancel(&mut self, task: TaskId) {
        let now = self.clock.now().wall;
        self.write(|tx| tx.ask_cancel(task, None, Duration::from_secs(10), now));
    }

    /// Lets the process compare the clocks, as it does whenever it wakes.
    pub fn compare_clocks(&mut self) {
        self.dispatcher.shift_stored_times(&mut self.store).unwrap();
    }

    /// Handles the callers' messages, and drops callers that have hung up.
    pub fn handle_callers(&mut self) {
        for at in 0..self.dispatcher.callers.all.len() {
            for message in self.dispatcher.callers.all[at].receive() {
                self.dispatcher.handle(&mut self.store, at, message).unwrap();
            }
        }
        self.dispatcher.callers.sweep();
        self.run();
    }

    /// Makes a backup of the home.
    pub fn backup(&self) -> PathBuf {
        let to = self._dir.path().join("backup");
        self.store.backup(&to, BackupContent::All, self.clock.now().wall).unwrap();
        to
    }

    /// Replaces the home with one restored from a backup; its servers keep running.
    pub fn restore(&mut self, backup: &std::path::Path) {
        let home = Home::at(self._dir.path().join("restored"));
        let founding = home.found().unwrap();
        Store::place_backup(&home, backup).unwrap();
        drop(founding);
        self.store = Store::restore(&home, self.clock.now().wall).unwrap();
        self.home = home;
        self.agents.borrow_mut().values_mut().for_each(FakeAgent::cut);
        self.dispatcher = begin(&self.home, &mut self.store, &self.clock, &self.agents, &self.unreachable);
        self.run();
    }
}

impl Caller {
    /// How many ends it was sent since the last call; it was sent nothing else.
    pub fn ends(&mut self) -> usize {
        self.heard().iter().filter(|word| matches!(word, FromDispatcher::Ended { .. })).count()
    }
}
