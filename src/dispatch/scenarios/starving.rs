//! Starvation: a task that waits too long for a whole server gets one.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::distributor::{Endpoint, Tier};
use crate::model::id::TaskId;
use crate::model::task::State;
use crate::model::time::Timestamp;
use crate::store::away::AskedAway;
use std::time::Duration;

/// A host with small running tasks, a task that has waited this long for the whole host, and more small tasks behind it.
fn crowded(waited: Duration) -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::new();
    bench.set("starve_after", "60s");
    bench.submit(&Task::array(4));
    let large = bench.submit(&Task::default().cpus(4).of_class("large"));
    bench.run();
    bench.pass(waited);
    let small = bench.submit(&Task::array(40));
    bench.run();
    assert_eq!((bench.running("local").len(), bench.state(large)), (4, State::Pending));
    (bench, large, small)
}

const LONG: Duration = Duration::from_secs(100);
/// Starvation is checked within this time.
const SOON: Duration = Duration::from_secs(20);

/// Ends one of the running commands.
fn end_one(bench: &mut Bench) {
    bench.end_first("local");
}

#[test]
fn small_tasks_pass_a_young_large_one() {
    let (mut bench, large, _) = crowded(Duration::ZERO);
    for _ in 0..4 {
        bench.pass(Duration::from_secs(5));
        end_one(&mut bench);
        assert_eq!(bench.running("local").len(), 4);
    }
    assert_eq!(bench.state(large), State::Pending);
    assert_eq!(bench.server("local").kept_for, None);
    bench.check();
}

#[test]
fn server_is_reserved_for_a_starving_task() {
    let (mut bench, large, small) = crowded(LONG);
    assert_eq!(bench.server("local").kept_for, Some(large));
    for left in (0..4).rev() {
        assert_eq!(bench.state(large), State::Pending);
        end_one(&mut bench);
        assert_eq!(bench.running("local").len(), left.max(1), "nothing else begins there");
    }
    assert_eq!(bench.state(large), State::Running);
    bench.pass(SOON);
    assert_eq!(bench.server("local").kept_for, None);
    bench.end("local", 0);
    assert_eq!(bench.running("local").len(), 4);
    assert_eq!(bench.state(small), State::Running);
    bench.check();
}

#[test]
fn reservation_ends_when_its_task_is_cancelled() {
    let (mut bench, large, _) = crowded(LONG);
    bench.cancel(large);
    bench.pass(SOON);
    assert_eq!(bench.server("local").kept_for, None);
    end_one(&mut bench);
    assert_eq!(bench.running("local").len(), 4);
    bench.check();
}

#[test]
fn reservation_ends_when_its_task_is_held() {
    let (mut bench, large, _) = crowded(LONG);
    bench.hold(large);
    bench.pass(SOON);
    assert_eq!(bench.server("local").kept_for, None);
    bench.check();
}

#[test]
fn reservation_outlives_its_dispatcher() {
    let (mut bench, large, _) = crowded(LONG);
    bench.restart();
    end_one(&mut bench);
    assert_eq!(bench.running("local").len(), 3);
    assert_eq!(bench.server("local").kept_for, Some(large));
    bench.check();
}

#[test]
fn reservation_holds_for_all_servers_on_the_host() {
    let mut bench = Bench::new();
    bench.set("starve_after", "60s");
    // The same machine by another way.
    bench.add_server("twin", facts("local"));
    bench.run();
    bench.submit(&Task::array(4).on("local"));
    let large = bench.submit(&Task::default().cpus(4).of_class("large").on("local"));
    bench.run();
    bench.pass(LONG);
    assert_eq!(bench.server("local").kept_for, Some(large));
    let small = bench.submit(&Task::array(8).of_class("small").on("twin"));
    bench.run();
    for left in (0..4).rev() {
        assert_eq!(bench.state(large), State::Pending);
        end_one(&mut bench);
        assert_eq!(bench.running("twin").len(), 0, "{left} are left");
    }
    assert_eq!(bench.state(large), State::Running);
    bench.end("local", 0);
    bench.pass(SOON);
    assert_eq!((bench.server("local").kept_for, bench.state(small)), (None, State::Running));
    bench.check();
}

#[test]
fn reservation_for_a_task_of_a_group_is_of_the_member_with_least_to_run() {
    let mut bench = Bench::new();
    bench.set("starve_after", "60s");
    bench.add_server("far", facts("far"));
    bench.add_server("near", facts("near"));
    bench.add_group("farm", &["far", "near"]);
    bench.submit(&Task::array(4).on("far"));
    bench.submit(&Task::array(2).of_class("few").on("near"));
    bench.run();
    let large = bench.submit(&Task::default().cpus(4).of_class("large").on("farm"));
    bench.run();
    bench.pass(LONG);
    let kept = |bench: &Bench| ["far", "near", "farm"].map(|name| bench.server(name).kept_for);
    assert_eq!(kept(&bench), [None, Some(large), None]);
    let small = bench.submit(&Task::array(8).of_class("small").on("near"));
    bench.run();
    bench.end_first("near");
    bench.end_first("near");
    assert_eq!((bench.state(large), bench.state(small)), (State::Running, State::Pending));
    assert_eq!(bench.running("near").len(), 1);
    bench.check();
}

#[test]
fn no_server_is_reserved_for_a_task_that_fits_nowhere() {
    let mut bench = Bench::new();
    bench.set("starve_after", "60s");
    bench.submit(&Task::default().cpus(64));
    bench.run();
    bench.pass(LONG);
    assert_eq!(bench.server("local").kept_for, None);
    bench.check();
}

#[test]
fn wall_clock_set_forward_starves_no_task() {
    let (mut bench, large, _) = crowded(Duration::from_secs(20));
    bench.clock.set_wall(3_600_000);
    bench.pass(SOON);
    assert_eq!(bench.server("local").kept_for, None);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.server("local").kept_for, Some(large));
    bench.check();
}

/// A full host, and two equal tasks for the whole of it; the first may be held.
fn two_equal(hold: bool) -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::new();
    bench.set("starve_after", "60s");
    bench.submit(&Task::array(4));
    let large = Task::default().cpus(4).of_class("large");
    let first = bench.submit(&Task { hold, ..large.clone() });
    let second = bench.submit(&large);
    bench.run();
    (bench, first, second)
}

#[test]
fn server_is_kept_for_a_class_whose_first_task_was_cancelled() {
    let (mut bench, first, second) = two_equal(false);
    bench.cancel(first);
    bench.run();
    bench.pass(LONG);
    assert_eq!(bench.server("local").kept_for, Some(second));
    (0..4).for_each(|_| end_one(&mut bench));
    assert_eq!(bench.state(second), State::Running);
    bench.check();
}

#[test]
fn what_is_kept_for_a_task_goes_to_an_equal_one_before_it() {
    let (mut bench, first, second) = two_equal(true);
    bench.pass(LONG);
    assert_eq!(bench.server("local").kept_for, Some(second));
    bench.release(first);
    bench.run();
    (0..4).for_each(|_| end_one(&mut bench));
    assert_eq!((bench.state(first), bench.state(second)), (State::Running, State::Pending));
    bench.end("local", 0);
    assert_eq!(bench.state(second), State::Running);
    bench.check();
}

#[test]
fn no_server_is_kept_for_a_task_that_left_for_another_home() {
    let (mut bench, large, small) = crowded(LONG);
    assert_eq!(bench.server("local").kept_for, Some(large));
    bench.write(|tx| {
        let front = tx.distributors(Tier::First)?.remove(0);
        let class = tx.class(tx.task(large)?.unwrap().class)?.unwrap();
        let class = tx.class_of(front.id, class.user, class.client, &class.demand)?;
        tx.give_up_own(large, class, front.name.as_str())?;
        let asked = AskedAway { sealed: b"sealed", list: None, round: 1, asked: &Endpoint::Local, onward: false };
        tx.ask_away(large, asked, Timestamp(0))
    });
    bench.pass(SOON);
    assert_eq!(bench.server("local").kept_for, None);
    end_one(&mut bench);
    assert_eq!((bench.running("local").len(), bench.state(small)), (4, State::Running));
}
