//! The order of tasks, and when a blocked class is tried again.

use crate::dispatch::testing::{Bench, FakeAgent, Task, facts};
use crate::model::id::TaskId;
use crate::model::task::State;
use crate::store::declared::Declared;
use std::time::Duration;

/// A bench whose own host is full.
fn full() -> Bench {
    let mut bench = Bench::new();
    bench.submit(&Task::default().cpus(4).of_class("first"));
    bench.run();
    bench
}

/// A task that needs a whole host, in a class of its own.
fn whole(class: &str) -> Task {
    Task::default().cpus(4).of_class(class)
}

fn states(bench: &Bench, tasks: [TaskId; 2]) -> [State; 2] {
    tasks.map(|task| bench.state(task))
}

#[test]
fn higher_priority_starts_first_though_it_came_later() {
    let mut bench = full();
    let low = bench.submit(&whole("low"));
    let high = bench.submit(&whole("high").priority(3));
    bench.run();
    bench.end("local", 0);
    assert_eq!(states(&bench, [low, high]), [State::Pending, State::Running]);
    bench.check();
}

#[test]
fn task_that_came_first_starts_first_within_a_priority() {
    let mut bench = full();
    let tasks = [bench.submit(&whole("a")), bench.submit(&whole("b"))];
    bench.run();
    bench.end("local", 0);
    assert_eq!(states(&bench, tasks), [State::Running, State::Pending]);
    bench.end("local", 0);
    assert_eq!(states(&bench, tasks), [State::Completed, State::Running]);
    bench.check();
}

#[test]
fn small_task_passes_a_large_one_that_does_not_fit() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(3));
    let large = bench.submit(&whole("large").priority(9));
    let small = bench.submit(&Task::default().of_class("small"));
    bench.run();
    // With all three waiting the large one comes first.
    assert_eq!(bench.state(large), State::Running);
    bench.end("local", 0);
    let next = bench.submit(&whole("next").priority(9));
    bench.run();
    assert_eq!(states(&bench, [next, small]), [State::Pending, State::Running]);
    bench.check();
}

#[test]
fn blocked_class_starts_once_a_server_is_added() {
    let mut bench = full();
    let task = bench.submit(&whole("blocked"));
    bench.run();
    bench.add_server("far", facts("far"));
    bench.run();
    assert_eq!((bench.state(task), bench.running("far").len()), (State::Running, 1));
    bench.check();
}

#[test]
fn blocked_class_starts_once_a_server_is_resumed() {
    let mut bench = Bench::new();
    bench.set_drained("local", true);
    let task = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.state(task), State::Pending);
    bench.set_drained("local", false);
    assert_eq!(bench.state(task), State::Running);
    bench.check();
}

#[test]
fn blocked_class_starts_once_a_server_is_declared_larger() {
    let mut bench = Bench::new();
    bench.declare("local", &Declared { cpus: Some(1), ..Declared::default() });
    let task = bench.submit(&Task::default().cpus(2));
    bench.run();
    assert_eq!(bench.state(task), State::Pending);
    bench.declare("local", &Declared { cpus: Some(2), ..Declared::default() });
    assert_eq!(bench.state(task), State::Running);
    bench.check();
}

#[test]
fn blocked_class_starts_once_a_reading_shows_room() {
    let mut bench = Bench::new();
    bench.declare("local", &Declared { max_load: Some(2.0), ..Declared::default() });
    bench.agent("local", |agent| agent.facts.load1 = 8.0);
    bench.pass(Duration::from_secs(10));
    let busy = bench.submit(&Task::default());
    bench.run();
    bench.pass(Duration::from_secs(10));
    let task = bench.submit(&Task::default().cpus(2));
    bench.run();
    assert_eq!(bench.state(task), State::Pending, "the load is too high");
    bench.agent("local", |agent| agent.facts.load1 = 0.5);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.state(task), State::Running);
    assert_eq!(bench.state(busy), State::Running);
    bench.check();
}

#[test]
fn blocked_class_starts_once_a_server_answers_again() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.make_unreachable("far");
    let task = bench.submit(&Task::default().on("far"));
    bench.run();
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.state(task), State::Pending);
    bench.make_reachable("far");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.state(task), State::Running);
    bench.check();
}

#[test]
fn held_task_is_passed_and_keeps_its_position() {
    let mut bench = full();
    let held = bench.submit(&Task { hold: true, ..whole("held") });
    let [second, third] = [bench.submit(&whole("second")), bench.submit(&whole("third"))];
    bench.run();
    bench.end("local", 0);
    assert_eq!(states(&bench, [held, second]), [State::Held, State::Running]);
    bench.release(held);
    bench.end("local", 0);
    assert_eq!(states(&bench, [held, third]), [State::Running, State::Pending], "it came before the third");
    bench.check();
}

#[test]
fn hold_keeps_waiting_members_and_leaves_running_ones() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(6));
    bench.run();
    bench.hold(task);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.running("local").len(), 4);
    bench.end_all(0);
    assert_eq!((bench.running("local").len(), bench.state(task)), (0, State::Held));
    bench.release(task);
    assert_eq!(bench.running("local").len(), 2);
    bench.check();
}

#[test]
fn hold_does_not_reach_members_given_ahead() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(9).cpus(4));
    bench.run();
    bench.end("local", 0);
    assert_eq!(bench.agent("local", |agent| agent.holds().len()), 8);
    bench.hold(task);
    let ahead = bench.agent("local", |agent: &mut FakeAgent| agent.holds().len());
    assert_eq!(ahead, 8, "they lie with the server");
    bench.check();
}
