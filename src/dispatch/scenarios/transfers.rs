//! Transfers of outputs, results and inputs, and discards.

use crate::dispatch::testing::{Bench, FakeAgent, Reads, Task, facts};
use crate::model::attempt::Stream;
use crate::model::files::Digest;
use crate::model::id::{Index, TaskId};
use crate::model::task::{EndState, Phase};
use crate::protocol::agent::{FromAgent, ToAgent};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::files::Whereabouts;
use crate::store::members::Outputs;
use std::time::Duration;

const COMPLETED: Phase = Phase::Ended(EndState::Completed);

/// A task whose output of 3 MiB stays on a server, because it is longer than 1 MiB.
fn task_with_long_output(bench: &mut Bench, server: &str) -> TaskId {
    bench.write(|tx| tx.set_setting("output_limit", Some("1M")));
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(5));
    bench.end_with(server, 0, &vec![b'x'; 3 << 20]);
    assert_eq!((bench.phase(task), bench.last(task).outputs), (COMPLETED, Outputs::Server));
    task
}

#[test]
fn output_above_the_limit_stays_on_its_server_and_is_read_there() {
    let mut bench = Bench::new();
    let task = task_with_long_output(&mut bench, "local");
    let attempt = bench.attempt(task);
    let dropped = bench.agent("local", |agent| agent.count(|said| *said == ToAgent::DropFiles { attempt }));
    assert_eq!(dropped, 1, "its directory is not needed any more");
    bench.cut("local");
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.agent("local", |agent| agent.holds()), [attempt], "it is kept over a hello");
    let mut caller = bench.caller();
    let (index, number, stream) = (Index(0), 1, Stream::Out);
    bench.say(0, ToDispatcher::Read { task, index, number, stream, offset: 7, max: 3 });
    let read = caller.heard().into_iter().find_map(|word| match word {
        FromDispatcher::Data { offset, bytes, .. } => Some((offset, bytes)),
        _ => None,
    });
    assert_eq!(read, Some((7, b"xxx".to_vec())));
    bench.check();
}

#[test]
fn output_whose_chunk_cannot_be_read_stays_on_its_server() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.agent("local", |agent| agent.reads = Reads::Empty);
    bench.end_with("local", 0, &vec![b'x'; 3 << 20]);
    let member = bench.member(task, 0);
    assert_eq!((member.phase(), bench.last(task).outputs), (COMPLETED, Outputs::Server));
    let file = bench.dispatcher.home.output_file(member.key(), Stream::Out);
    assert!(!file.exists(), "a part of it would only take room");
    bench.check();
}

#[test]
fn end_is_recorded_once_late_packing_is_done() {
    let mut bench = Bench::new();
    let (task, attempt) = bench.pack_results();
    assert_eq!(bench.phase(task), Phase::Running);
    assert!(bench.dispatcher.attempts.lanes.is_empty(), "its place is free meanwhile");
    bench.agent("local", |agent| agent.packed(attempt));
    bench.run();
    assert_eq!(bench.phase(task), COMPLETED);
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt]);
    bench.check();
}

#[test]
fn results_are_fetched_before_the_end_is_recorded() {
    let mut bench = Bench::new();
    let (task, attempt) = bench.pack_results();
    bench.agent("local", |agent| agent.pack(attempt, b"an archive"));
    bench.run_until_brought();
    assert_eq!(bench.phase(task), COMPLETED);
    let lies = bench.store.view().fetched(task, Index(0)).unwrap().unwrap().lies;
    assert!(matches!(lies, Whereabouts::Here { size: 10, files: 1, .. }), "{lies:?}");
    let file = bench.dispatcher.home.fetched_file(task, Index(0));
    assert_eq!(std::fs::read(file).unwrap(), b"an archive");
    bench.check();
}

#[test]
fn packing_is_requested_again_after_a_cut() {
    let mut bench = Bench::new();
    let (task, _) = bench.pack_results();
    bench.cut("local");
    bench.agent("local", |agent| agent.packs_late = false);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.phase(task), COMPLETED);
    let packs = bench.agent("local", |agent| agent.count(|said| matches!(said, ToAgent::Pack { .. })));
    assert_eq!(packs, 2);
    bench.check();
}

#[test]
fn discard_is_sent_once_and_deleted() {
    let mut bench = Bench::new();
    let task = task_with_long_output(&mut bench, "local");
    let attempt = bench.attempt(task);
    bench.write(|tx| tx.discard_of(task));
    let _caller = bench.caller();
    bench.say(0, ToDispatcher::Discard);
    bench.say(0, ToDispatcher::Discard);
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt]);
    assert_eq!(bench.store.view().discards().unwrap(), []);
    bench.check();
}

#[test]
fn discard_waits_for_its_machine() {
    let mut bench = Bench::new();
    bench.make_unreachable("local");
    bench.add_server("far", facts("far"));
    let task = task_with_long_output(&mut bench, "far");
    let attempt = bench.attempt(task);
    let other = FakeAgent::new(facts("another host"));
    let first = bench.replace_agent("far", other);
    bench.pass(Duration::from_secs(5));
    bench.write(|tx| tx.discard_of(task));
    let _caller = bench.caller();
    bench.say(0, ToDispatcher::Discard);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.agent("far", |agent| agent.confirmed()), [], "it would know nothing of it");
    bench.replace_agent("far", first);
    // Nothing needs the link: it is opened for the next task.
    let next = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(30));
    assert!(bench.agent("far", |agent| agent.confirmed()).contains(&attempt));
    assert_eq!(bench.agent("far", |agent| agent.holds()), [bench.attempt(next)], "what is given up is gone");
    assert_eq!(bench.store.view().discards().unwrap(), []);
    bench.check();
}

#[test]
fn request_for_a_missing_bundle_is_denied() {
    let mut bench = Bench::new();
    bench.run();
    let bundle = Digest([1; 32]);
    bench.agent("local", |agent| agent.say(&FromAgent::Need { bundle, offset: 0, max: 100 }));
    bench.run();
    let denied = |said: &ToAgent| matches!(said, ToAgent::NoBundle { bundle: of, .. } if *of == bundle);
    assert_eq!(bench.agent("local", |agent| agent.count(denied)), 1);
    bench.check();
}

#[test]
fn end_reported_again_with_its_last_chunk_is_recorded_once() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.agent("local", |agent| agent.repeats_ends = true);
    bench.end_with("local", 0, &vec![b'x'; 3 << 20]);
    let member = bench.member(task, 0);
    assert_eq!((member.phase(), bench.last(task).outputs), (COMPLETED, Outputs::Spool));
    let file = bench.dispatcher.home.output_file(member.key(), Stream::Out);
    assert_eq!(std::fs::metadata(file).unwrap().len(), 3 << 20);
    assert_eq!(bench.agent("local", |agent| agent.holds()), [], "the agent may forget it");
    bench.check();
}

#[test]
fn results_are_fetched_when_a_cancel_prevents_the_retry() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task { retries: 3, fetch: true, ..Task::default() });
    bench.run();
    bench.agent("local", |agent| agent.reads = Reads::Silent);
    bench.end_with("local", 1, &vec![b'x'; 100 << 10]);
    let attempt = bench.attempt(task);
    let packs = |bench: &Bench| bench.agent("local", |agent| agent.count(|said| matches!(said, ToAgent::Pack { .. })));
    assert_eq!(packs(&bench), 0, "another attempt is to follow");
    bench.ask_cancel(task);
    bench.run();
    bench.agent("local", |agent| {
        agent.reads = Reads::Answered;
        agent.read(attempt, Stream::Out, 0, 1 << 20);
    });
    bench.run();
    assert_eq!(packs(&bench), 1);
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Failed));
    assert!(bench.store.view().fetched(task, Index(0)).unwrap().is_some(), "it is recorded what it made");
    bench.check();
}
