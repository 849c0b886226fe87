//! Homes in odd circumstances: made under any umask, at long paths, by a shell with few open files, locked by others.

use crate::support::{Grid, process};
use rusqlite::Connection;
use std::io::{BufRead, BufReader};

#[test]
fn a_home_that_is_made_under_any_umask_can_be_opened_again() {
    let grid = Grid::bare();
    assert_eq!(grid.sh("umask 777; grid run -- echo hello").ok(), "hello");
    let modes = "cd $GRID_HOME && stat -c '%a %n' grid.db run run/gate spool spool/agent run/dispatcher.lock";
    let shown = grid.sh(modes).ok();
    assert_eq!(shown, "600 grid.db\n700 run\n600 run/gate\n700 spool\n700 spool/agent\n600 run/dispatcher.lock");
}

#[test]
fn a_home_at_a_long_path_works_or_is_refused_in_words() {
    let grid = Grid::bare();
    let at = |len: usize| {
        let mut path = grid.work().to_str().unwrap().to_owned();
        while path.len() + 102 < len {
            path += &format!("/{}", "x".repeat(100));
        }
        let rest = len - path.len() - 1;
        path + "/" + &"y".repeat(rest)
    };
    let longest = Grid::bare().at(at(460));
    assert_eq!(longest.grid(["run", "--", "echo", "hello"]).ok(), "hello");
    longest.grid(["backup", "copy.db"]).ok();
    longest.grid(["dispatcher", "stop"]).ok();
    for len in [461, 500, 700] {
        Grid::bare().at(at(len)).grid(["status"]).expect(1).says(&["460 bytes at most", &len.to_string(), "GRID_HOME"]);
    }
}

#[test]
fn a_shell_with_few_open_files_leaves_no_dispatcher_that_can_not_work() {
    let grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).ok();
    // Whoever may, takes more; who may not is told, and leaves it to the next shell.
    let submitted = grid.sh("ulimit -n 16; grid submit --parsable -- sh -c 'echo ran >> marks'").expect(0);
    assert!(submitted.err().is_empty() || submitted.err().contains("16 files open at once"), "{submitted:?}");
    grid.grid(["wait", submitted.out().trim()]).ok();
    assert_eq!(grid.lines("marks"), ["ran"]);
}

#[test]
fn wait_for_a_foreign_lock_names_the_holder_and_continues() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    let other = Connection::open(grid.home().join("grid.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut runs = grid.beside(["run", "--", "echo", "hello"]);
    let mut talk = BufReader::new(runs.stderr.take().unwrap()).lines();
    let told = talk.next().unwrap().unwrap();
    let holder = format!("process {} (", std::process::id());
    assert!(told.contains("waiting for the database") && told.contains(&holder), "{told}");
    assert!(grid.grid(["doctor"]).out().contains(&holder));
    // What can be read is read meanwhile.
    grid.grid(["status"]).expect(0).shows(&["COMPLETED"]);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(process::finish(runs, "grid run".to_owned()).ok(), "hello");
    let log = std::fs::read_to_string(grid.home().join("run/dispatcher.log")).unwrap();
    assert!(!log.contains("database is locked"), "{log}");
}
