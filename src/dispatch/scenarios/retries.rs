//! `--retries`: failed attempts are followed by others.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::attempt::Cause;
use crate::model::task::{EndState, Phase, State};
use std::time::Duration;

#[test]
fn task_fails_with_the_attempt_after_its_last_retry() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 2, ..Task::default() });
    bench.run();
    for number in 1..=3 {
        assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, number));
        bench.end("local", 7);
    }
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Ended(EndState::Failed), 3));
    bench.check();
}

#[test]
fn retry_of_a_failed_attempt_runs_on_another_server() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.pass(Duration::from_secs(2));
    let task = bench.submit(&Task { retries: 1, ..Task::default() });
    bench.run();
    let (first, second) = if bench.running("local").is_empty() { ("far", "local") } else { ("local", "far") };
    bench.end(first, 1);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running(second), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn success_and_loss_are_not_retried() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    bench.end("local", 0);
    assert_eq!((bench.state(task), bench.number(task, 0)), (State::Completed, 1));
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    let (attempt, now) = (bench.attempt(task), bench.now());
    let cause = Cause::Lost { why: "its supervisor was killed".into() };
    bench.agent("local", |agent| agent.end_as(attempt, cause, b"", now));
    bench.run();
    assert_eq!((bench.state(task), bench.number(task, 0)), (State::Lost, 1));
    bench.check();
}
