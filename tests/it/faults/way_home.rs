//! What is taken of servers while ends come home: long outputs and files on their way, with agent and dispatcher shot at any moment.

use super::deaths::pids;
use crate::support::{Grid, process};
use grid::store::{Home, Store, StoreError};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// So many are shot, unless GRID_TEST_KILLS says otherwise.
const KILLS: usize = 16;

/// What is taken is what lives, in one state of the database; and whoever reads it is told.
#[track_caller]
fn check(grid: &Grid, store: &mut Store) {
    let wrong = store.read::<_, StoreError>(|view| view.miscounted()).unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    grid.grid(["status"]).expect(0);
    grid.grid(["server", "list"]).expect(0);
}

/// Is one of them there to be shot?
fn shoot(grid: &Grid, word: &str) -> bool {
    let all = pids(grid.home(), word);
    for pid in all.iter().copied().filter_map(Pid::from_raw) {
        // It may have left by itself.
        if kill_process(pid, Signal::KILL).is_ok() {
            process::wait_pid_gone(pid, process::HANG);
        }
    }
    !all.is_empty()
}

#[test]
fn what_is_taken_is_what_lives_wherever_the_way_home_is_cut() {
    let grid = Grid::new();
    std::fs::write(grid.file("in"), "in").unwrap();
    grid.grid(["run", "--", "true"]).ok();
    let mut store = Store::open(&Home::at(grid.home())).unwrap();
    let kills = std::env::var("GRID_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let random = RandomState::new();
    let mut shot = 0;
    while shot < kills {
        let line = "yes long | head -c 4000000; yes made | head -c 4000000 > made";
        let id = grid.submit(["--array", "1-8%6", "--send", "in", "--fetch", "made", "--", "sh", "-c", line]);
        while !matches!(grid.state(&id).as_str(), "COMPLETED" | "FAILED" | "LOST") {
            // Who waits has the dispatcher call its agent again at once.
            let mut waiter = grid.beside(["wait", &id]);
            std::thread::sleep(Duration::from_micros(random.hash_one(shot) % 60_000));
            if shot < kills {
                shot += usize::from(shoot(&grid, if shot % 4 == 3 { "dispatcher" } else { "agent" }));
            }
            check(&grid, &mut store);
            let _ = waiter.kill();
            let _ = waiter.wait();
        }
        let ended =
            format!("SELECT count(*) FROM member WHERE task_id = {id} AND state = 'COMPLETED' AND out_len = 4000000");
        assert_eq!(grid.number(&ended), 8);
        check(&grid, &mut store);
    }
    assert_eq!(grid.number("SELECT sum(abs(taken_slots) + abs(taken_cpus) + abs(taken_mem)) FROM server"), 0);
}

#[test]
fn place_is_given_back_once_though_the_agent_dies_before_the_files_are_home() {
    let mut grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let once = grid.file("shot");
    grid.set_env("GRID_FAILPOINT", "agent-packed");
    grid.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    std::fs::write(grid.file("in"), "in").unwrap();
    let id = grid.submit(["--send", "in", "--fetch", "made", "--", "sh", "-c", "echo made > made"]);
    grid.grid(["wait", &id]).expect(0);
    assert!(once.exists(), "nobody was shot");
    check(&grid, &mut Store::open(&Home::at(grid.home())).unwrap());
    assert_eq!(grid.number("SELECT taken_slots FROM server WHERE name = 'local'"), 0);
}

#[test]
fn number_out_of_range_fails_no_reading_verb_is_named_by_doctor_and_mended_by_a_dispatcher() {
    let grid = Grid::new();
    let id = grid.submit(["--", "true"]);
    grid.grid(["wait", &id]).expect(0);
    grid.grid(["dispatcher", "stop"]).ok();
    let database = Connection::open(grid.home().join("grid.db")).unwrap();
    let spoilt = "UPDATE server SET taken_slots = -1, taken_cpus = 5000000000; UPDATE host SET taken_cpus = -3, started_since = 9000000000";
    database.execute_batch(spoilt).unwrap();
    for line in ["status", "server list", "server show local", "show 1", "explain 1", "submit -n -- true"] {
        let done = grid.grid(line.split(' '));
        assert!(matches!(done.code(), 0 | 75), "{line}: {done:?}");
    }
    let told = grid.grid(["doctor"]);
    assert!(told.out().contains("local: slots -1, 0 are held"), "{}", told.out());
    grid.grid(["run", "--", "true"]).expect(0);
    check(&grid, &mut Store::open(&Home::at(grid.home())).unwrap());
    assert!(!grid.grid(["doctor"]).out().contains("are held"));
}
