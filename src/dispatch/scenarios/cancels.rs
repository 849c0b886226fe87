//! Cancels of waiting, placed, running and ended attempts.

use crate::dispatch::testing::{Bench, Task};
use crate::model::id::Index;
use crate::model::task::{EndState, Members, Phase, State};
use crate::store::files::Whereabouts;
use std::time::Duration;

const CANCELLED: Phase = Phase::Ended(EndState::Cancelled);

#[test]
fn waiting_and_held_members_end_at_once() {
    let mut bench = Bench::new();
    let first = bench.submit(&Task { members: range(4), ..Task::default() });
    bench.run();
    let waits = bench.submit(&Task::default());
    let held = bench.submit(&Task { hold: true, ..Task::default() });
    bench.run();
    bench.ask_cancel(waits);
    bench.ask_cancel(held);
    bench.run();
    assert_eq!((bench.state(waits), bench.state(held)), (State::Cancelled, State::Cancelled));
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 0);
    assert_eq!(bench.state(first), State::Running);
    bench.check();
}

#[test]
fn cancelled_attempt_that_was_never_sent_ends_without_its_agent() {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    bench.turn();
    bench.cut("local");
    bench.write(|tx| tx.mark_unsent(task, Index(0)));
    bench.ask_cancel(task);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.phase(task), CANCELLED);
    let told = bench.agent("local", |agent| (agent.starts(), agent.cancels()));
    assert_eq!(told, (0, 0), "its server has never heard of it");
    bench.check();
}

#[test]
fn cancelled_queued_attempt_is_refused_by_its_tombstone() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.begins_late = true);
    let task = bench.submit(&Task::default());
    bench.run();
    let attempt = bench.attempt(task);
    bench.ask_cancel(task);
    bench.run();
    assert_eq!(bench.phase(task), CANCELLED);
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt], "its tombstone may go");
    bench.check();
}

#[test]
fn cancel_of_a_running_attempt_is_sent_once_for_many_requests() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    bench.ask_cancel(task);
    bench.turn();
    bench.ask_cancel(task);
    bench.turn();
    bench.run();
    assert_eq!((bench.phase(task), bench.number(task, 0)), (CANCELLED, 1));
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 1);
    bench.check();
}

#[test]
fn cancel_during_a_cut_is_sent_after_the_hello() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.make_unreachable("local");
    bench.ask_cancel(task);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.phase(task), Phase::Running, "nobody has ended it yet");
    bench.make_reachable("local");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.phase(task), CANCELLED);
    bench.check();
}

#[test]
fn cancel_after_an_end_leaves_the_end_unchanged() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let attempt = bench.attempt(task);
    bench.end_unread("local", attempt, 0, b"");
    bench.ask_cancel(task);
    bench.turn();
    bench.run();
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    bench.check();
}

#[test]
fn cancel_prevents_the_retry_of_a_failed_attempt() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 3, ..Task::default() });
    bench.run();
    let attempt = bench.attempt(task);
    bench.end_unread("local", attempt, 1, b"");
    bench.ask_cancel(task);
    bench.run();
    assert_eq!((bench.phase(task), bench.number(task, 0)), (Phase::Ended(EndState::Failed), 1));
    bench.check();
}

#[test]
fn cancel_during_packing_leaves_results_on_the_server() {
    let mut bench = Bench::new();
    let (task, attempt) = bench.pack_results();
    assert_eq!(bench.phase(task), Phase::Running, "its results are packed");
    bench.clock.advance(Duration::from_millis(1));
    bench.ask_cancel(task);
    bench.run();
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed), "its own end stands");
    let lies = bench.store.view().fetched(task, Index(0)).unwrap().unwrap().lies;
    assert!(matches!(&lies, Whereabouts::There { error } if error.starts_with("cancelled")), "{lies:?}");
    assert_eq!(bench.agent("local", |agent| agent.cancels()), 1, "the packing is ended");
    assert_eq!(bench.agent("local", |agent| agent.holds()), [attempt], "what it made stays there");
    bench.check();
}

fn range(count: u32) -> Members {
    Members::Range { first: 0, step: 1, count, at_once: None }
}
