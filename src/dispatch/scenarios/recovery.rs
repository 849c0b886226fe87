//! Recovery: each state of an attempt in the database against what its agent holds.

use crate::dispatch::testing::{Bench, Reads, Task, facts};
use crate::model::id::{AttemptId, Index, LaneId, TaskId, TaskUuid};
use crate::model::task::{EndState, Phase, State};
use crate::protocol::agent::HeldState;
use crate::store::members::MemberState;
use std::time::Duration;

/// A cut link is up again after this.
const SOON: Duration = Duration::from_secs(5);

/// A task whose start was lost with its link.
fn start_lost() -> (Bench, TaskId) {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    bench.turn();
    bench.cut("local");
    assert_eq!(bench.phase(task), Phase::Starting);
    (bench, task)
}

/// A running task whose link is cut.
fn running_and_cut() -> (Bench, TaskId) {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.cut("local");
    assert_eq!(bench.phase(task), Phase::Running);
    (bench, task)
}

/// Why an attempt is lost.
fn lost(bench: &Bench, task: TaskId) -> String {
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Lost));
    bench.last(task).detail.unwrap()
}

#[test]
fn unsent_attempt_is_sent_after_the_hello() {
    let (mut bench, task) = start_lost();
    bench.write(|tx| tx.mark_unsent(task, Index(0)));
    bench.pass(SOON);
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 1));
    bench.check();
}

#[test]
fn unsent_attempt_of_an_unfit_agent_goes_to_another_server() {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    bench.turn();
    bench.agent("local", |agent| agent.unfit = Some("its spool is on fire".into()));
    bench.cut("local");
    bench.write(|tx| tx.mark_unsent(task, Index(0)));
    bench.add_server("far", facts("far"));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("far"), [bench.attempt(task)]);
    assert_eq!(bench.number(task, 0), 1, "it has used no attempt");
    bench.check();
}

#[test]
fn start_without_a_record_is_sent_again() {
    let (mut bench, task) = start_lost();
    bench.pass(SOON);
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 1));
    assert_eq!(bench.agent("local", |agent| agent.starts()), 1, "the first was lost");
    bench.check();
}

#[test]
fn start_without_a_record_on_a_restarted_host_is_lost() {
    let (mut bench, task) = start_lost();
    bench.agent("local", |agent| agent.restart_host("another boot"));
    bench.pass(SOON);
    assert_eq!(lost(&bench, task), "the server was restarted while its start was on the way");
    assert_eq!(bench.agent("local", |agent| agent.starts()), 0, "it may have run");
    bench.check();
}

#[test]
fn running_attempt_without_a_record_is_lost() {
    let (mut bench, task) = running_and_cut();
    bench.agent("local", |agent| agent.lose_spool());
    bench.pass(SOON);
    assert_eq!(lost(&bench, task), "its record on the server is gone");
    bench.check();
}

#[test]
fn queued_attempts_of_a_lost_spool_are_lost_for_they_may_have_run() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::array(40));
    bench.run();
    // A short command: more are queued behind the next one.
    bench.end_first("local");
    bench.make_unreachable("local");
    let now = bench.now();
    for unheard in bench.running("local") {
        bench.agent("local", |agent| agent.end(unheard, 0, b"", now));
    }
    let began = bench.agent("local", |agent| agent.ran.clone());
    assert!(bench.running("local").iter().any(|attempt| bench.member_state(task, attempt.index.0) == State::Pending));
    bench.agent("local", |agent| agent.lose_spool());
    bench.make_reachable("local");
    bench.pass(SOON);
    for attempt in began.iter().skip(1) {
        assert_eq!(bench.member_state(task, attempt.index.0), State::Lost, "{attempt:?}");
    }
    bench.check();
}

#[test]
fn running_attempt_of_a_restarted_host_is_lost() {
    let (mut bench, task) = running_and_cut();
    bench.agent("local", |agent| agent.restart_host("another boot"));
    bench.pass(SOON);
    assert_eq!(lost(&bench, task), "the server was restarted while it ran");
    bench.check();
}

#[test]
fn attempt_lost_with_its_host_is_retried_with_retry_lost() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retry_lost: true, ..Task::default() });
    bench.run();
    bench.agent("local", |agent| agent.restart_host("another boot"));
    bench.pass(SOON);
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 2));
    bench.agent("local", |agent| agent.restart_host("a third boot"));
    bench.pass(SOON);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Lost), "once, unless --retries says more");
    bench.check();
}

#[test]
fn queued_attempt_stays_on_its_server() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.begins_late = true);
    let task = bench.submit(&Task::default());
    bench.run();
    bench.cut("local");
    bench.pass(SOON);
    assert_eq!(bench.phase(task), Phase::Starting);
    assert_eq!(bench.agent("local", |agent| agent.starts()), 1);
    let now = bench.now();
    bench.agent("local", |agent| agent.begin_all(now));
    bench.run();
    assert_eq!(bench.phase(task), Phase::Running);
    bench.check();
}

#[test]
fn end_during_a_cut_is_recorded_with_the_hello() {
    let (mut bench, task) = running_and_cut();
    let attempt = bench.attempt(task);
    bench.end_unread("local", attempt, 3, b"last words");
    bench.pass(SOON);
    assert_eq!((bench.phase(task), bench.last(task).exit_code), (Phase::Ended(EndState::Failed), Some(3)));
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt]);
    bench.check();
}

#[test]
fn fetch_of_a_long_output_restarts_after_a_cut() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.agent("local", |agent| agent.reads = Reads::Silent);
    bench.end_with("local", 0, &vec![b'x'; 3 << 20]);
    assert_eq!(bench.phase(task), Phase::Running, "its output is on the way");
    assert!(bench.dispatcher.attempts.lanes.is_empty(), "its place is free");
    bench.agent("local", |agent| agent.reads = Reads::Answered);
    bench.cut("local");
    bench.pass(SOON);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn new_dispatcher_fetches_a_long_output_again() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.make_unreachable("local");
    let task = bench.submit(&Task::default());
    bench.pass(SOON);
    bench.agent("far", |agent| agent.reads = Reads::Silent);
    bench.end_with("far", 0, &vec![b'x'; 3 << 20]);
    bench.agent("far", |agent| agent.reads = Reads::Answered);
    bench.restart();
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed), "its link is opened for it");
    bench.check();
}

#[test]
fn end_is_lost_with_its_record_during_the_fetch_of_its_output() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.agent("local", |agent| agent.reads = Reads::Silent);
    bench.end_with("local", 0, &vec![b'x'; 3 << 20]);
    bench.agent("local", |agent| agent.lose_spool());
    bench.pass(SOON);
    assert_eq!(lost(&bench, task), "its record on the server is gone");
    bench.check();
}

#[test]
fn attempt_without_a_supervisor_runs_on_and_is_marked() {
    let (mut bench, task) = running_and_cut();
    let attempt = bench.attempt(task);
    bench.agent("local", |agent| agent.orphan(attempt));
    bench.pass(SOON);
    assert_eq!(bench.phase(task), Phase::Running);
    let state = bench.member(task, 0).state;
    assert!(matches!(state, MemberState::Running { orphaned: true, .. }), "{state:?}");
    bench.end("local", 0);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn attempts_that_the_home_does_not_know_are_cancelled_or_confirmed() {
    let mut bench = Bench::new();
    let of = |number| AttemptId { task: TaskUuid::new(), index: Index(0), number };
    let (runs, waits, ended) = (of(1), of(2), of(3));
    let now = bench.now();
    bench.agent("local", |agent| {
        agent.holds_running(runs, LaneId(70), now);
        agent.hold(waits, LaneId(71), HeldState::Queued);
        agent.holds_running(ended, LaneId(72), now);
        agent.end(ended, 0, b"", now);
    });
    bench.run();
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 2);
    assert_eq!(bench.agent("local", |agent| agent.holds()), [], "nothing of it stays");
    bench.check();
}

#[test]
fn early_start_is_sent_once() {
    let mut bench = Bench::new();
    let task = bench.submit_with_early_start("boot of local");
    bench.run();
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Running, 1));
    assert_eq!(bench.agent("local", |agent| agent.starts()), 1);
    bench.check();
}

#[test]
fn early_start_to_an_unfit_agent_goes_to_another_server() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.agent("local", |agent| agent.unfit = Some("its spool is on fire".into()));
    let task = bench.submit_with_early_start("boot of local");
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.running("far"), [bench.attempt(task)]);
    assert_eq!(bench.number(task, 0), 1, "it has used no attempt");
    bench.check();
}
