//! A home that is being uninstalled, and what fails or happens meanwhile.

use super::*;
use crate::ops::fixture;
use crate::store::{Store, StoreError};

fn caller() -> CronEnvironment {
    let none = "/nonexistent";
    CronEnvironment { program: none.into(), path: none.into(), home: none.into(), account: "me".to_owned() }
}

fn uninstall(grid: Grid) -> Uninstall {
    let home = grid.store.home().clone();
    Uninstall { home, grid: Some(grid), pointer: None, caller: caller(), data_home: None }
}

#[test]
fn task_that_came_at_the_last_moment_keeps_the_home() {
    let (_dir, grid) = fixture::grid();
    let home = grid.store.home().clone();
    let mut uninstall = uninstall(grid);
    // Everything before has seen no task.
    assert_eq!(uninstall.plan().unwrap().unended, 0);
    fixture::add_task(uninstall.grid.as_mut().unwrap(), fixture::draft());
    let refused = uninstall.remove_home().unwrap_err().to_string();
    assert!(refused.starts_with("1 task has not ended, so the home stays"), "{refused}");
    assert!(Store::open(&home).is_ok());
}

#[test]
fn uninstall_that_fails_on_the_way_leaves_servers_that_take_tasks() {
    let (_dir, grid) = fixture::grid();
    let home = grid.store.home().clone();
    // Neither a dispatcher nor this command can take that lock.
    std::fs::create_dir(home.run_dir().join("dispatcher.lock")).unwrap();
    let failed = uninstall(grid).carry_out(Unreachable::Refuse).unwrap_err().to_string();
    assert!(failed.contains("the dispatcher can't be stopped"), "{failed}");
    let store = Store::open(&home).unwrap();
    let drained: Vec<_> = store.view().servers().unwrap().into_iter().map(|server| server.drained).collect();
    assert_eq!(drained, [None]);
}

#[test]
fn server_that_a_person_drained_stays_drained_after_an_uninstall_that_failed() {
    let (_dir, mut grid) = fixture::grid();
    crate::ops::servers::drain(&mut grid, &["local".into()], Some("fan")).unwrap();
    let drained = |grid: &Grid| grid.store.view().servers().unwrap()[0].drained.clone();
    let running = drain(&mut grid).unwrap();
    // A removal that fails meanwhile ends no drain but its own.
    assert_eq!(drained(&grid).as_deref(), Some(BEING_UNINSTALLED));
    running.end(&mut grid.store).unwrap();
    assert_eq!(drained(&grid).as_deref(), Some("fan"));
}

#[test]
fn uninstall_beside_a_removal_of_a_server_is_refused() {
    let (_dir, mut grid) = fixture::grid();
    let server = grid.store.view().servers().unwrap().remove(0);
    let dir = grid.store.home().run_dir().join("draining");
    std::fs::create_dir_all(&dir).unwrap();
    let text = serde_json::json!({ "reason": "being removed", "servers": [[server.id, null]] });
    std::fs::write(dir.join("live"), text.to_string()).unwrap();
    let live = std::fs::File::open(dir.join("live")).unwrap();
    live.lock().unwrap();
    let drained =
        grid.store.write::<_, StoreError>(Durability::Normal, |tx| tx.set_drained(server.id, Some("being removed")));
    drained.unwrap();
    let refused = drain(&mut grid).unwrap_err().to_string();
    assert!(refused.contains("drained by another command"), "{refused}");
    assert_eq!(grid.store.view().servers().unwrap()[0].drained.as_deref(), Some("being removed"));
}

#[test]
fn servers_take_tasks_again_after_an_uninstall_that_was_killed() {
    let (_dir, mut grid) = fixture::grid();
    let drained = |grid: &Grid| grid.store.view().servers().unwrap()[0].drained.clone();
    let running = drain(&mut grid).unwrap();
    crate::ops::dispatcher::wake(&mut grid).unwrap();
    assert_eq!(drained(&grid).as_deref(), Some("grid is being uninstalled"), "its process still runs");
    // As if the process was killed.
    drop(running);
    crate::ops::dispatcher::wake(&mut grid).unwrap();
    assert_eq!(drained(&grid), None);
}

#[test]
fn process_with_a_removed_home_open_acknowledges_nothing() {
    let (_dir, grid) = fixture::grid();
    let home = grid.store.home().clone();
    let mut other = Store::open(&home).unwrap();
    let nothing = |store: &mut Store| store.write(Durability::Normal, |_| Ok::<_, StoreError>(()));
    nothing(&mut other).unwrap();
    uninstall(grid).remove_home().unwrap();
    assert!(matches!(nothing(&mut other), Err(StoreError::Gone { .. })));
    assert!(!home.dir().exists());
}
