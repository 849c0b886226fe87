//! Connected commands: they wait, follow, request probes, and hang up.

use crate::dispatch::testing::{Bench, Caller, Task, facts};
use crate::model::attempt::Stream;
use crate::model::id::{Index, ServerId};
use crate::model::task::{EndState, Phase};
use crate::protocol::agent::{FromAgent, ToAgent};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use std::time::Duration;

/// The answers to a caller's probes: an error, or none.
fn readings(caller: &mut Caller) -> Vec<Option<String>> {
    let reading = |word| match word {
        FromDispatcher::Probed { error, .. } => Some(error),
        _ => None,
    };
    caller.heard().into_iter().filter_map(reading).collect()
}

/// Output that a caller was sent.
fn output(caller: &mut Caller) -> Vec<u8> {
    let bytes = |word| match word {
        FromDispatcher::Data { bytes, .. } => bytes,
        _ => Vec::new(),
    };
    caller.heard().into_iter().flat_map(bytes).collect()
}

#[test]
fn watch_of_an_ended_task_is_answered_at_once() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    bench.end("local", 0);
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Watch { task, index: None });
    assert_eq!(caller.ends(), 1);
    bench.check();
}

#[test]
fn followers_get_only_output_that_they_do_not_have() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let attempt = bench.attempt(task);
    let (mut first, mut second) = (bench.caller(), bench.caller());
    bench.say(0, ToDispatcher::Follow { task, index: Index(0), out: 0, err: 0 });
    bench.say(1, ToDispatcher::Follow { task, index: Index(0), out: 3, err: 0 });
    let asked = |from| move |said: &ToAgent| *said == ToAgent::Follow { attempt, out: from, err: 0 };
    assert_eq!(bench.agent("local", |agent| (agent.count(asked(0)), agent.count(asked(3)))), (1, 1));
    let (stream, left_out, at_end) = (Stream::Out, 0, false);
    let piece = FromAgent::Data { attempt, stream, offset: 0, left_out, bytes: b"hello".to_vec(), at_end };
    bench.agent("local", |agent| {
        agent.say(&piece);
        agent.say(&piece);
    });
    bench.run();
    assert_eq!((output(&mut first), output(&mut second)), (b"hello".to_vec(), b"lo".to_vec()));
    bench.end("local", 0);
    assert_eq!((first.ends(), second.ends()), (1, 1));
    bench.check();
}

#[test]
fn follower_is_attached_again_after_a_cut() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let attempt = bench.attempt(task);
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Follow { task, index: Index(0), out: 0, err: 0 });
    let (stream, offset, left_out, at_end) = (Stream::Out, 0, 0, false);
    bench.agent("local", |agent| {
        agent.say(&FromAgent::Data { attempt, stream, offset, left_out, bytes: b"hel".to_vec(), at_end });
    });
    bench.run();
    assert_eq!(output(&mut caller), b"hel");
    bench.cut("local");
    bench.pass(Duration::from_secs(5));
    let continues = |said: &ToAgent| *said == ToAgent::Follow { attempt, out: 3, err: 0 };
    assert_eq!(bench.agent("local", |agent| agent.count(continues)), 1);
    bench.check();
}

#[test]
fn probe_is_sent_once_for_many_waiters() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(5));
    let probes =
        |bench: &Bench| bench.agent("local", |agent| agent.count(|said| matches!(said, ToAgent::Probe { .. })));
    let before = probes(&bench);
    let server = bench.server_id("local");
    let mut callers: Vec<Caller> = (0..3).map(|_| bench.caller()).collect();
    for at in 0..3 {
        bench.dispatcher.handle(&mut bench.store, at, ToDispatcher::Probe { server }).unwrap();
    }
    bench.run();
    assert_eq!(probes(&bench) - before, 1);
    for caller in &mut callers {
        assert_eq!(readings(caller), [None]);
    }
    bench.check();
}

#[test]
fn probe_of_an_unreachable_host_fails_with_the_reason() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.run();
    let server = bench.server_id("far");
    bench.make_unreachable("far");
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Probe { server });
    bench.say(0, ToDispatcher::Probe { server: ServerId(99) });
    bench.pass(Duration::from_secs(2));
    let told = readings(&mut caller);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(Option::is_some), "{told:?}");
    bench.check();
}

#[test]
fn caller_that_hangs_up_is_dropped() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    let (gone, mut stays) = (bench.caller(), bench.caller());
    bench.say(0, ToDispatcher::Watch { task, index: None });
    bench.say(1, ToDispatcher::Watch { task, index: None });
    drop(gone);
    bench.handle_callers();
    assert_eq!(bench.dispatcher.callers.all.len(), 1);
    bench.end("local", 0);
    assert_eq!(stays.ends(), 1);
    bench.check();
}

#[test]
fn cancel_that_could_not_be_written_is_sent_and_recorded_later() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Cancel { task, index: None, grace: Duration::from_secs(1) });
    assert!(caller.heard().iter().any(|word| matches!(word, FromDispatcher::CancelTaken)));
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Cancelled));
    bench.check();
}

#[test]
fn status_counts_links_lanes_and_running_attempts() {
    let mut bench = Bench::new();
    bench.submit(&Task::default());
    bench.run();
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Status);
    let counts = caller.heard().into_iter().find_map(|word| match word {
        FromDispatcher::Status { links, lanes, running, .. } => Some((links, lanes, running)),
        _ => None,
    });
    assert_eq!(counts, Some((1, 1, 1)));
    bench.check();
}

#[test]
fn submit_that_is_not_handled_is_given_back() {
    let mut bench = Bench::new();
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Submit(vec![1, 2, 3]));
    assert!(caller.heard().iter().any(|word| matches!(word, FromDispatcher::Done { answer: None })));
    bench.check();
}
