//! Links that can't be opened, that are cut, and that lead to unfit or older agents.

use crate::dispatch::links::route::Route;
use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::ambient::Ambient;
use crate::model::max_output::MaxOutput;
use crate::model::resources::Bytes;
use crate::model::server::Health;
use crate::model::task::{Phase, State};
use std::time::{Duration, Instant};

/// Advances the clock to the next try of the link to this host. Gives how long it took.
fn to_next_try(bench: &mut Bench) -> Duration {
    let now: Instant = bench.clock.now().mono;
    let slot = &bench.dispatcher.links.slots[&Route::Here];
    let pause = slot.due_at(Duration::from_secs(10), now).unwrap() - now;
    bench.clock.advance(pause);
    bench.run();
    pause
}

#[test]
fn silent_host_is_retried_with_backoff() {
    let mut bench = Bench::new();
    bench.make_unreachable("local");
    bench.run();
    let pauses: Vec<u128> = (0..6).map(|_| to_next_try(&mut bench).as_millis()).collect();
    assert_eq!(pauses, [500, 1_500, 4_500, 13_500, 30_000, 30_000]);
    bench.make_reachable("local");
    to_next_try(&mut bench);
    assert!(bench.dispatcher.links.slots[&Route::Here].boot().is_some());
    bench.check();
}

#[test]
fn link_lost_after_long_uptime_is_retried_at_once() {
    let mut bench = Bench::new();
    bench.run();
    bench.pass(Duration::from_secs(31));
    bench.cut("local");
    bench.run();
    assert_eq!(to_next_try(&mut bench), Duration::from_millis(50));
    bench.cut("local");
    bench.run();
    assert_eq!(to_next_try(&mut bench), Duration::from_millis(500), "one that comes and goes");
    bench.check();
}

#[test]
fn task_of_an_unfit_agent_goes_to_another_server() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.unfit = Some("another agent holds its spool".into()));
    let task = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.phase_or_waiting(task), Phase::Waiting);
    let local = bench.server_id("local");
    let health = bench.dispatcher.schedule.fleets.server(local).map(|server| server.health.clone());
    assert_ne!(health, Some(Health::Up));
    bench.add_server("far", facts("far"));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("far").len(), 1);
    bench.check();
}

#[test]
fn agent_that_speaks_version_1_gets_no_start_with_features() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.version = 1);
    let plain = bench.submit(&Task::default());
    let bounded = MaxOutput { bytes: Bytes(1 << 20), kill: true };
    let task = bench.submit(&Task { max_output: Some(bounded), ..Task::default() });
    bench.run();
    assert_eq!((bench.state(plain), bench.state(task)), (State::Running, State::Failed));
    assert_eq!(bench.agent("local", |agent| agent.starts()), 1);
    let why = bench.last(task).detail.unwrap();
    assert!(why.contains("--max-output") && why.contains("local"), "{why}");
    bench.check();
}

#[test]
fn agent_without_a_hello_is_given_up() {
    let mut bench = Bench::new();
    bench.add_server("far", facts("far"));
    bench.agent("local", |agent| agent.mute = true);
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.running("far").len(), 1, "who does not answer is not waited for");
    bench.agent("local", |agent| agent.mute = false);
    bench.pass(Duration::from_secs(60));
    assert!(bench.dispatcher.links.slots[&Route::Here].boot().is_some());
    assert_eq!(bench.state(task), State::Running);
    bench.check();
}
