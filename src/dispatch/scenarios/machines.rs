//! A server's name that leads to another machine than the one of its attempts.

use crate::dispatch::testing::{Bench, FakeAgent, Task, facts};
use crate::model::id::TaskId;
use crate::model::task::{EndState, Phase};
use crate::protocol::agent::{Event, Refusal, ToAgent};
use std::time::Duration;

/// A task that runs on `far`, whose name then leads to another machine; with the agent of the first.
fn misled() -> (Bench, TaskId, FakeAgent) {
    let mut bench = Bench::new();
    bench.make_unreachable("local");
    bench.add_server("far", facts("far"));
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("far"), [bench.attempt(task)]);
    let first = bench.replace_agent("far", FakeAgent::new(facts("another host")));
    bench.pass(Duration::from_secs(5));
    (bench, task, first)
}

#[test]
fn attempt_waits_for_its_machine_while_another_one_answers() {
    let (mut bench, task, first) = misled();
    assert_eq!(bench.phase(task), Phase::Running, "it is neither lost nor started again");
    assert_eq!(bench.agent("far", |agent| (agent.starts(), agent.cancels())), (0, 0));
    let steps = bench.store.view().steps(task).unwrap();
    assert!(steps.iter().any(|(_, what)| what.starts_with("another machine (another host) answers")), "{steps:?}");
    bench.replace_agent("far", first);
    bench.pass(Duration::from_secs(5));
    bench.end("far", 0);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn name_is_looked_up_again_while_attempts_are_on_another_machine() {
    let (mut bench, _, _first) = misled();
    let greeted = |bench: &Bench| bench.agent("far", |agent| agent.count(|said| matches!(said, ToAgent::Hello { .. })));
    assert_eq!(greeted(&bench), 1);
    bench.pass(Duration::from_secs(40));
    assert_eq!(greeted(&bench), 2, "after half a minute");
    bench.pass(Duration::from_secs(40));
    assert_eq!(greeted(&bench), 2, "and then less often");
    bench.check();
}

#[test]
fn cancel_waits_for_the_machine_that_holds_the_attempt() {
    let (mut bench, task, first) = misled();
    bench.ask_cancel(task);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.phase(task), Phase::Running);
    assert_eq!(bench.agent("far", |agent| agent.cancels()), 0);
    bench.replace_agent("far", first);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Cancelled));
    bench.check();
}

#[test]
fn refusal_by_another_machine_ends_no_attempt() {
    let (mut bench, task, _first) = misled();
    let attempt = bench.attempt(task);
    bench.agent("far", |agent| agent.send(Event::Refused { attempt, why: Refusal::Tombstone }));
    bench.run();
    assert_eq!(bench.phase(task), Phase::Running);
    assert_eq!(bench.agent("far", |agent| agent.confirmed()), [attempt], "its tombstone may go");
    bench.check();
}

#[test]
fn next_task_starts_on_the_machine_that_answers() {
    let (mut bench, _, _first) = misled();
    let next = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("far"), [bench.attempt(next)]);
    bench.check();
}
