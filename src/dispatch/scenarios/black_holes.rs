//! Scenarios of servers on which attempts fail at once, while the same succeed elsewhere.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::ambient::Ambient;
use crate::model::id::TaskId;
use crate::model::server::BEING_REMOVED;
use crate::model::task::State;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FromAgent, Refusal};
use crate::store::failing::{Failing, SuspectClasses};
use std::time::Duration;

/// A bench with the server `bad` beside `local`; both have four processors.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    bench
}

/// Ends commands for so many seconds: those on `bad` fail after a second, those on `local` end with this code after `takes`.
fn live(bench: &mut Bench, seconds: u64, takes: Duration, code: u8) {
    for _ in 0..seconds {
        bench.clock.advance(Duration::from_secs(1));
        let now = bench.clock.now().wall;
        for (server, after, code) in [("bad", Duration::from_secs(1), 1), ("local", takes, code)] {
            let old = |began: Timestamp| began.age_at(now) >= after;
            bench.agent(server, |agent| {
                for attempt in agent.running() {
                    if agent.began(attempt).is_some_and(old) {
                        agent.end(attempt, code, b"", now);
                    }
                }
            });
        }
        bench.run();
    }
}

#[test]
fn array_with_retries_completes_beside_a_server_that_fails_everything() {
    for takes in [1, 20, 200] {
        let mut bench = bench();
        let task = bench.submit(&Task::array(40).retries(2));
        bench.run();
        live(&mut bench, 40 * takes, Duration::from_secs(takes), 0);
        assert_eq!(bench.state(task), State::Completed, "commands of {takes} s");
        bench.check();
    }
}

/// How many attempts ran on a server.
fn ran(bench: &Bench, server: &str) -> usize {
    bench.agent(server, |agent| agent.ran.len())
}

/// The failures in a row that the database has of the server `bad`.
fn failing(bench: &Bench) -> Option<u32> {
    bench.store.view().failing_servers().unwrap().first().map(|(_, failing)| failing.failures)
}

/// The number of members of a task that failed.
fn failed(bench: &Bench, task: TaskId) -> u32 {
    bench.store.view().task(task).unwrap().unwrap().counts.failed
}

#[test]
fn array_without_retries_loses_few_members_to_a_server_that_fails_everything() {
    let mut bench = bench();
    let task = bench.submit(&Task::array(400));
    bench.run();
    live(&mut bench, 400, Duration::from_secs(2), 0);
    assert!(bench.state(task).ended());
    assert!((5..30).contains(&failed(&bench, task)), "{} failed", failed(&bench, task));
    assert!(failing(&bench).is_some());
    bench.check();
}

#[test]
fn suspect_is_cleared_by_the_first_attempt_that_lives_there() {
    let mut bench = bench();
    let task = bench.submit(&Task::array(400));
    bench.run();
    live(&mut bench, 20, Duration::from_secs(2), 0);
    assert!(failing(&bench).is_some());
    // It was mended: its next start lives, and then it gets its share again.
    for _ in 0..100 {
        bench.pass(Duration::from_secs(1));
        bench.end_all(0);
    }
    assert_eq!(failing(&bench), None);
    assert!(ran(&bench, "bad") > 100, "{} ran there", ran(&bench, "bad"));
    assert!(bench.state(task).ended());
    bench.check();
}

#[test]
fn fault_of_the_task_itself_slows_no_server_down() {
    let mut bench = bench();
    let task = bench.submit(&Task::array(400));
    bench.run();
    live(&mut bench, 51, Duration::from_secs(1), 1);
    assert_eq!((bench.state(task), failing(&bench)), (State::Failed, None), "eight at once, a second each");
    bench.check();
}

#[test]
fn only_server_of_a_task_makes_no_retry_wait_and_is_no_suspect() {
    let mut bench = bench();
    let task = bench.submit(&Task::array(8).retries(2).on("bad"));
    bench.run();
    live(&mut bench, 7, Duration::from_secs(1), 0);
    assert_eq!(
        (bench.state(task), failing(&bench)),
        (State::Failed, None),
        "two rounds of three attempts, a second each"
    );
    bench.check();
}

#[test]
fn retry_returns_to_the_server_of_its_failure_after_its_time() {
    let mut bench = bench();
    let busy = bench.submit(&Task::array(4).cpus(1).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(290));
    assert_eq!((bench.running("bad"), bench.state(task)), (Vec::new(), State::Pending), "local could run it");
    let reason = bench.reason(task).unwrap();
    assert!(reason.starts_with("local: ") && reason.ends_with("; not yet again on bad, where it failed"), "{reason}");
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.running("bad"), [bench.attempt(task)]);
    assert_eq!(bench.state(busy), State::Running);
    bench.check();
}

#[test]
fn retry_goes_back_at_once_when_the_other_server_is_being_removed() {
    let mut bench = bench();
    bench.submit(&Task::array(4).cpus(1).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.running("bad"), []);
    bench.drain("local", BEING_REMOVED);
    assert_eq!(bench.running("bad"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn retry_waits_a_while_for_a_drained_server_that_may_be_resumed() {
    let mut bench = bench();
    bench.set_drained("local", true);
    let task = bench.submit(&Task::default().retries(2));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(290));
    assert_eq!((bench.running("bad"), bench.state(task)), (Vec::new(), State::Pending), "local may be resumed");
    bench.pass(Duration::from_secs(20));
    bench.end("bad", 1);
    bench.set_drained("local", false);
    assert_eq!(bench.running("local"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn retry_returns_to_a_suspect_in_time_where_the_other_server_stays_drained() {
    let mut bench = bench();
    let (id, now) = (bench.server("bad").id, bench.clock.now().wall);
    bench.write(|tx| tx.set_failing(id, Some(&Failing { failures: 7, at: now, about: SuspectClasses::Any })));
    bench.restart();
    bench.set_drained("local", true);
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(290));
    assert_eq!(bench.running("bad"), []);
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.running("bad"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn retry_waits_for_another_server_over_a_restart_of_the_dispatcher() {
    let mut bench = bench();
    bench.submit(&Task::array(4).cpus(1).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.restart();
    bench.pass(Duration::from_secs(200));
    assert_eq!(bench.running("bad"), []);
    bench.pass(Duration::from_secs(110));
    assert_eq!(bench.running("bad"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn task_behind_a_waiting_retry_of_its_class_passes_it() {
    let mut bench = bench();
    bench.submit(&Task::array(4).cpus(1).on("local"));
    bench.run();
    let first = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    let second = bench.submit(&Task::default());
    bench.run();
    assert_eq!(bench.running("bad"), [bench.attempt(second)]);
    assert_eq!(bench.state(first), State::Pending);
    bench.check();
}

#[test]
fn retry_whose_start_is_refused_still_waits_for_another_server() {
    let mut bench = bench();
    bench.submit(&Task::default().cpus(4).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.agent("local", |agent| agent.refuses = Some(Refusal::Spool { error: "no space left".into() }));
    bench.end("local", 0);
    bench.pass(Duration::from_secs(5));
    assert_eq!((bench.running("bad"), bench.state(task)), (Vec::new(), State::Pending));
    bench.agent("local", |agent| agent.refuses = None);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.running("local"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn no_server_is_kept_for_a_retry_that_does_not_go_there() {
    let mut bench = bench();
    bench.set("retry_elsewhere", "1h");
    bench.submit(&Task::default().cpus(4).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().cpus(4).retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(15 * 60));
    let kept = |name: &str| bench.store.view().server(name).unwrap().unwrap().kept_for;
    assert_eq!((kept("bad"), kept("local")), (None, Some(task)));
    bench.check();
}

/// Ends the command of a member of a task on a server with an error.
fn fail(bench: &mut Bench, server: &str, task: TaskId) {
    let uuid = bench.store.view().task(task).unwrap().unwrap().uuid;
    let running = bench.running(server).into_iter().find(|attempt| attempt.task == uuid).unwrap();
    let now = bench.clock.now().wall;
    bench.agent(server, |agent| agent.end(running, 1, b"", now));
    bench.run();
}

#[test]
fn two_failed_members_swap_their_servers() {
    let mut bench = bench();
    let task = bench.submit(&Task::array(2).retries(1));
    bench.run();
    assert_eq!((bench.running("bad").len(), bench.running("local").len()), (1, 1));
    for server in ["bad", "local"] {
        bench.submit(&Task::default().cpus(3).on(server));
    }
    // Long commands: nothing is queued behind them.
    bench.pass(Duration::from_secs(20));
    fail(&mut bench, "bad", task);
    assert_eq!(bench.store.view().task(task).unwrap().unwrap().counts.waiting, 1, "local is full");
    // One member begins and one waits in the same transaction: the count of those that wait stays.
    fail(&mut bench, "local", task);
    assert_eq!((bench.running("bad").len(), bench.running("local").len()), (2, 2));
    assert_eq!((bench.number(task, 0), bench.number(task, 1)), (2, 2));
    bench.check();
}

#[test]
fn late_word_of_a_lost_attempt_lets_its_retry_go_nowhere() {
    let mut bench = bench();
    bench.submit(&Task::default().cpus(4).on("local"));
    bench.run();
    let lost_after = Some(Duration::from_secs(30));
    let task = bench.submit(&Task { retry_lost: true, lost_after, ..Task::default() });
    bench.run();
    let attempt = bench.attempt(task);
    bench.make_unreachable("bad");
    bench.pass(Duration::from_secs(60));
    bench.make_reachable("bad");
    bench.pass(Duration::from_secs(60));
    let began = Event::Began { attempt, at: bench.clock.now().wall, process: None, without: Vec::new() };
    bench.agent("bad", |agent| agent.say(&FromAgent::Events(vec![began])));
    for drained in [true, false] {
        bench.set_drained("bad", drained);
        bench.run();
    }
    assert_eq!((bench.running("bad"), bench.state(task)), (Vec::new(), State::Pending), "local could run it");
    bench.check();
}
