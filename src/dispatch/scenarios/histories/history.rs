//! A history: a bench, its submitted tasks, and how each step is taken.

use super::step::{SERVERS, Step, Submit};
use crate::dispatch::testing::{Bench, FakeAgent, Task, facts};
use crate::model::ambient::Ambient;
use crate::model::id::TaskId;
use crate::model::task::{Members, State};
use crate::protocol::agent::{INLINE_MAX, Refusal};
use std::time::Duration;

/// A running history.
pub struct History {
    pub bench: Bench,
    pub tasks: Vec<TaskId>,
    /// Number of boots so far.
    boots: u32,
}

impl History {
    /// A history with the servers `local` and `a`; `b` may be added.
    pub fn new() -> Self {
        let mut bench = Bench::new();
        bench.add_server("a", facts("a"));
        bench.run();
        Self { bench, tasks: Vec::new(), boots: 0 }
    }

    fn has(&self, server: usize) -> bool {
        self.bench.store.view().server(SERVERS[server]).unwrap().is_some()
    }

    fn task(&self, which: usize) -> Option<TaskId> {
        (!self.tasks.is_empty()).then(|| self.tasks[which % self.tasks.len()])
    }

    /// Takes one step and checks the invariants.
    pub fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit(ref what) => self.submit(what),
            Step::Hold(which) => self.task(which).into_iter().for_each(|task| self.bench.hold(task)),
            Step::Release(which) => self.task(which).into_iter().for_each(|task| self.bench.release(task)),
            Step::Cancel(which) => self.task(which).into_iter().for_each(|task| self.bench.cancel(task)),
            Step::Retry(which) => self.task(which).into_iter().for_each(|task| self.bench.retry(task)),
            Step::Add(server) if !self.has(server) => {
                self.bench.add_server(SERVERS[server], facts(SERVERS[server]));
            }
            Step::DispatcherRestarts => self.bench.restart(),
            Step::DispatcherDies => {
                self.bench.dispatcher.activity.dirty = true;
                self.bench.dispatcher.turn(&mut self.bench.store).unwrap();
                self.bench.restart();
            }
            Step::Pass { ms } => self.bench.leap(Duration::from_millis(ms)),
            Step::ClockIsSet(minutes) => self.bench.clock.set_wall(minutes * 60_000),
            Step::Drain(server)
            | Step::Resume(server)
            | Step::Remove(server)
            | Step::Cut(server)
            | Step::Unreachable(server)
            | Step::Reachable(server)
            | Step::HostRestarts(server)
            | Step::SpoolLost(server)
            | Step::Refuses(server)
            | Step::Accepts(server)
            | Step::End { server, .. }
                if self.has(server) =>
            {
                self.take_on(SERVERS[server], step)
            }
            _ => {}
        }
        self.bench.run();
        self.check();
    }

    /// Takes a step on an existing server.
    fn take_on(&mut self, server: &str, step: &Step) {
        match *step {
            Step::Drain(_) => self.bench.set_drained(server, true),
            Step::Resume(_) => self.bench.set_drained(server, false),
            Step::Remove(_) => drop(self.bench.remove_server(server)),
            Step::Cut(_) => self.bench.agent(server, FakeAgent::cut),
            Step::Unreachable(_) => self.bench.make_unreachable(server),
            Step::Reachable(_) => self.bench.make_reachable(server),
            Step::HostRestarts(_) => {
                self.boots += 1;
                let boot = format!("boot {} of {server}", self.boots);
                self.bench.agent(server, |agent| agent.restart_host(&boot));
            }
            Step::SpoolLost(_) => self.bench.agent(server, FakeAgent::lose_spool),
            Step::Refuses(_) => {
                let refusal = Refusal::Spool { error: "no space left".into() };
                self.bench.agent(server, |agent| agent.refuses = Some(refusal));
            }
            Step::Accepts(_) => self.bench.agent(server, |agent| agent.refuses = None),
            Step::End { which, code, long, .. } => {
                let running = self.bench.running(server);
                if let Some(attempt) = running.get(which % running.len().max(1)) {
                    let out = if long { vec![b'x'; usize::try_from(INLINE_MAX).unwrap() + 1] } else { Vec::new() };
                    let now = self.bench.clock.now().wall;
                    self.bench.agent(server, |agent| agent.end(*attempt, code, &out, now));
                }
            }
            _ => {}
        }
    }

    fn submit(&mut self, what: &Submit) {
        let members = match what.count {
            1 => Members::Single,
            count => Members::Range { first: 0, step: 1, count, at_once: what.at_once },
        };
        let mut task = Task {
            members,
            retry_lost: what.retry_lost,
            lost_after: what.lost_after.then_some(Duration::from_secs(30)),
            hold: what.hold,
            ..Task::default()
        };
        task = task.cpus(what.cpus).priority(what.priority).retries(what.retries);
        if let Some(server) = what.on {
            task = task.on(SERVERS[server]);
        }
        self.tasks.push(self.bench.submit(&task));
        self.bench.run();
    }

    /// Ends all faults and all commands, and checks that everything ends and no agent holds anything.
    pub fn settle(&mut self) {
        for (at, server) in SERVERS.into_iter().enumerate() {
            if !self.has(at) {
                self.bench.add_server(server, facts(server));
            }
            self.bench.make_reachable(server);
            self.bench.agent(server, |agent| agent.refuses = None);
            self.bench.set_drained(server, false);
        }
        for task in self.tasks.clone() {
            self.bench.release(task);
        }
        for _ in 0..80 {
            self.bench.leap(Duration::from_secs(90));
            self.check();
            if self.tasks.iter().all(|task| self.bench.state(*task).ended()) {
                break;
            }
            self.bench.end_all(0);
            self.check();
        }
        self.bench.leap(Duration::from_secs(90));
        let left: Vec<(TaskId, State, Option<String>)> = self
            .tasks
            .iter()
            .map(|task| (*task, self.bench.state(*task), self.bench.reason(*task)))
            .filter(|(_, state, _)| !state.ended())
            .collect();
        assert_eq!(left, [], "everything ends once all faults are over");
        // An idle dispatcher opens no link: attempts that it has given up are removed over the next one.
        let visits: Vec<TaskId> = SERVERS.map(|server| self.bench.submit(&Task::default().on(server))).to_vec();
        self.bench.leap(Duration::from_secs(90));
        self.bench.end_all(0);
        for (server, visit) in SERVERS.into_iter().zip(visits) {
            assert_eq!(self.bench.state(visit), State::Completed, "{server} takes tasks");
            assert_eq!(self.bench.agent(server, |agent| agent.holds()), [], "{server} may forget everything");
        }
    }
}
