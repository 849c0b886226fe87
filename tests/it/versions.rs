//! A database of every released version opens with this program, and goes on where it was.

use crate::support::Grid;
use std::os::unix::fs::DirBuilderExt;

/// A home out of a fixture.
fn home_of(version: u32) -> Grid {
    let grid = Grid::bare();
    std::fs::DirBuilder::new().mode(0o700).create(grid.home()).unwrap();
    let dump = format!("{}/fixtures/db/v{version}.sql", env!("CARGO_MANIFEST_DIR"));
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    database.execute_batch(&std::fs::read_to_string(dump).unwrap()).unwrap();
    grid
}

#[test]
fn version_1_opens_and_goes_on() {
    let grid = home_of(1);
    grid.grid(["config", "set", "idle_exit", "2s"]).ok();
    assert_eq!(grid.number("select count(*) n from task_view"), 7);
    assert_eq!(grid.state("2"), "FAILED");
    assert_eq!(grid.grid(["logs", "1"]).ok(), "hello");
    assert_eq!(grid.show("5")["attempts"].as_array().unwrap().len(), 2, "a retry keeps both attempts");
    assert_eq!(grid.show("3")["env"].to_string().matches("\"A\"").count(), 1);
    assert_eq!(grid.state("6"), "PENDING");
    // What waited goes on, what was held stays until it is released.
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "6"]).ok();
    assert_eq!(grid.grid(["logs", "6"]).ok(), "went on");
    grid.grid(["release", "7"]).ok();
    grid.grid(["wait", "7"]).ok();
    assert_eq!(grid.state("4"), "HELD", "nothing here has 999 processors");
    // The next id is a new one.
    grid.grid(["submit", "--profile", "render", "-n", "--", "true"]).ok();
    assert_eq!(grid.submit(["--", "true"]), "8");
    grid.grid(["wait", "8"]).ok();
}

#[test]
fn a_newer_database_is_left_alone() {
    let grid = home_of(1);
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 999").unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["newer", "999"]);
    assert_eq!(database.query_row("select count(*) from task", [], |row| row.get(0)), Ok(7));
}

#[test]
fn what_is_no_database_is_told_and_left_alone() {
    let grid = Grid::bare();
    std::fs::create_dir(grid.home()).unwrap();
    let path = grid.home().join("grid.db");
    let text = "this is a letter, not a database ".repeat(200);
    std::fs::write(&path, &text).unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["grid.db", "not a database"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}
