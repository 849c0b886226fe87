//! Starts that an agent refuses.

use crate::dispatch::process::run::DispatchError;
use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::id::BootId;
use crate::model::task::{EndState, Phase};
use crate::protocol::agent::Refusal;
use std::time::Duration;

/// The trace of a task.
fn trace(bench: &Bench, task: crate::model::id::TaskId) -> String {
    let steps = bench.store.view().steps(task).unwrap();
    steps.into_iter().map(|(_, what)| what + "\n").collect()
}

#[test]
fn start_for_an_earlier_boot_is_sent_again_for_the_current_one() {
    let mut bench = Bench::new();
    let task = bench.submit_with_early_start("an earlier boot");
    bench.pass(Duration::from_secs(5));
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 1));
    assert_eq!(bench.member(task, 0).boot(), Some(&BootId("boot of local".into())));
    assert_eq!(bench.agent("local", |agent| agent.starts()), 2);
    bench.check();
}

/// Checks that a server is left alone and the task waits, while its agent refuses every start with this.
fn rests(why: Refusal, words: &str) {
    let mut bench = Bench::new();
    bench.run();
    bench.agent("local", |agent| agent.refuses = Some(why));
    let task = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.phase(task), Phase::Waiting);
    assert!(trace(&bench, task).contains(words), "{}", trace(&bench, task));
    let starts = bench.agent("local", |agent| agent.starts());
    assert_eq!(starts, 1, "it is left alone for a while");
    bench.agent("local", |agent| agent.refuses = None);
    bench.pass(Duration::from_secs(20));
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 1));
    bench.check();
}

#[test]
fn agent_that_is_wrong_about_its_boot_is_left_alone() {
    rests(Refusal::OtherBoot, "its agent says that the host was restarted");
}

#[test]
fn agent_with_the_epoch_of_a_copied_home_is_left_alone() {
    rests(Refusal::OldEpoch, "of a copy of this home?");
}

#[test]
fn agent_without_room_in_its_spool_is_left_alone() {
    rests(Refusal::Spool { error: "no space left".into() }, "no space left");
}

#[test]
fn dispatcher_ends_when_a_newer_one_has_started() {
    let mut bench = Bench::new();
    bench.run();
    bench.write(|tx| tx.raise_epoch());
    bench.agent("local", |agent| agent.refuses = Some(Refusal::OldEpoch));
    bench.submit(&Task::default());
    bench.turn();
    bench.pump("local");
    bench.receive();
    let ended = bench.dispatcher.turn(&mut bench.store);
    assert!(matches!(ended, Err(DispatchError::Fenced)), "{ended:?}");
    bench.agent("local", |agent| agent.refuses = None);
    bench.restart();
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("local").len(), 1, "the newer one starts it");
    bench.check();
}

#[test]
fn task_goes_to_the_server_that_has_its_directory() {
    let mut bench = Bench::new();
    let refusal = Refusal::NoDirectory { path: "/nowhere".into() };
    bench.agent("local", |agent| agent.refuses = Some(refusal));
    bench.add_server("far", facts("far"));
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.running("far"), [bench.attempt(task)]);
    assert_eq!(bench.number(task, 0), 1, "a refusal uses no attempt");
    assert!(bench.agent("local", |agent| agent.starts()) <= 1, "it is not asked again");
    bench.check();
}

#[test]
fn refusal_binds_over_a_restart_of_the_dispatcher_and_ends_with_the_task() {
    let mut bench = Bench::new();
    let refusal = Refusal::NoDirectory { path: "/nowhere".into() };
    bench.agent("local", |agent| agent.refuses = Some(refusal));
    bench.add_server("far", facts("far"));
    bench.set_drained("far", true);
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.phase(task), Phase::Waiting);
    let starts = bench.agent("local", |agent| agent.starts());
    bench.agent("local", |agent| agent.refuses = None);
    bench.restart();
    bench.pass(Duration::from_secs(10));
    let refused = |bench: &Bench| bench.store.view().refusals(task).unwrap();
    assert_eq!(bench.agent("local", |agent| agent.starts()), starts, "explain says that it is not asked again");
    assert_eq!(refused(&bench), [(bench.server("local").id, "no /nowhere".to_owned())]);
    bench.set_drained("far", false);
    bench.pass(Duration::from_secs(10));
    bench.end("far", 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Failed));
    assert_eq!(refused(&bench), [], "a later retry is asked for anew");
    bench.check();
}

#[test]
fn task_without_a_directory_anywhere_fails_with_the_remedy() {
    let mut bench = Bench::new();
    let refusal = Refusal::NoDirectory { path: "/nowhere".into() };
    bench.agent("local", |agent| agent.refuses = Some(refusal));
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    assert_eq!((bench.phase(task), bench.last(task).exit_code), (Phase::Ended(EndState::Failed), Some(125)));
    assert_eq!(bench.last(task).detail.as_deref(), Some("no /nowhere on local: add --dir, --send or --cwd"));
    bench.check();
}
