//! A home that is lost and restored: nothing runs twice by itself, what runs is found, what may have run is held.

use crate::support::{Grid, process, skipped};
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;

/// The disk with the database is lost, the spool of this host's agent is not; the backup takes its place.
fn lose_and_restore(grid: &Grid) -> String {
    // As the power would: nobody gets to say goodbye.
    if let Some(pid) = grid.dispatcher() {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        process::wait_pid_gone(pid, process::HANG);
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(grid.home().join(format!("grid.db{suffix}")));
    }
    let restored = grid.grid(["restore", "copy.db"]).expect(0);
    restored.err()
}

#[test]
fn backup_is_complete_private_and_overwrites_no_file() {
    let grid = Grid::new();
    grid.grid(["run", "--", "echo", "hello"]).ok();
    grid.grid(["backup", "copy.db"]).ok();
    let path = grid.file("copy.db");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let copy = Connection::open(&path).unwrap();
    assert_eq!(copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
    assert_eq!(copy.query_row("SELECT state FROM task_view", [], |row| row.get(0)), Ok("COMPLETED".to_owned()));
    drop(copy);
    let before = std::fs::read(&path).unwrap();
    grid.grid(["backup", "copy.db"]).expect(1).says(&["copy.db", "exists already"]);
    assert!(std::fs::read(&path).unwrap() == before);
    grid.grid(["backup", "no/such/place/x.db"]).expect(1).says(&["No such file"]);
    grid.grid(["backup"]).expect(2);
    let left: Vec<String> =
        std::fs::read_dir(grid.work()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, ["copy.db"], "nothing half made is left");
    // The home itself is no backup, and a home is never replaced.
    grid.grid(["restore", "copy.db"]).expect(1).says(&["there is a home", "GRID_HOME"]);
    let other = |file: &str| grid.sh(&format!("GRID_HOME=$PWD/other grid restore {file}"));
    other("$GRID_HOME/../home/grid.db").expect(1);
    let mut damaged = std::fs::read(&path).unwrap();
    damaged.truncate(damaged.len() - 3 * 4096);
    std::fs::write(grid.file("damaged"), damaged).unwrap();
    other("damaged").expect(1).says(&["damaged", "grid backup"]);
    std::fs::copy(&path, grid.file("newer")).unwrap();
    Connection::open(grid.file("newer")).unwrap().execute_batch("PRAGMA user_version = 999").unwrap();
    other("newer").expect(1).says(&["newer", "999"]);
    std::fs::write(grid.file("text"), "no database").unwrap();
    other("text").expect(1).says(&["text", "grid backup"]);
    other("no-such-file").expect(1).says(&["No such file"]);
}

#[test]
fn backup_is_a_consistent_snapshot_during_submits() {
    let grid = Grid::new();
    let submits: Vec<_> = (0..20).map(|_| grid.beside(["submit", "--", "true"])).collect();
    for number in 0..5 {
        grid.grid(["backup", &format!("{number}.db")]).ok();
    }
    submits.into_iter().for_each(|child| drop(process::finish(child, "grid submit".to_owned()).ok()));
    grid.grid(["wait", "all"]).ok();
    for number in 0..5 {
        let copy = Connection::open(grid.file(&format!("{number}.db"))).unwrap();
        let sums = "SELECT (SELECT pending + running + completed FROM tally) = (SELECT count(*) FROM task)";
        assert_eq!(copy.query_row(sums, [], |row| row.get(0)), Ok(true), "{number}");
        assert_eq!(
            copy.query_row("PRAGMA foreign_key_check", [], |_| Ok(())),
            Err(rusqlite::Error::QueryReturnedNoRows)
        );
    }
}

#[test]
fn restore_holds_unended_tasks_and_finds_running_ones() {
    let grid = Grid::new();
    if grid.sh("test $(nproc) -ge 2").code() != 0 {
        return skipped("a restored home finds what runs", "it needs two processors, this host has one");
    }
    let before = |name: &str, more: &[&str]| {
        grid.fifo(name);
        let script = format!("echo {name} >> marks; read x < {name}; exit 3");
        let mut line: Vec<&str> = more.to_vec();
        line.extend(["--", "sh", "-c", &script]);
        grid.submit(line)
    };
    let ended = grid.submit(["--", "true"]);
    grid.grid(["wait", &ended]).ok();
    // At the moment of the backup these run ..
    let (stays, ends) = (before("stays", &[]), before("ends", &[]));
    process::until("both run", || grid.lines("marks").len() == 2);
    // .. and these wait.
    let (starts, done) = (before("starts", &["-H"]), before("done", &["-H"]));
    let waits = grid.submit(["-H", "--", "sh", "-c", "echo waits >> marks"]);
    grid.grid(["backup", "copy.db"]).ok();
    // The home goes on: one ends, one begins and ends, one begins and runs, one is submitted.
    let go = |name: &str| std::fs::write(grid.file(name), "go\n").unwrap();
    go("ends");
    grid.grid(["wait", &ends]).expect(3);
    grid.grid(["release", &done]).ok();
    go("done");
    grid.grid(["wait", &done]).expect(3);
    grid.grid(["release", &starts]).ok();
    process::until("it runs", || grid.lines("marks").len() == 4);
    let after = grid.submit(["--", "true"]);
    let said = lose_and_restore(&grid);
    assert!(said.contains("restored from a backup of") && said.contains("held until `grid release`"), "{said}");
    assert_eq!(grid.state(&ended), "COMPLETED");
    // What the agent still holds is followed, also where the backup did not know of it.
    grid.until_state(&stays, "RUNNING");
    grid.until_state(&starts, "RUNNING");
    // What ended meanwhile, and what may have: held.
    grid.until_state(&ends, "HELD");
    for id in [&ends, &done, &waits] {
        assert_eq!(grid.state(id), "HELD");
        let reason = grid.show(id)["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("restored from a backup of"), "{reason}");
    }
    grid.grid(["show", &after]).expect(1);
    go("stays");
    go("starts");
    grid.grid(["wait", &stays, &starts]).expect(3);
    let marks = |name: &str| grid.lines("marks").iter().filter(|line| *line == name).count();
    assert_eq!((marks("stays"), marks("starts")), (1, 1), "neither was started again");
    grid.grid(["release", &waits]).expect(0).says(&["may have run already"]);
    grid.grid(["wait", &waits]).ok();
    assert_eq!(marks("waits"), 1);
    grid.grid(["cancel", &ends, &done]).ok();
    assert_eq!((marks("ends"), marks("done")), (1, 1));
    assert_eq!(grid.number("SELECT sum(taken_slots + taken_cpus) FROM server"), 0);
    // New ones are as ever, and nothing is said of them.
    let new = grid.submit(["-H", "--", "true"]);
    let released = grid.grid(["release", &new]).expect(0);
    assert!(!released.err().contains("may have run"), "{released:?}");
    grid.grid(["wait", &new]).ok();
}

#[test]
fn restore_leaves_tasks_submitted_after_the_backup_running() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["backup", "copy.db"]).ok();
    grid.fifo("go");
    grid.submit(["--", "sh", "-c", "echo begun >> marks; read x < go; echo $x >> marks"]);
    process::until("it runs", || grid.lines("marks") == ["begun"]);
    lose_and_restore(&grid);
    // The agent has been asked what it holds: it runs something for us.
    grid.grid(["run", "--", "true"]).ok();
    std::fs::write(grid.file("go"), "on\n").unwrap();
    process::until("it goes on to its end", || grid.lines("marks") == ["begun", "on"]);
}

#[test]
fn a_copied_backup_is_restored_by_the_first_command() {
    let grid = Grid::new();
    let id = grid.submit(["-H", "--", "true"]);
    grid.grid(["backup", "copy.db"]).ok();
    let incarnation = grid.number("SELECT incarnation FROM home");
    let other = |line: &str| grid.sh(&format!("export GRID_HOME=$PWD/other; {line}"));
    other("mkdir -m 700 other && cp copy.db other/grid.db").ok();
    other("grid status").expect(0).says(&["restored from a backup of", "; 1 held"]);
    assert_eq!(other("grid status").err(), "", "it is said once");
    let newer = other("grid sql --json 'SELECT incarnation AS n FROM home'").json()[0]["n"].as_i64().unwrap();
    assert!(newer > incarnation);
    other(&format!("grid release {id} 2>&1; grid wait {id}; grid dispatcher stop")).ok();
    assert_eq!(grid.state(&id), "HELD", "the home that was backed up is another one");
}
