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
    // What runs is followed by its member's row alone.
    let good = grid.submit(["--fetch", "nothing", "--", "sh", "-c", until]);
    for id in [&bad, &good] {
        grid.until_state(id, "RUNNING");
    }
    grid.grid(["dispatcher", "stop"]).ok();
    damage(&grid, &format!("UPDATE task SET cwd = x'2f00' WHERE id = {good}; UPDATE class SET demand = '[]'"));
    damage(&grid, &format!("UPDATE member SET number = -1 WHERE task_id = {bad}"));
    grid.grid(["run", "--", "true"]).ok();
    grid.until_state(&bad, "HELD");
    assert!(grid.show(&bad)["reason"].to_string().contains("can't be read"));
    std::fs::write(grid.file("go"), "").unwrap();
    grid.grid(["wait", &good]).ok();
    assert_eq!(grid.number("SELECT taken_slots FROM server WHERE name = 'local'"), 0);
}

#[test]
fn rows_of_servers_and_people_that_can_not_be_read_cost_only_themselves() {
    let grid = Grid::new();
    grid.grid(["server", "add", "other", "--ssh", "nowhere"]).ok();
    grid.grid(["server", "set", "local", "--set", "rack=7"]).ok();
    grid.grid(["user", "add", "eva"]).ok();
    grid.grid(["task", "add", "render", "--cpus", "2"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    damage(
        &grid,
        "UPDATE server SET ssh_options = '[1]' WHERE name = 'other';
         UPDATE host SET gpus = '{}', cpus = -1;
         UPDATE attribute SET type = 'list', value = 'no json' WHERE name = 'rack';
         INSERT INTO app (server_id, name, source, read_at) SELECT id, 'no name', 'probed', 0 FROM server WHERE name = 'local';
         UPDATE user SET requires = CAST(x'ff' AS TEXT) WHERE name = 'eva';
         UPDATE client SET os = CAST(x'ff' AS TEXT);
         UPDATE profile SET settings = '{\"cpus\":-1}';
         UPDATE setting SET value = CAST(x'ff' AS TEXT) WHERE name = 'idle_exit';
         INSERT INTO distributor (name, tier, position, endpoint, created_at) VALUES ('far', 1, 9, 'no endpoint', 0);
         INSERT INTO report (distributor_id, incarnation, sequence, servers, slots, running, waiting, idle_cpus, power, apps, health, version, why, received_at)
             SELECT id, 1, 1, -1, 0, 0, 0, 0, 0, '{}', 'UP', '', '', 0 FROM distributor WHERE name = 'far';
         UPDATE tally SET failed = -3;",
    );
    let lists = ["status", "server list", "user list", "client list", "distributor list", "task list"];
    for list in lists {
        grid.grid(list.split(' ')).ok();
    }
    let found = findings(&grid);
    for (what, remedy) in [
        ("server other ", "grid server remove other"),
        ("server local ", "grid server refresh local"),
        ("server local rack ", "grid server unset local rack"),
        ("user eva ", "grid user set eva"),
        ("client ", "none needed"),
        ("profile render ", "grid task remove render"),
        ("distributor far ", "restore an earlier backup"),
        ("report of far ", "none needed"),
    ] {
        let told = found.iter().any(|(found, told)| found.starts_with(what) && told.starts_with(remedy));
        assert!(told, "{what}: {remedy} is not in {found:#?}");
    }
    let shown = grid.grid(["server", "list", "--json"]).json().to_string();
    assert!(shown.contains("its row can't be read"), "{shown}");
    grid.grid(["run", "--", "true"]).ok();
    // The remedies work.
    grid.grid(["server", "refresh", "local"]).ok();
    grid.grid(["server", "unset", "local", "rack"]).ok();
    grid.grid(["server", "remove", "other"]).ok();
    grid.grid(["task", "remove", "render"]).ok();
    let left: Vec<String> = findings(&grid).into_iter().map(|(found, _)| found).collect();
    assert!(!left.iter().any(|found| found.starts_with("server") || found.starts_with("profile")), "{left:#?}");
}
