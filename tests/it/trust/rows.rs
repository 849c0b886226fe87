//! Rows that can't be read, as an older grid could write them, or another program: each costs what hangs on it, and is told.

use crate::support::Grid;
use rusqlite::Connection;

/// Writes what grid would not write.
fn damage(grid: &Grid, sql: &str) {
    let database = Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    database.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// `doctor`'s findings about rows: what was found, and the remedy.
fn findings(grid: &Grid) -> Vec<(String, String)> {
    let checks = grid.grid(["doctor", "--json"]).json();
    let text = |check: &serde_json::Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = checks.as_array().unwrap().iter().filter(|check| check["what"] == "rows");
    checks.map(|check| (text(check, "found"), text(check, "remedy"))).collect()
}

#[test]
fn task_that_can_not_be_read_is_held_and_the_others_go_on() {
    let grid = Grid::new();
    grid.grid(["server", "drain", "local"]).ok();
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let class = |value: &str| {
        format!("UPDATE class SET demand = '{value}' WHERE id = (SELECT class_id FROM task WHERE id = ID)")
    };
    let faults = [
        class(&format!(r#"{{"cpus":1,"priority":0,"labels":{{"x":{deep}}}}}"#)),
        class(r#"{"cpus":-1,"priority":0}"#),
        class(r#"{"cpus":1,"priority":0,"labels":{"x":null}}"#),
        "UPDATE task SET cwd = x'2f00' WHERE id = ID".to_owned(),
        "UPDATE task SET stdout = x'6100' WHERE id = ID".to_owned(),
        "UPDATE task SET time_limit = -5 WHERE id = ID".to_owned(),
        "UPDATE task SET uuid = x'00' WHERE id = ID".to_owned(),
        "UPDATE task SET retries = -1 WHERE id = ID".to_owned(),
        "UPDATE task SET at_once = -1 WHERE id = ID".to_owned(),
        "UPDATE task SET shown = CAST(x'ff' AS TEXT) WHERE id = ID".to_owned(),
        "UPDATE task SET reason = CAST(x'ff' AS TEXT) WHERE id = ID".to_owned(),
        "INSERT INTO task_files (task_id, bundle) VALUES (ID, 'no digest')".to_owned(),
        "INSERT INTO cancel (task_id, idx, asked_at, grace) VALUES (ID, -1, 0, -1)".to_owned(),
    ];
    // A name of its own makes a class of its own.
    let submit = |name: String| grid.submit(["--name", &name, "--", "true"]);
    let bad: Vec<String> = (0..faults.len()).map(|at| submit(format!("bad{at}"))).collect();
    let lines = grid.sh("printf 'a\\nb\\n' | grid submit --parsable --each-line - -- echo {}").ok();
    let good = submit("good".to_owned());
    for (id, fault) in bad.iter().zip(&faults) {
        damage(&grid, &fault.replace("ID", id));
    }
    damage(&grid, &format!("UPDATE entry SET line = x'6200' WHERE task_id = {lines} AND idx = 2"));
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", &good]).ok();
    grid.grid(["run", "--", "true"]).ok();
    // The last one is a cancel that names no member: nothing is wrong with the task itself.
    let (cancel, bad) = bad.split_last().unwrap();
    grid.grid(["wait", cancel]).ok();
    let bad = || bad.iter().chain([&lines]);
    for id in bad() {
        grid.until_state(id, "HELD");
        let reason = grid.show(id)["reason"].to_string();
        assert!(reason.contains("can't be read"), "{id}: {reason}");
    }
    let found = findings(&grid);
    for id in bad() {
        let remedy = format!("grid cancel {id}");
        assert!(
            found.iter().any(|(found, told)| found.contains(&format!("task {id} ")) && *told == remedy),
            "{found:?}"
        );
    }
    grid.grid(["status"]).ok();
    for id in bad() {
        grid.grid(["cancel", id]).ok();
        assert_eq!(grid.state(id), "CANCELLED");
        grid.grid(["wait", id]).expect(130);
    }
    grid.grid(["run", "--", "true"]).ok();
}

#[test]
fn task_that_runs_and_can_not_be_followed_is_held_when_a_dispatcher_begins() {
    let grid = Grid::new();
    let until = "while [ ! -e go ]; do sleep 0.05; done";
    let bad = grid.submit(["--", "sh", "-c", until]);
    let good = grid.submit(["--", "sh", "-c", until]);
    for id in [&bad, &good] {
        grid.until_state(id, "RUNNING");
    }
    grid.grid(["dispatcher", "stop"]).ok();
    damage(&grid, &format!("UPDATE member SET number = -1 WHERE task_id = {bad}"));
    grid.grid(["run", "--", "true"]).ok();
    grid.until_state(&bad, "HELD");
    assert!(grid.show(&bad)["reason"].to_string().contains("can't be read"));
    std::fs::write(grid.file("go"), "").unwrap();
    grid.grid(["wait", &good]).ok();
    assert_eq!(grid.number("SELECT taken_slots FROM server WHERE name = 'local'"), 0);
}
