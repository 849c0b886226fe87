//! The room of a server, and the share that an array may take.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::resources::Bytes;
use crate::model::task::State;
use crate::store::declared::Declared;
use std::time::Duration;

#[test]
fn array_runs_no_more_members_at_once_than_its_limit() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(6).at_once(2));
    bench.run();
    let mut rounds = 0;
    while !bench.state(task).ended() {
        assert_eq!(bench.running("local").len(), 2);
        bench.pass(Duration::from_secs(1));
        bench.end_all(0);
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    bench.check();
}

#[test]
fn array_at_its_limit_does_not_block_its_class() {
    let mut bench = Bench::new();
    let array = bench.submit(&Task::array(6).at_once(1));
    let behind = bench.submit(&Task::default());
    bench.run();
    assert_eq!((bench.state(array), bench.state(behind)), (State::Running, State::Running));
    assert_eq!(bench.running("local").len(), 2);
    bench.check();
}

#[test]
fn array_at_its_limit_continues_while_its_members_are_unreachable() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    let task = bench.submit(&Task { retry_lost: true, ..Task::array(3).at_once(1).on("far") });
    bench.run();
    bench.make_unreachable("far");
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.number(task, 1), 0, "one may still run there");
    bench.make_reachable("far");
    bench.pass(Duration::from_secs(30));
    bench.end("far", 0);
    assert_eq!(bench.number(task, 1), 1);
    bench.check();
}

#[test]
fn members_reserve_their_processors() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(3).cpus(2));
    bench.run();
    assert_eq!(bench.running("local").len(), 2);
    assert_eq!(bench.server("local").taken.cpus, 4);
    bench.check();
}

#[test]
fn members_reserve_their_memory() {
    let mut bench = Bench::new();
    bench.submit(&Task::array(4).gib(3));
    bench.run();
    assert_eq!(bench.running("local").len(), 2);
    assert_eq!(bench.server("local").taken.mem, Bytes(6 << 30));
    bench.check();
}

#[test]
fn server_runs_no_more_tasks_than_it_has_slots() {
    let mut bench = Bench::new();
    bench.declare("local", &Declared { slots: Some(1), ..Declared::default() });
    bench.submit(&Task::array(4));
    bench.run();
    assert_eq!(bench.running("local").len(), 1);
    bench.check();
}

#[test]
fn two_servers_on_one_host_share_its_processors() {
    let mut bench = Bench::new();
    let host = facts("far");
    bench.add_server("far", host.clone());
    bench.add_server("far-too", host);
    bench.submit(&Task::array(8).constraint("server.hostname == \"far\""));
    bench.run();
    assert_eq!(bench.running("far").len() + bench.running("far-too").len(), 4);
    bench.check();
}

#[test]
fn task_that_fits_nowhere_has_a_reason() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default().cpus(64));
    bench.run();
    assert_eq!(bench.state(task), State::Pending);
    let reason = bench.reason(task).unwrap_or_default();
    assert!(reason.contains("64"), "{reason:?}");
    bench.check();
}

#[test]
fn reason_names_the_server_without_room() {
    let mut bench = Bench::new();
    bench.submit(&Task::default().cpus(4));
    let task = bench.submit(&Task::default().cpus(4).of_class("other"));
    bench.run();
    let reason = bench.reason(task).unwrap_or_default();
    assert!(reason.starts_with("local: "), "{reason:?}");
    bench.end("local", 0);
    assert_eq!(bench.state(task), State::Running);
    bench.check();
}
