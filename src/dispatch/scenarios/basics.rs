//! One task from its submit to its end, and what may happen in between.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::ambient::Ambient;
use crate::model::command::Environment;
use crate::model::id::{Index, TaskUuid};
use crate::model::task::State;
use crate::protocol::agent::ToAgent;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use std::time::Duration;

#[test]
fn task_runs_and_its_end_is_recorded_and_confirmed() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.state(task), State::Running);
    bench.end_with("local", 3, b"hello\n");
    assert_eq!(bench.state(task), State::Failed);
    assert_eq!(bench.agent("local", |agent| agent.holds()), [], "the agent may forget it");
    bench.check();
}

#[test]
fn start_is_sent_after_its_claim_is_committed() {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    let turn = bench.dispatcher.turn(&mut bench.store);
    turn.unwrap();
    assert_eq!(bench.number(task, 0), 1, "it is claimed");
    bench.run();
    let starts =
        bench.agent("local", |agent| agent.heard.iter().filter(|message| matches!(message, ToAgent::Start(_))).count());
    assert_eq!(starts, 1);
}

#[test]
fn four_members_run_on_four_processors_and_the_fifth_waits() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(5));
    bench.run();
    assert_eq!(bench.running("local").len(), 4);
    assert_eq!(bench.member_state(task, 4), State::Pending);
    bench.end_all(0);
    assert_eq!(bench.running("local").len(), 1);
    bench.end_all(0);
    assert_eq!(bench.state(task), State::Completed);
    bench.check();
}

#[test]
fn virtual_environment_that_is_not_on_the_server_is_noted_once() {
    let mut bench = Bench::new();
    let names = ["VIRTUAL_ENV", "CONDA_PREFIX", "LD_PRELOAD"].map(str::to_owned);
    bench.agent("local", |agent| agent.without = names.into());
    let pairs = [("VIRTUAL_ENV", "/home/me/venv"), ("LD_PRELOAD", "x")];
    let env = Environment(pairs.map(|(name, value)| (name.into(), value.into())).into());
    let task = bench.submit(&Task { env, ..Task::array(3) });
    bench.run();
    let told = "/home/me/venv (VIRTUAL_ENV) is not on local: the task runs without it";
    let noted = |bench: &Bench| -> Vec<String> {
        let steps = bench.store.view().steps(task).unwrap();
        steps.into_iter().map(|(_, what)| what).filter(|what| what.contains("is not on")).collect()
    };
    assert_eq!(noted(&bench), [told], "while it runs");
    bench.end_all(0);
    assert_eq!(noted(&bench), [told]);
    bench.check();
}

#[test]
fn end_is_sent_to_a_waiting_caller_after_its_commit() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Watch { task, index: Some(Index(0)) });
    let ends = |heard: Vec<FromDispatcher>| {
        heard.into_iter().filter(|word| matches!(word, FromDispatcher::Ended { .. })).count()
    };
    assert_eq!(ends(caller.heard()), 0);
    bench.end("local", 0);
    assert_eq!(ends(caller.heard()), 1);
}

#[test]
fn new_dispatcher_takes_over_running_attempts() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.restart();
    assert_eq!(bench.state(task), State::Running);
    bench.end("local", 0);
    assert_eq!(bench.state(task), State::Completed);
    bench.check();
}

#[test]
fn long_output_is_fetched_before_the_end_is_recorded() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.end_with("local", 0, &vec![b'x'; 3 << 20]);
    assert_eq!(bench.state(task), State::Completed);
    assert_eq!(bench.agent("local", |agent| agent.holds()), []);
    bench.check();
}

#[test]
fn end_reported_twice_is_recorded_once() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    let [attempt] = bench.running("local")[..] else { panic!("one runs") };
    let now = bench.clock.now().wall;
    bench.agent("local", |agent| {
        agent.end(attempt, 1, b"", now);
        agent.report_again(attempt);
    });
    bench.run();
    assert_eq!(bench.number(task, 0), 2, "one failure is one retry");
    bench.check();
}

#[test]
fn task_without_room_on_this_host_goes_to_an_ssh_server() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    let task = bench.submit(&Task::array(8));
    bench.run();
    assert_eq!((bench.running("local").len(), bench.running("far").len()), (4, 4));
    bench.make_unreachable("far");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.state(task), State::Running, "an unreachable server is not an ended task");
    bench.make_reachable("far");
    bench.pass(Duration::from_secs(60));
    bench.end_all(0);
    assert_eq!(bench.state(task), State::Completed);
    bench.check();
}

#[test]
fn file_of_a_search_that_was_killed_is_removed_at_the_begin_and_once_an_hour() {
    let mut bench = Bench::new();
    let left = bench.store.home().run_dir().join(format!("placing.{}", TaskUuid::new()));
    for (hours, stays) in [(0, false), (0, true), (1, false)] {
        std::fs::write(&left, "").unwrap();
        bench.leap(Duration::from_secs(60 + hours * 60 * 60));
        bench.dispatcher.run_peers(&mut bench.store).unwrap();
        assert_eq!(left.exists(), stays, "{hours} h later");
    }
}
