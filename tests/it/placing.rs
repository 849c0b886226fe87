//! Where tasks are put: no place is given twice, no server is asked that can't.

use crate::support::{Grid, process};

#[test]
fn a_running_dispatcher_sees_what_a_submit_took() {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "8", "--cpus", "1"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    for round in ["a", "b", "c"] {
        let go = grid.fifo(round);
        let first = grid.submit(["--", "sh", "-c", &format!("read x < {round}")]);
        let second = grid.submit(["--", "true"]);
        grid.until_state(&first, "RUNNING");
        assert_eq!(grid.state(&second), "PENDING", "the only processor is taken");
        assert_eq!(grid.number("select taken_cpus n from server where name = 'local'"), 1);
        std::fs::write(go, "go\n").unwrap();
        grid.grid(["wait", &first, &second]).ok();
        assert_eq!(grid.number("select taken_cpus n from server where name = 'local'"), 0);
    }
}

#[test]
fn dispatcher_recounts_reservations_when_it_starts() {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "2", "--cpus", "2"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
    // As a fault of ours may leave it.
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute("UPDATE server SET taken_slots = 2, taken_cpus = 1", []).unwrap();
    database.execute("UPDATE host SET taken_cpus = 99, started_since = 99", []).unwrap();
    let go = grid.fifo("go");
    let runs = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.until_state(&runs, "RUNNING");
    let taken =
        "select s.taken_slots * 100 + s.taken_cpus * 10 + h.taken_cpus n from server s join host h on h.id = s.host_id";
    assert_eq!(grid.number(taken), 111);
    // And again while something runs.
    grid.grid(["dispatcher", "stop"]).expect(0);
    database.execute("UPDATE server SET taken_slots = 0, taken_cpus = 0", []).unwrap();
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(grid.number(taken), 111);
    std::fs::write(go, "go\n").unwrap();
    grid.grid(["wait", &runs]).ok();
    assert_eq!(grid.number(taken), 0);
}

#[test]
fn a_directory_that_no_member_of_a_group_has_ends_the_task_with_the_reason() {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local"]).ok();
    grid.grid(["server", "add", "farm", "--of", "fast"]).ok();
    let id = grid.submit(["-w", "farm", "--cwd", "/no/such/directory", "--", "true"]);
    grid.grid(["wait", &id]).expect(125);
    let shown = grid.show(&id);
    assert_eq!(shown["state"], "FAILED");
    assert!(shown["attempts"][0]["detail"].as_str().unwrap().contains("no /no/such/directory on fast"), "{shown}");
    assert_eq!(shown["steps"].as_array().unwrap().len(), 1, "each server is tried once: {shown}");
}

#[test]
fn an_excluded_server_is_not_reached_through_a_group() {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local"]).ok();
    grid.grid(["server", "add", "slow", "--local"]).ok();
    grid.grid(["server", "add", "farm", "--of", "fast,slow"]).ok();
    let id = grid.submit(["-w", "farm", "-x", "fast", "--", "true"]);
    grid.grid(["wait", &id]).ok();
    let host = format!("select s.name from member m join server s on s.id = m.host_id where m.task_id = {id}");
    assert_eq!(grid.sql(&host)[0]["name"], "slow");
    grid.grid(["submit", "-w", "farm", "-x", "fast,slow", "--", "true"]).expect(75).says(&["excluded"]);
    grid.grid(["server", "remove", "fast"]).expect(1).says(&["part of farm"]);
}

#[test]
fn a_task_that_waits_for_another_server_does_not_hold_up_its_equals() {
    let grid = Grid::new();
    grid.grid(["server", "add", "other", "--local"]).ok();
    grid.grid(["server", "drain", "other"]).ok();
    // Refused here; `other` may have that directory, once it is resumed.
    let waits = grid.submit(["--cwd", "/no/such/directory", "--", "true"]);
    grid.until_state(&waits, "PENDING");
    let array = grid.submit(["--array", "1-50", "--", "true"]);
    grid.grid(["wait", &array]).ok();
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(grid.state(&waits), "PENDING");
    grid.grid(["server", "resume", "other"]).ok();
    grid.grid(["wait", &waits]).expect(125);
}

#[test]
fn reason_of_a_class_is_not_carried_over_to_its_next_array() {
    let grid = Grid::new();
    let array = || grid.grid(["submit", "--json", "-a", "1-2", "--", "true"]).json();
    grid.grid(["server", "drain", "local", "--reason", "moving"]).ok();
    let first = array();
    assert_eq!(first["state"], "PENDING", "{first}");
    process::until("it is said why", || grid.show("1")["reason"].to_string().contains("moving"));
    grid.grid(["cancel", "--wait", "1"]).ok();
    grid.grid(["server", "resume", "local"]).ok();
    let second = array();
    assert!(second["reason"].is_null(), "{second}");
    grid.grid(["wait", "2"]).ok();
}

#[test]
fn a_server_that_has_the_name_of_a_removed_one_is_tried_anew() {
    let grid = Grid::new();
    grid.grid(["server", "drain", "local"]).ok();
    grid.grid(["server", "add", "a", "--local"]).ok();
    let dir = grid.file("later");
    let id = grid.submit(["--cwd", dir.to_str().unwrap(), "--", "pwd"]);
    process::until("it was refused there", || grid.explain(&id)["steps"].to_string().contains("later"));
    assert_eq!(grid.state(&id), "PENDING", "it may run on local, which is drained");
    std::fs::create_dir(&dir).unwrap();
    grid.grid(["server", "remove", "a"]).ok();
    grid.grid(["server", "add", "a", "--local"]).ok();
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.show(&id)["server"], "a");
}

#[test]
fn resources_of_a_host_are_counted_once_for_all_its_servers() {
    let grid = Grid::new();
    let of_distributor = || {
        let all = grid.grid(["distributor", "list", "--json"]).json();
        let second = all.as_array().unwrap().iter().find(|member| member["tier"] == 2).unwrap();
        (second["attributes"]["servers"]["value"].clone(), second["attributes"]["power"]["value"].as_f64().unwrap())
    };
    // The best seen: it may rise with each reading.
    let of_host = || {
        let host = grid.grid(["server", "show", "local", "--json"]).json();
        host["attributes"]["power"]["value"].as_f64().unwrap()
    };
    assert_eq!(of_distributor().0, 1);
    for half in ["half-a", "half-b"] {
        grid.grid(["server", "add", half, "--local"]).ok();
    }
    process::until("all three are up", || of_distributor().0 == 3);
    process::until("the host counts once", || of_distributor().1 == of_host());
}
