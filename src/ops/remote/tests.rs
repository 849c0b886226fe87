//! The states of tasks in other homes that this home records.

use super::owner::{self, OwnerHome, SendError};
use super::states::{record_states, record_unknown};
use crate::distributor::owner::{confirm, confirm_rest};
use crate::distributor::peers::{PeerError, Peers};
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, Index, TaskId};
use crate::model::task::{Counts, State};
use crate::model::time::Timestamp;
use crate::ops::Grid;
use crate::ops::cancel;
use crate::ops::fixture;
use crate::ops::hold;
use crate::ops::moving::HAS_JUST_MOVED;
use crate::ops::release;
use crate::ops::selecting::Chosen;
use crate::protocol::distributor::{Answer, Question, Snapshot};
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
fn cancel_that_is_recorded_says_why_it_was_not_carried_out() {
    let (_dir, mut grid) = fixture::grid();
    let home = HomeId(uuid::Uuid::now_v7());
    let grace = Duration::from_secs(10);
    let silent = |task| SendError::Silent(task, "no way".to_owned());
    let unconfirmed = |task| SendError::Unconfirmed(task);
    let asked = |error: &dyn Fn(TaskId) -> SendError, grid: &mut Grid| {
        let task = held_elsewhere(grid, home).task;
        let change = cancel::record_for_later(grid, Chosen { task, index: None }, grace, error(task)).unwrap();
        (change.changed, change.note.unwrap(), grid.store.view().away(task).unwrap().unwrap().cancel)
    };
    for (error, words) in [
        (&silent as &dyn Fn(TaskId) -> SendError, "its home does not answer now"),
        (&unconfirmed, "no home has confirmed yet"),
        (&SendError::Left, "it has just left that home"),
    ] {
        let (changed, note, cancel) = asked(error, &mut grid);
        assert!(note.starts_with(&format!("cancel asked; {words}")) && note.contains("--forget"), "{note}");
        assert_eq!((changed, cancel), (1, Some(grace)), "{note}");
    }
    let (changed, note, cancel) = asked(&|task| SendError::Unknown { task, has_ended: false }, &mut grid);
    assert!(note.starts_with("its home does not know it any more") && note.contains("--forget"), "{note}");
    assert_eq!((changed, cancel), (0, None), "a home without the task can't cancel it");
}

#[test]
fn cancel_of_a_task_that_is_being_moved_says_that_it_is_sent_after_it() {
    let (_dir, mut grid) = fixture::grid();
    let home = HomeId(uuid::Uuid::now_v7());
    let away = held_elsewhere(&mut grid, home);
    let begun = grid.store.write::<_, StoreError>(Durability::Normal, |tx| tx.begin_move(&away, home));
    assert!(begun.unwrap());
    let moving = grid.store.view().away(away.task).unwrap().unwrap();
    let (chosen, grace) = (Chosen { task: away.task, index: None }, Duration::from_secs(10));
    let error = owner::cancel(&mut grid, &moving, chosen, grace).unwrap_err();
    let change = cancel::record_for_later(&mut grid, chosen, grace, error).unwrap();
    let note = change.note.unwrap();
    assert!(note.starts_with("cancel asked; it is being moved to another home: the cancel is sent"), "{note}");
    assert_eq!(grid.store.view().away(away.task).unwrap().unwrap().cancel, Some(grace));
}

#[test]
fn hold_and_release_that_meet_a_move_change_nothing_and_say_so() {
    let (_dir, mut grid) = fixture::grid();
    let home = HomeId(uuid::Uuid::now_v7());
    let away = held_elsewhere(&mut grid, home);
    let chosen = [Chosen { task: away.task, index: None }];
    let waits = |grid: &Grid| grid.store.view().task(away.task).unwrap().unwrap().counts.waiting;
    // It was a task of this home when the command looked.
    let held = hold::record(&mut grid, &chosen).unwrap();
    let released = release::record(&mut grid, &chosen).unwrap();
    for change in [&held[0], &released[0]] {
        assert_eq!((change.changed, change.note.as_deref()), (0, Some(HAS_JUST_MOVED)));
    }
    // It is being moved when the command looks.
    let begun = grid.store.write::<_, StoreError>(Durability::Normal, |tx| tx.begin_move(&away, home));
    assert!(begun.unwrap());
    for said in [hold::hold(&mut grid, &chosen), release::release(&mut grid, &chosen)] {
        let said = said.unwrap_err().to_string();
        assert!(said.contains("it is being moved to another home; try again"), "{said}");
    }
    assert_eq!(waits(&grid), 1);
}

#[test]
fn cancel_of_a_task_that_has_ended_is_not_sent() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let asked = grid.store.write::<_, StoreError>(Durability::Normal, |tx| tx.cancel_away(away.task, Duration::ZERO));
    asked.unwrap();
    assert_eq!(grid.store.view().away_open(9).unwrap().len(), 1);
    let ended = Counts { completed: 1, ..Counts::default() };
    record_states(&mut grid, &[&away], &[said(&away, ended)]).unwrap();
    assert!(grid.store.view().away_open(9).unwrap().is_empty(), "it would keep this home from being removed");
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

/// Another home, whose answers are given.
struct Answering(Vec<Result<Answer, PeerError>>);

impl Peers for Answering {
    fn ask(&mut self, _: &Endpoint, _: &Question, _: &mut dyn FnMut(Answer) -> bool) -> Result<Answer, PeerError> {
        self.0.remove(0)
    }
}

#[test]
fn end_is_confirmed_until_its_owner_has_heard_it() {
    let (_dir, mut grid) = fixture::grid();
    let home = HomeId(uuid::Uuid::now_v7());
    let away = held_elsewhere(&mut grid, home);
    let ended = said(&away, Counts { completed: 1, ..Counts::default() });
    let ends = record_states(&mut grid, &[&away], std::slice::from_ref(&ended)).unwrap();
    assert_eq!(ends.len(), 1);
    let asked = OwnerHome { home, asked: &away.asked };
    let left = |grid: &Grid| grid.store.view().away_unconfirmed(TaskId(0), 9).unwrap().len();
    for lost in [Err(PeerError::Cut("cut".to_owned())), Ok(Answer::Denied("busy".to_owned()))] {
        confirm(&mut grid.store, &mut Answering(vec![lost]), asked, ends.clone()).unwrap();
        assert_eq!(left(&grid), 1);
    }
    // Each later question for its state confirms it again; so does the dispatcher.
    assert_eq!(record_states(&mut grid, &[&away], std::slice::from_ref(&ended)).unwrap(), ends);
    confirm_rest(&mut grid.store, &mut Answering(vec![Err(PeerError::Unreached("down".to_owned()))]), 9).unwrap();
    assert_eq!(left(&grid), 1);
    confirm_rest(&mut grid.store, &mut Answering(vec![Ok(Answer::Done)]), 9).unwrap();
    assert_eq!(left(&grid), 0);
    assert_eq!(record_states(&mut grid, &[&away], std::slice::from_ref(&ended)).unwrap(), []);
}

#[test]
fn ends_of_an_owner_that_is_lost_hold_up_no_other() {
    let (_dir, mut grid) = fixture::grid();
    let [lost, alive] = [(); 2].map(|()| HomeId(uuid::Uuid::now_v7()));
    for home in [lost, lost, lost, alive] {
        let away = held_elsewhere(&mut grid, home);
        let ended = said(&away, Counts { completed: 1, ..Counts::default() });
        record_states(&mut grid, &[&away], &[ended]).unwrap();
    }
    // The lost one is asked once, over the one way to it.
    let said = vec![Err(PeerError::Unreached("down".to_owned())), Ok(Answer::Done)];
    confirm_rest(&mut grid.store, &mut Answering(said), 2).unwrap();
    let left = grid.store.view().away_unconfirmed(TaskId(0), 9).unwrap();
    assert_eq!(left.iter().map(|end| end.home).collect::<Vec<_>>(), [lost; 3]);
}

#[test]
fn end_counts_as_heard_by_an_owner_too_old_to_be_told() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let ended = said(&away, Counts { completed: 1, ..Counts::default() });
    record_states(&mut grid, &[&away], &[ended]).unwrap();
    confirm_rest(&mut grid.store, &mut Answering(vec![Ok(Answer::No { why: "too old".to_owned() })]), 9).unwrap();
    assert!(grid.store.view().away_unconfirmed(TaskId(0), 9).unwrap().is_empty());
}

#[test]
fn task_that_was_started_again_has_no_end_to_confirm() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let states = |counts| [said(&away, counts)];
    record_states(&mut grid, &[&away], &states(Counts { failed: 1, ..Counts::default() })).unwrap();
    record_states(&mut grid, &[&away], &states(Counts { running: 1, ..Counts::default() })).unwrap();
    assert!(grid.store.view().away_unconfirmed(TaskId(0), 9).unwrap().is_empty());
}

#[test]
fn task_that_its_home_does_not_know_has_the_remedy_of_its_state() {
    let (_dir, mut grid) = fixture::grid();
    let away = held_elsewhere(&mut grid, HomeId(uuid::Uuid::now_v7()));
    let told = |grid: &mut Grid| {
        record_unknown(grid, &[&away]).unwrap();
        let reason = grid.store.view().task(away.task).unwrap().unwrap().reason.unwrap();
        reason.words().to_owned()
    };
    assert!(told(&mut grid).ends_with(&format!("`grid cancel --forget {}` gives it up", away.task)));
    record_states(&mut grid, &[&away], &[said(&away, Counts { failed: 1, ..Counts::default() })]).unwrap();
    assert!(told(&mut grid).ends_with(&format!("`grid remove {}` drops its row here", away.task)));
}
