//! The wall clock is set while tasks run and wait: ages that are shown do not change.

use crate::support::{Grid, process};

const DAYS: i64 = 86_400_000;
/// What may pass in a test, and no jump.
const HOUR: i64 = 3_600_000;

/// Sets the wall clock of every process of a grid, by so many ms from what it is.
fn set_clock(grid: &Grid, by: i64) {
    let file = grid.file("clock");
    std::fs::write(file.with_extension("new"), by.to_string()).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
}

/// How long ago that was what this finds, by the clock as it is set now.
fn age(grid: &Grid, by: i64, sql: &str) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    i64::try_from(now).unwrap() + by - grid.number(sql)
}

/// The line of `doctor` about the clock: its result and its remedy.
fn doubt(grid: &Grid) -> (String, String) {
    let checks = grid.grid(["doctor", "--json"]).json();
    let check = checks.as_array().unwrap().iter().find(|check| check["what"] == "clock").unwrap();
    (check["result"].as_str().unwrap().to_owned(), check["remedy"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn step_of_the_wall_clock_changes_no_age() {
    let mut grid = Grid::new();
    set_clock(&grid, 0);
    let file = grid.file("clock");
    grid.set_env("GRID_TEST_CLOCK", file.to_str().unwrap());
    let fifo = grid.fifo("waits");
    let runs = grid.submit(["--", "sh", "-c", &format!("read line <{}", fifo.display())]);
    grid.until_state(&runs, "RUNNING");
    let waits = grid.submit(["-H", "--", "true"]);
    assert_eq!(doubt(&grid).0, "ok");
    // A contact with a machine that is not repeated.
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let heard = "INSERT INTO heard (server_id, machine_id, at) SELECT 1, 99, submitted_at FROM task WHERE id = ?1";
    database.execute(heard, [&runs]).unwrap();
    drop(database);
    let dispatcher = grid.dispatcher();
    for by in [30 * DAYS, -30 * DAYS] {
        set_clock(&grid, by);
        let young = grid.submit(["--", "true"]);
        grid.grid(["wait", &young]).expect(0);
        let began = format!("SELECT started_at FROM member WHERE task_id = {runs}");
        process::until("the dispatcher has seen it", || (0..HOUR).contains(&age(&grid, by, &began)));
        let of_task = |column: &str, id: &str| format!("SELECT {column} FROM task WHERE id = {id}");
        for sql in [
            of_task("submitted_at", &runs),
            of_task("started_at", &runs),
            of_task("submitted_at", &waits),
            of_task("submitted_at", &young),
            "SELECT at FROM heard".to_owned(),
            "SELECT read_at FROM host".to_owned(),
        ] {
            let age = age(&grid, by, &sql);
            assert!((0..HOUR).contains(&age), "{sql}, {by}: {age}");
        }
        // Readings are taken, and taken for new.
        grid.grid(["server", "refresh", "local"]).ok();
        let shown = grid.grid(["status"]).ok();
        assert!(!shown.contains("30-") && !shown.contains("60-"), "{shown}");
        let (result, remedy) = doubt(&grid);
        assert!(result == "warn" && remedy.contains("--trust-clock"), "{result}: {remedy}");
    }
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
    std::fs::write(&fifo, "go\n").unwrap();
    grid.grid(["release", &waits]).ok();
    grid.grid(["wait", &runs, &waits]).expect(0);
    let took = grid.number(&format!("SELECT ended_at - started_at AS took FROM member WHERE task_id = {runs}"));
    assert!((0..HOUR).contains(&took), "{took}");
    assert_eq!(grid.number("SELECT count(*) AS n FROM server WHERE kept_for IS NOT NULL"), 0);
    grid.grid(["gc", "--trust-clock"]).ok();
    assert_eq!(doubt(&grid).0, "ok");
}
