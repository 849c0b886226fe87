//! A home that was restored from a backup while its servers kept running.

use crate::dispatch::testing::{Bench, Task};
use crate::model::task::{EndState, Phase};

#[test]
fn attempt_that_ended_after_the_backup_is_held() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let backup = bench.backup();
    bench.end("local", 0);
    bench.restore(&backup);
    assert_eq!(bench.phase(task), Phase::Held, "it may have ended well: a person decides");
    let why = bench.reason(task).unwrap();
    assert!(why.starts_with("restored from a backup of"), "{why}");
    assert_eq!(bench.agent("local", |agent| agent.starts()), 1);
    bench.check();
}

#[test]
fn attempt_that_still_runs_is_followed() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let backup = bench.backup();
    bench.restore(&backup);
    assert_eq!(bench.phase(task), Phase::Running);
    bench.end("local", 0);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn attempt_that_started_after_the_backup_is_followed() {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    let backup = bench.backup();
    bench.run();
    bench.restore(&backup);
    assert_eq!(bench.phase(task), Phase::Running);
    assert_eq!(bench.agent("local", |agent| (agent.starts(), agent.cancels())), (1, 0));
    bench.end("local", 0);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn attempt_of_a_task_submitted_after_the_backup_is_left_alone() {
    let mut bench = Bench::new();
    bench.run();
    let backup = bench.backup();
    bench.submit(&Task::default());
    bench.run();
    bench.restore(&backup);
    assert_eq!(bench.running("local").len(), 1);
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 0, "nobody here may say that it should end");
    bench.check();
}
