//! `--lost-after`, and steps of the wall clock while it counts.

use crate::dispatch::testing::{Bench, Task};
use crate::model::id::TaskId;
use crate::model::task::{EndState, Phase};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// A task with `--lost-after 100s` that has been out of reach for 10 s.
fn out_of_reach() -> (Bench, TaskId) {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { lost_after: Some(Duration::from_secs(100)), ..Task::default() });
    bench.run();
    bench.make_unreachable("local");
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.phase(task), Phase::Running);
    (bench, task)
}

/// Checks that it is lost after the 100 s, and not before.
fn is_lost_in_time(bench: &mut Bench, task: TaskId) {
    bench.pass(Duration::from_secs(80));
    assert_eq!(bench.phase(task), Phase::Running, "too early");
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Lost), "too late");
    let why = bench.last(task).detail.unwrap();
    assert!(why.starts_with("no contact with local for"), "{why}");
    bench.check();
}

#[test]
fn attempt_out_of_reach_is_lost_after_lost_after() {
    let (mut bench, task) = out_of_reach();
    is_lost_in_time(&mut bench, task);
}

#[test]
fn wall_clock_set_forward_loses_no_attempt() {
    let (mut bench, task) = out_of_reach();
    bench.clock.set_wall(HOUR_MS);
    bench.run();
    assert_eq!(bench.phase(task), Phase::Running, "before it is seen that it was set");
    bench.compare_clocks();
    is_lost_in_time(&mut bench, task);
}

#[test]
fn wall_clock_set_back_delays_no_loss() {
    let (mut bench, task) = out_of_reach();
    bench.clock.set_wall(-HOUR_MS);
    bench.run();
    bench.compare_clocks();
    is_lost_in_time(&mut bench, task);
}

#[test]
fn end_by_the_old_clock_is_not_removed_by_gc() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let (before, attempt) = (bench.now(), bench.attempt(task));
    bench.clock.set_wall(30 * 24 * HOUR_MS);
    bench.compare_clocks();
    bench.agent("local", |agent| agent.end(attempt, 0, b"", before));
    bench.run();
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    let ended_at = bench.last(task).ended_at.unwrap();
    assert!(bench.now().0 - ended_at.0 < HOUR_MS, "{} is long before {}", ended_at.local(), bench.now().local());
    bench.check();
}

#[test]
fn attempt_within_reach_is_never_lost() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { lost_after: Some(Duration::from_secs(100)), ..Task::default() });
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.phase(task), Phase::Running);
    bench.check();
}

#[test]
fn lost_attempt_is_cancelled_once_it_is_found() {
    let (mut bench, task) = out_of_reach();
    is_lost_in_time(&mut bench, task);
    bench.make_reachable("local");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 1);
    assert_eq!(bench.agent("local", |agent| agent.holds()), []);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Lost), "its end comes too late");
    bench.check();
}

#[test]
fn lost_attempt_is_retried_with_retry_lost() {
    let (mut bench, task) = {
        let mut bench = Bench::new();
        let lost_after = Some(Duration::from_secs(100));
        let task = bench.submit(&Task { lost_after, retry_lost: true, ..Task::default() });
        bench.run();
        (bench, task)
    };
    bench.make_unreachable("local");
    bench.add_server("far", crate::dispatch::testing::facts("far"));
    bench.pass(Duration::from_secs(150));
    assert_eq!(bench.running("far"), [bench.attempt(task)]);
    assert_eq!(bench.number(task, 0), 2);
    bench.check();
}
