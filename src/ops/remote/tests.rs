//! The states of tasks in other homes that this home records.

use super::states::record_states;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, Index, TaskId};
use crate::model::task::{Counts, State};
use crate::model::time::Timestamp;
use crate::ops::Grid;
use crate::ops::cancel;
use crate::ops::fixture;
use crate::ops::moving::HAS_JUST_MOVED;
use crate::ops::selecting::Chosen;
use crate::protocol::distributor::Snapshot;
use crate::store::Durability;
use crate::store::StoreError;
use crate::store::away::{AskedAway, Away};
use crate::store::intake::TierRoute;
use crate::store::tasks::TaskReason;
use std::time::Duration;

/// A task of this home that another home holds.
fn held_elsewhere(grid: &mut Grid, home: HomeId) -> Away {
    let task = fixture::add_task(grid, fixture::draft());
    let place = |tx: &crate::store::Tx<'_>| {
        let front = Endpoint::Path("/front".into());
        let asked = AskedAway { sealed: b"sealed", list: None, round: 1_000, asked: &front, onward: true };
        tx.ask_away(task, asked, Timestamp::now())?;
        tx.placed_away(task, home, TaskId(7), TierRoute { tier1: "f", tier2: "m" })
    };
    grid.store.write::<_, StoreError>(Durability::Normal, place).unwrap();
    grid.store.view().away(task).unwrap().unwrap()
}

fn said(away: &Away, counts: Counts) -> Snapshot {
    Snapshot {
        uuid: away.uuid,
        id: TaskId(7),
        counts,
        server: None,
        reason: None,
        exit_code: None,
        shell_code: None,
        signal: None,
        started_at: None,
        ended_at: None,
    }
}

#[test]
fn cancel_that_meets_a_move_is_sent_after_the_task() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let chosen = |index| Chosen { task: away.task, index };
    let grace = Duration::from_secs(10);
    let changes = cancel::record(&mut grid, &[chosen(Some(Index(0))), chosen(None)], grace).unwrap();
    let said: Vec<_> = changes.iter().map(|change| (change.changed, change.note.as_deref().unwrap())).collect();
    assert_eq!(said, [(0, HAS_JUST_MOVED), (1, "cancel asked")]);
    let view = grid.store.view();
    assert_eq!(view.away(away.task).unwrap().unwrap().cancel, Some(grace));
    assert_eq!(view.task(away.task).unwrap().unwrap().state(), State::Pending, "its new home says when it ends");
}

#[test]
fn states_of_tasks_that_were_not_asked_about_are_ignored() {
    let (_dir, mut grid) = fixture::grid();
    let home = || HomeId(uuid::Uuid::now_v7());
    let (own, other) = (held_elsewhere(&mut grid, home()), held_elsewhere(&mut grid, home()));
    let lost = Counts { lost: 1, ..Counts::default() };
    record_states(&mut grid, &[&own], &[said(&own, lost), said(&other, lost)]).unwrap();
    let state = |away: &Away| grid.store.view().task(away.task).unwrap().unwrap().state();
    assert_eq!((state(&own), state(&other)), (State::Lost, State::Pending));
}

#[test]
fn state_with_another_number_of_members_is_reported_and_not_recorded() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let many = Counts { completed: 7, ..Counts::default() };
    record_states(&mut grid, &[&away], &[said(&away, many)]).unwrap();
    let row = grid.store.view().task(away.task).unwrap().unwrap();
    assert_eq!(row.state(), State::Pending);
    assert_eq!(row.reason.as_ref().map(TaskReason::words), Some("its home tells of 7 members, it has 1"));
}
