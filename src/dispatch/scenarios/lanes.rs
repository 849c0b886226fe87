//! Lanes: how many members they get ahead, and when these are recalled.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::id::LaneId;
use crate::model::task::State;
use crate::protocol::agent::ToAgent;
use crate::store::declared::Declared;
use std::collections::BTreeSet;
use std::time::Duration;

/// The lanes of the starts that a server got.
fn lanes(bench: &Bench, server: &str) -> BTreeSet<LaneId> {
    let lane = |message: &ToAgent| match message {
        ToAgent::Start(start) => Some(start.lane),
        _ => None,
    };
    bench.agent(server, |agent| agent.heard.iter().filter_map(lane).collect())
}

/// How many attempts a server holds.
fn held(bench: &Bench, server: &str) -> usize {
    bench.agent(server, |agent| agent.holds().len())
}

/// An array in one lane of this host; one member has ended at once.
fn one_short_lane() -> (Bench, crate::model::id::TaskId) {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(20).cpus(4));
    bench.run();
    assert_eq!(held(&bench, "local"), 1, "nobody knows yet how long they take");
    bench.end("local", 0);
    (bench, task)
}

#[test]
fn lane_of_short_members_gets_more_members_ahead() {
    let (mut bench, task) = one_short_lane();
    assert_eq!((held(&bench, "local"), bench.running("local").len()), (19, 1));
    for _ in 0..19 {
        bench.end("local", 0);
    }
    assert_eq!(bench.state(task), State::Completed);
    assert_eq!(lanes(&bench, "local").len(), 1, "the place was never given back");
    bench.check();
}

#[test]
fn lane_gets_no_more_members_than_its_window() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(20).cpus(4));
    bench.run();
    bench.pass(Duration::from_millis(50));
    bench.end("local", 0);
    assert_eq!(held(&bench, "local"), 3, "150 ms of work");
    bench.check();
}

#[test]
fn lane_of_long_members_gets_one_at_a_time() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(20).cpus(4));
    bench.run();
    bench.pass(Duration::from_secs(5));
    bench.end("local", 0);
    assert_eq!(held(&bench, "local"), 1);
    bench.check();
}

#[test]
fn lane_gets_no_members_while_a_higher_priority_waits() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(20).cpus(4));
    bench.run();
    let urgent = bench.submit(&Task::default().cpus(4).priority(1));
    bench.run();
    assert_eq!(bench.state(urgent), State::Pending);
    bench.end("local", 0);
    assert_eq!(bench.state(urgent), State::Running);
    assert_eq!(held(&bench, "local"), 1, "nothing else");
    bench.check();
}

#[test]
fn lane_of_a_drained_server_gets_no_members() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(20).cpus(4));
    bench.run();
    bench.set_drained("local", true);
    bench.end("local", 0);
    assert_eq!(held(&bench, "local"), 0);
    assert_eq!(bench.state(task), State::Pending);
    bench.check();
}

#[test]
fn lane_gets_no_members_once_its_class_does_not_fit_the_server() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(20).cpus(4));
    bench.run();
    bench.declare("local", &Declared { accepts: Some("task.priority > 0".into()), ..Declared::default() });
    bench.end("local", 0);
    assert_eq!(held(&bench, "local"), 0);
    bench.check();
}

#[test]
fn lane_returns_members_queued_behind_a_long_one() {
    let (mut bench, task) = one_short_lane();
    bench.pass(Duration::from_secs(1));
    assert_eq!(held(&bench, "local"), 1, "what runs stays");
    assert_eq!(bench.number(task, 5), 0, "an attempt that never began does not count");
    bench.check();
}

#[test]
fn returned_members_go_to_another_server() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.set_drained("far", true);
    bench.submit(&Task::array(20).cpus(4));
    bench.run();
    bench.end("local", 0);
    assert_eq!(held(&bench, "local"), 19);
    bench.set_drained("far", false);
    assert_eq!(held(&bench, "far"), 0, "all of it lies with the own host");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.running("far").len(), 1);
    bench.check();
}

#[test]
fn lane_continues_with_the_next_task_of_its_class() {
    let mut bench = Bench::new();
    let first = bench.submit(&Task::default().cpus(4));
    let second = bench.submit(&Task::default().cpus(4));
    bench.run();
    bench.end("local", 0);
    assert_eq!((bench.state(first), bench.state(second)), (State::Completed, State::Running));
    assert_eq!(lanes(&bench, "local").len(), 1);
    bench.check();
}

#[test]
fn empty_lane_is_filled_before_others() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.submit(&Task::array(3).cpus(4));
    bench.run();
    bench.end("far", 0);
    assert_eq!(["far", "local"].map(|server| bench.running(server).len()), [1, 1], "no place stands idle");
    bench.check();
}
