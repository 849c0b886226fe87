//! Removal by age, and a clock that is not trusted.

use super::{GcRequest, doubt, gc};
use crate::model::clock::Reading;
use crate::model::id::TaskUuid;
use crate::ops::{Grid, fixture};
use crate::store::tombstones::Refuses;
use crate::store::{Durability, StoreError};
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

/// A later reading: the wall clock moved by `wall`, the time since boot by `truly`.
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
fn outputs_are_removed_at_their_age() {
    let (_dir, mut grid) = ended();
    let now = Reading::now();
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&now, DAY, DAY)), (0, false));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&now, DAY * 31, DAY * 31)), (1, false));
}

#[test]
fn gc_removes_nothing_after_the_clock_was_set_until_it_was_steady_for_a_day() {
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
fn gc_has_removed_nothing_when_a_wrong_clock_comes_back() {
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
fn gc_with_trust_clock_removes_at_once() {
    let (_dir, mut grid) = ended();
    let ahead = later(&Reading::now(), DAY * 40, Duration::from_secs(300));
    assert_eq!(outputs(&mut grid, GcRequest { trust_clock: true, ..GcRequest::default() }, &ahead), (1, false));
    assert_eq!(outputs(&mut grid, GcRequest::default(), &later(&ahead, DAY / 24, DAY / 24)), (0, false));
}

#[test]
fn refusal_that_is_repeated_is_as_old_as_its_last_one() {
    let (_dir, mut grid) = fixture::grid();
    let (uuid, then) = (TaskUuid::new(), Reading::now().moment.wall);
    let left = grid.store.write::<_, StoreError>(Durability::Normal, |tx| {
        tx.add_tombstone(uuid, 2_999, Refuses::Everybody, then)?;
        tx.add_tombstone(uuid, 1_999, Refuses::Everybody, then.plus(DAY * 2))?;
        // By a clock that was set back.
        tx.add_tombstone(uuid, 1_999, Refuses::Everybody, then.minus(DAY))?;
        tx.drop_tombstones(then.plus(DAY))?;
        tx.tombstoned(uuid, None)
    });
    assert_eq!(left.unwrap(), Some(2_999));
}
