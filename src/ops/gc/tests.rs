//! What goes by its age, and when the clock is not believed.

use super::{GcRequest, doubt, gc};
use crate::model::clock::Reading;
use crate::ops::{Grid, fixture};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A task that has just ended, with an output.
fn ended() -> (tempfile::TempDir, Grid) {
    let (dir, mut grid) = fixture::grid();
    let id = fixture::add_task(&mut grid, fixture::draft());
    let attempt = fixture::start(&mut grid, id);
    fixture::end(&mut grid, id, &attempt, 0, "hello\n", false);
    (dir, grid)
}

/// Both clocks later by so much.
fn later(from: &Reading, wall: Duration, truly: Duration) -> Reading {
    let mut then = from.clone();
    then.moment.wall = from.moment.wall.plus(wall);
    then.moment.since_boot = from.moment.since_boot + truly;
    then
}

fn outputs(grid: &mut Grid, asked: GcRequest, clock: &Reading) -> (u64, bool) {
    let done = gc(grid, asked, clock).unwrap();
    (done.outputs, done.clock_doubted_since.is_some())
}

#[test]
fn old_outputs_go_when_they_are_old() {
    let (_dir, mut grid) = ended();
    let now = Reading::now();
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&now, DAY, DAY)), (0, false));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&now, DAY * 31, DAY * 31)), (1, false));
}

#[test]
fn nothing_goes_by_a_clock_that_was_set_until_it_was_steady_for_a_day() {
    let (_dir, mut grid) = ended();
    let ahead = later(&Reading::now(), DAY * 40, Duration::from_secs(300));
    let planned = GcRequest { dry_run: true, ..GcRequest::default() };
    assert_eq!(outputs(&mut grid, planned, &ahead), (0, true));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &ahead), (0, true));
    let soon = later(&ahead, DAY / 2, DAY / 2);
    assert_eq!(outputs(&mut grid, GcRequest::default(), &soon), (0, true));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&ahead, DAY, DAY)), (1, false));
}

#[test]
fn clock_that_comes_back_has_removed_nothing() {
    let (_dir, mut grid) = ended();
    let now = Reading::now();
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&now, DAY * 40, DAY / 24)), (0, true));
    let back = later(&now, DAY / 12, DAY / 12);
    assert_eq!(outputs(&mut grid, GcRequest::default(), &back), (0, true));
    assert!(doubt(&grid).unwrap().unwrap().contains("--trust-clock"));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&back, DAY, DAY)), (0, false));
    assert_eq!(grid.store.view().tally().unwrap().into_iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn person_may_say_that_the_clock_is_right() {
    let (_dir, mut grid) = ended();
    let ahead = later(&Reading::now(), DAY * 40, Duration::from_secs(300));
    assert_eq!(outputs(&mut grid, GcRequest { trust_clock: true, ..GcRequest::default() }, &ahead), (1, false));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&ahead, DAY / 24, DAY / 24)), (0, false));
}
