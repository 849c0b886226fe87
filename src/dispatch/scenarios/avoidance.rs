//! The rule on servers that a task is kept from is told to people out of the database, and decided by what the dispatcher has seen.
//! In worlds drawn by chance both say the same.

use super::reasons::{of, verdicts};
use crate::dispatch::testing::{Bench, Task, facts};
use crate::matching::Verdict;
use crate::model::ambient::Ambient;
use crate::model::id::{Index, ServerId, TaskId};
use crate::model::task::State;
use crate::protocol::agent::Refusal;
use crate::store::declared::Declared;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::time::Duration;

const SERVERS: [&str; 3] = ["local", "near", "far"];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A task that may run on the servers of these bits.
    Submit {
        servers: usize,
    },
    /// The command on a server ends.
    End {
        server: usize,
        code: u8,
    },
    Refuse {
        server: usize,
        refuses: bool,
    },
    Drain {
        server: usize,
        drained: bool,
    },
    Pass {
        seconds: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let server = || 0..SERVERS.len();
    prop_oneof![
        3 => (1usize..8).prop_map(|servers| Step::Submit { servers }),
        5 => (server(), prop_oneof![3 => Just(1u8), 1 => Just(0)]).prop_map(|(server, code)| Step::End { server, code }),
        2 => (server(), any::<bool>()).prop_map(|(server, refuses)| Step::Refuse { server, refuses }),
        1 => (server(), any::<bool>()).prop_map(|(server, drained)| Step::Drain { server, drained }),
        2 => prop_oneof![Just(1u64), Just(20), Just(290)].prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// Servers of one slot each, and tasks that were submitted.
struct World {
    bench: Bench,
    tasks: Vec<TaskId>,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new();
        for name in &SERVERS[1..] {
            bench.add_server(name, facts(name));
        }
        for name in SERVERS {
            bench.declare(name, &Declared { slots: Some(1), ..Declared::default() });
        }
        bench.pass(Duration::from_secs(2));
        Self { bench, tasks: Vec::new() }
    }

    /// What people are told of the tasks that wait.
    fn told(&self) -> BTreeMap<TaskId, Vec<Verdict>> {
        let waits = self.tasks.iter().filter(|task| self.bench.state(**task) == State::Pending);
        waits.map(|task| (*task, verdicts(&self.bench, *task, None))).collect()
    }

    /// Where a task runs. One that every server refused in the same step has ended, and its refusals with it.
    fn server_of(&self, task: TaskId) -> Option<ServerId> {
        if self.bench.state(task) != State::Running {
            return None;
        }
        self.bench.store.view().member(task, Index(0)).unwrap().and_then(|member| member.host())
    }

    fn take(&mut self, step: Step) {
        // Nothing but a failure, a refusal or a drain changes what a task is kept from in a way that nobody could be told before.
        let mut before = None;
        let bench = &mut self.bench;
        match step {
            Step::Submit { servers } => {
                let names = SERVERS.iter().enumerate().filter(|(at, _)| servers & (1 << at) != 0);
                let any: Vec<String> = names.map(|(_, name)| format!("server.name == \"{name}\"")).collect();
                let class = self.tasks.len().to_string();
                self.tasks
                    .push(bench.submit(&Task::default().retries(9).constraint(&any.join(" || ")).of_class(&class)));
                bench.run();
            }
            Step::End { server, code } => {
                let name = SERVERS[server];
                if let [attempt] = bench.running(name)[..] {
                    bench.clock.advance(Duration::from_secs(11));
                    bench.run();
                    if code == 0 {
                        before = Some(self.told());
                    }
                    let now = self.bench.clock.now().wall;
                    self.bench.agent(name, |agent| agent.end(attempt, code, b"", now));
                    self.bench.run();
                }
            }
            Step::Refuse { server, refuses } => {
                let refusal = refuses.then(|| Refusal::NoDirectory { path: "/data".into() });
                bench.agent(SERVERS[server], |agent| agent.refuses = refusal);
            }
            Step::Drain { server, drained } => bench.set_drained(SERVERS[server], drained),
            Step::Pass { seconds } => {
                bench.clock.advance(Duration::from_secs(seconds));
                before = Some(self.told());
                self.bench.run();
            }
        }
        self.check(step, before.unwrap_or_default());
    }

    fn check(&self, step: Step, before: BTreeMap<TaskId, Vec<Verdict>>) {
        for (task, told) in self.told() {
            let fits: Vec<&Verdict> = told.iter().filter(|verdict| verdict.qualifies).collect();
            assert!(fits.is_empty(), "{step:?}: task {task} waits, and is told that a server fits: {fits:?}");
        }
        for (task, told) in before {
            let Some(server) = self.server_of(task) else { continue };
            let refused =
                told.iter().filter(|verdict| verdict.reasons.iter().any(|why| why.contains("it refused this task")));
            if self.bench.store.view().refusals(task).unwrap().len() > refused.count() {
                // It was to go to another server, which refused it in the same step.
                continue;
            }
            let name = self.bench.store.view().server_name(server).unwrap().unwrap();
            let (_, why) = of(&told, name.as_str());
            let kept = ["it failed there", "it refused this task"].iter().any(|words| why.contains(words));
            assert!(!kept, "{step:?}: task {task} was told of {name}: {why}; and went there");
        }
    }
}

#[test]
fn task_is_told_that_it_avoids_a_server_exactly_if_it_does() {
    let config = ProptestConfig { cases: 100, failure_persistence: None, max_shrink_iters: 400, ..Default::default() };
    let run = TestRunner::new(config).run(&vec(any_step(), 1..40), |steps| {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn server_that_refused_a_task_is_no_other_server_to_wait_for() {
    let mut bench = Bench::new();
    bench.add_server("near", facts("near"));
    bench.declare("local", &Declared { slots: Some(1), ..Declared::default() });
    bench.pass(Duration::from_secs(2));
    bench.agent("near", |agent| agent.refuses = Some(Refusal::NoDirectory { path: "/data".into() }));
    let mut task = Task::default().retries(1);
    task.demand.prefer = Some("server.name == \"near\"".into());
    let task = bench.submit(&task);
    bench.run();
    assert_eq!(bench.running("local"), [bench.attempt(task)]);
    // Another one takes its place in the turn of its failure.
    let other = bench.submit(&Task::default().on("local").priority(5));
    bench.run();
    bench.end("local", 1);
    assert_eq!(bench.running("local"), [bench.attempt(other)]);
    let (_, why) = of(&verdicts(&bench, task, Some(0)), "local");
    assert!(why.contains("slots: ") && !why.contains("failed there"), "{why}");
    bench.pass(Duration::from_secs(3));
    let reason = bench.reason(task).unwrap();
    assert!(reason.contains("refused: no /data on near") && !reason.contains("where it failed"), "{reason}");
    bench.end("local", 0);
    assert_eq!(bench.running("local"), [bench.attempt(task)]);
    bench.check();
}
