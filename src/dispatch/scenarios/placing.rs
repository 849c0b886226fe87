//! Which server a task is placed on, at first and after refusals and failures.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::id::{Index, TaskId};
use crate::model::task::State;
use crate::protocol::agent::Refusal;
use crate::store::declared::Declared;
use std::time::Duration;

/// The host of a single task's last attempt.
fn host(bench: &Bench, task: TaskId) -> Option<String> {
    let host = bench.store.view().member(task, Index(0)).unwrap()?.host()?;
    Some(bench.store.view().server_name(host).unwrap()?.to_string())
}

/// The detail of a single task's end.
fn detail(bench: &Bench, task: TaskId) -> String {
    bench
        .store
        .view()
        .member(task, Index(0))
        .unwrap()
        .and_then(|member| member.last()?.detail.clone())
        .unwrap_or_default()
}

/// A bench with this host and `far`.
fn two() -> Bench {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.run();
    bench
}

fn refuse(bench: &Bench, server: &str, refusal: Option<Refusal>) {
    bench.agent(server, |agent| agent.refuses = refusal);
}

fn no_directory() -> Option<Refusal> {
    Some(Refusal::NoDirectory { path: "/data".into() })
}

#[test]
fn task_goes_where_its_constraint_holds() {
    let mut bench = Bench::new();
    let mut arm = facts("far");
    arm.arch = "aarch64".into();
    bench.add_server("far", arm);
    let tasks =
        [bench.submit(&Task::array(6).constraint("server.arch == \"aarch64\"")), bench.submit(&Task::default())];
    bench.run();
    assert_eq!((bench.running("far").len(), bench.running("local").len()), (4, 1));
    assert_eq!(bench.state(tasks[1]), State::Running);
    bench.check();
}

#[test]
fn task_goes_to_the_server_that_it_names_and_waits_for_it() {
    let mut bench = two();
    bench.submit(&Task::default().on("far").cpus(4));
    let task = bench.submit(&Task::default().on("far"));
    bench.run();
    assert_eq!((bench.running("local").len(), bench.running("far").len()), (0, 1));
    assert_eq!(bench.state(task), State::Pending);
    bench.check();
}

#[test]
fn class_with_a_bad_expression_waits_with_the_error_and_blocks_no_other() {
    let mut bench = Bench::new();
    let bad = bench.submit(&Task::default().constraint("server.arch ==").priority(9));
    let good = bench.submit(&Task::default());
    bench.run();
    assert_eq!((bench.state(bad), bench.state(good)), (State::Pending, State::Running));
    assert!(bench.reason(bad).is_some());
    bench.restart();
    assert_eq!(bench.state(bad), State::Pending);
    bench.check();
}

#[test]
fn drained_server_gets_no_task_and_keeps_its_running_one() {
    let mut bench = two();
    let running = bench.submit(&Task::default().on("far"));
    bench.run();
    bench.set_drained("far", true);
    let next = bench.submit(&Task::array(8));
    bench.run();
    assert_eq!((bench.running("local").len(), bench.running("far").len()), (4, 1));
    assert_eq!(bench.state(running), State::Running);
    bench.end("far", 0);
    assert_eq!((bench.state(running), bench.running("far").len()), (State::Completed, 0));
    bench.set_drained("far", false);
    assert_eq!(bench.running("far").len(), 4);
    assert_eq!(bench.state(next), State::Running);
    bench.check();
}

#[test]
fn refused_task_goes_to_the_next_server() {
    let mut bench = two();
    for server in ["local", "far"] {
        refuse(&bench, server, no_directory());
        let task = bench.submit(&Task::default().of_class(server));
        bench.run();
        assert_eq!(bench.state(task), State::Running);
        assert_eq!(bench.number(task, 0), 1, "it has used no attempt");
        assert_ne!(host(&bench, task).as_deref(), Some(server));
        refuse(&bench, server, None);
    }
    bench.check();
}

#[test]
fn task_refused_by_all_servers_fails_with_all_reasons() {
    let mut bench = two();
    refuse(&bench, "local", no_directory());
    refuse(&bench, "far", Some(Refusal::Prologue { error: "exit 3".into() }));
    let task = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.state(task), State::Failed);
    let said = detail(&bench, task);
    assert!(said.contains("no /data on local") && said.contains("the prologue fails (exit 3) on far"), "{said:?}");
    bench.check();
}

#[test]
fn refused_task_waits_for_the_other_server() {
    let mut bench = two();
    bench.submit(&Task::default().on("far").cpus(4));
    bench.run();
    refuse(&bench, "local", no_directory());
    let task = bench.submit(&Task::default());
    let behind = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.state(task), State::Pending);
    refuse(&bench, "local", None);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.state(task), State::Pending, "it is not tried there twice");
    let later = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.state(later), State::Running, "others of its class go there");
    assert_eq!(bench.state(behind), State::Pending, "this one was refused too");
    bench.end("far", 0);
    assert_eq!([task, behind].map(|task| bench.state(task)), [State::Running; 2]);
    bench.check();
}

#[test]
fn retry_goes_to_another_server_if_there_is_one() {
    let mut bench = two();
    let task = bench.submit(&Task::default().retries(2));
    bench.run();
    let first = host(&bench, task).unwrap();
    bench.end(&first, 1);
    assert_eq!(bench.number(task, 0), 2);
    assert_ne!(host(&bench, task).unwrap(), first);
    bench.check();
}

#[test]
fn retry_goes_to_the_same_server_if_it_is_the_only_one() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default().retries(2));
    bench.run();
    bench.end("local", 1);
    assert_eq!((bench.number(task, 0), bench.running("local").len()), (2, 1));
    bench.end("local", 1);
    bench.end("local", 1);
    assert_eq!(bench.state(task), State::Failed, "two retries, and no more");
    bench.check();
}

#[test]
fn server_that_can_start_nothing_is_retried_after_a_pause() {
    let mut bench = Bench::new();
    refuse(&bench, "local", Some(Refusal::Spool { error: "no space left".into() }));
    let task = bench.submit(&Task::default());
    bench.run();
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.state(task), State::Pending);
    assert_eq!(bench.server("local").health.word(), "DOWN");
    refuse(&bench, "local", None);
    bench.pass(Duration::from_secs(30));
    assert_eq!((bench.state(task), bench.number(task, 0)), (State::Running, 1));
    bench.check();
}

#[test]
fn server_with_a_running_task_is_not_removed() {
    let mut bench = two();
    let task = bench.submit(&Task::default().on("far"));
    bench.run();
    assert!(!bench.remove_server("far"));
    bench.end("far", 0);
    assert_eq!(bench.state(task), State::Completed);
    assert!(bench.remove_server("far"));
    let waits = bench.submit(&Task::default().on("far"));
    bench.run();
    assert_eq!(bench.state(waits), State::Pending);
    assert_eq!(host(&bench, task).as_deref(), Some("far"), "it keeps its name");
    bench.check();
}

#[test]
fn task_on_a_group_reserves_room_of_group_and_member() {
    let mut bench = two();
    bench.add_server("near", facts("near"));
    bench.add_group("pair", &["far", "near"]);
    let task = bench.submit(&Task::array(3).on("pair").cpus(4));
    bench.run();
    assert_eq!(["far", "near", "local"].map(|server| bench.running(server).len()), [1, 1, 0]);
    assert_eq!((bench.server("pair").taken.cpus, bench.server("far").taken.cpus), (8, 4));
    bench.check();
    bench.end("far", 0);
    assert_eq!(bench.running("far").len(), 1, "the third one");
    bench.end_all(0);
    assert_eq!(bench.state(task), State::Completed);
    assert_eq!(bench.server("pair").taken.cpus, 0);
    bench.check();
}

#[test]
fn task_waits_for_a_group_with_full_members() {
    let mut bench = two();
    bench.add_group("alone", &["far"]);
    bench.submit(&Task::default().on("far").cpus(4));
    let task = bench.submit(&Task::default().on("alone"));
    bench.run();
    assert_eq!(bench.state(task), State::Pending);
    bench.end("far", 0);
    assert_eq!((bench.state(task), bench.running("far").len()), (State::Running, 1));
    bench.check();
}

#[test]
fn verdicts_of_all_servers_are_stored_with_the_attempt() {
    let mut bench = two();
    let task = bench.submit(&Task::default().on("far"));
    bench.run();
    let verdict = bench.store.view().member(task, Index(0)).unwrap().and_then(|member| member.verdict);
    let text = bench.store.view().note(verdict.expect("a verdict")).unwrap().unwrap();
    assert!(text.contains("\"far\"") && text.contains("\"local\""), "{text}");
    bench.check();
}

#[test]
fn more_processors_than_the_host_has_may_be_declared_and_count() {
    let mut bench = Bench::new();
    let declared = Declared { slots: Some(10), cpus: Some(10), ..Declared::default() };
    bench.declare("local", &declared);
    bench.submit(&Task::array(12));
    bench.run();
    assert_eq!(bench.running("local").len(), 10);
    bench.check();
}

#[test]
fn reason_of_a_waiting_task_follows_what_is_declared_of_its_server() {
    let mut bench = two();
    let declare = |site: &str| Declared { attributes: [("site".into(), site.into())].into(), ..Declared::default() };
    bench.declare("far", &declare("oslo"));
    bench.submit(&Task::array(4).on("far"));
    bench.run();
    let waits = bench.submit(&Task::default().constraint("server.site == \"oslo\""));
    bench.run();
    bench.pass(Duration::from_secs(2));
    let reason = |bench: &Bench| bench.reason(waits).unwrap_or_default();
    assert!(reason(&bench).starts_with("far: slots: all 4 are taken"), "{}", reason(&bench));
    bench.declare("far", &declare("brno"));
    bench.run();
    bench.pass(Duration::from_secs(2));
    assert_eq!(reason(&bench), "local: -C: server.site is not set (and 1 more)");
    bench.end_all(0);
    assert!(bench.remove_server("far"));
    bench.run();
    bench.pass(Duration::from_secs(2));
    assert_eq!(reason(&bench), "local: -C: server.site is not set");
    bench.check();
}
