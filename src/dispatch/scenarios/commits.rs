//! Failed commits: no agent and no caller is told of what they did.

use crate::dispatch::links::route::Route;
use crate::dispatch::sealed;
use crate::dispatch::testing::{Bench, Task};
use crate::model::id::Index;
use crate::model::task::{EndState, Phase, State};
use crate::protocol::agent::ToAgent;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::{Durability, StoreError};
use std::time::Duration;

#[test]
fn start_whose_commit_fails_is_not_sent() {
    let mut bench = Bench::new();
    bench.run();
    let task = bench.submit(&Task::default());
    bench.store.fail_commits(true).unwrap();
    assert!(bench.dispatcher.turn(&mut bench.store).is_err(), "its claim is not written");
    bench.dispatcher.flush();
    bench.pump("local");
    assert_eq!(bench.agent("local", |agent| agent.starts()), 0);
    bench.store.fail_commits(false).unwrap();
    bench.restart();
    assert_eq!((bench.state(task), bench.number(task, 0)), (State::Running, 1));
    bench.check();
}

#[test]
fn end_whose_commit_fails_is_neither_confirmed_nor_answered() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    let mut caller = bench.caller();
    bench.say(0, ToDispatcher::Watch { task, index: Some(Index(0)) });
    let attempt = bench.attempt(task);
    bench.end_unread("local", attempt, 0, b"");
    bench.receive();
    bench.store.fail_commits(true).unwrap();
    assert!(bench.dispatcher.turn(&mut bench.store).is_err(), "the end is not written");
    bench.dispatcher.flush();
    bench.pump("local");
    assert_eq!(caller.ends(), 0);
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [], "it may not forget what nobody else knows");
    bench.store.fail_commits(false).unwrap();
    bench.restart();
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed));
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt]);
    bench.check();
}

#[test]
fn turn_without_room_is_rolled_back_and_retried() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let attempt = bench.attempt(task);
    bench.store.bound_size(true).unwrap();
    let mut output = vec![0; 16 << 10];
    blake3::Hasher::new().finalize_xof().fill(&mut output);
    bench.end_unread("local", attempt, 0, &output);
    while bench.dispatcher.links.inbox.is_empty() {
        bench.receive();
    }
    let full = bench.dispatcher.turn(&mut bench.store).unwrap_err();
    assert!(full.to_string().contains("full"), "{full}");
    bench.dispatcher.roll_back(&bench.store.view()).unwrap();
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), []);
    bench.store.bound_size(false).unwrap();
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.phase(task), Phase::Ended(EndState::Completed), "its agent says it again");
    assert_eq!(bench.agent("local", |agent| agent.confirmed()), [attempt]);
    bench.check();
}

#[test]
fn follower_attached_by_a_rolled_back_turn_is_attached_again() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    let mut caller = bench.caller();
    bench
        .dispatcher
        .handle(&mut bench.store, 0, ToDispatcher::Follow { task, index: Index(0), out: 0, err: 0 })
        .unwrap();
    let second = bench.submit(&Task::default());
    bench.store.fail_commits(true).unwrap();
    assert!(bench.dispatcher.turn(&mut bench.store).is_err(), "the claim of the second is not written");
    bench.dispatcher.roll_back(&bench.store.view()).unwrap();
    bench.store.fail_commits(false).unwrap();
    bench.run();
    let attempt = bench.attempt(task);
    let follows = |said: &ToAgent| *said == ToAgent::Follow { attempt, out: 0, err: 0 };
    assert_eq!(bench.agent("local", |agent| agent.count(follows)), 1);
    assert_eq!(bench.state(second), State::Running);
    bench.end_all(0);
    assert_eq!(caller.ends(), 1);
    bench.check();
}

/// Runs some work in an open transaction of a bench's dispatcher.
#[cfg(debug_assertions)]
fn in_transaction(work: impl FnOnce(&mut crate::dispatch::dispatcher::Dispatcher)) {
    let mut bench = Bench::new();
    bench.run();
    let Bench { dispatcher, store, .. } = &mut bench;
    let done = sealed::write(store, Durability::Normal, |_| {
        work(dispatcher);
        Ok::<_, StoreError>(())
    });
    done.unwrap();
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "before the commit")]
fn message_to_an_agent_in_an_open_transaction_fails_its_test() {
    in_transaction(|dispatcher| dispatcher.send(Route::Here, &ToAgent::Clear));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "before the commit")]
fn message_to_a_caller_in_an_open_transaction_fails_its_test() {
    in_transaction(|dispatcher| {
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let caller = sealed::lifted(|| dispatcher.callers.add(theirs)).unwrap();
        caller.send(&FromDispatcher::CancelTaken);
    });
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "before the commit")]
fn effects_carried_out_in_an_open_transaction_fail_their_test() {
    in_transaction(|dispatcher| {
        let attempt = "019a0000-0000-7000-8000-00000000000a.0.1".parse().unwrap();
        dispatcher.carry_out(vec![crate::dispatch::effects::Effect::Confirm { route: Route::Here, attempt }]);
    });
}
