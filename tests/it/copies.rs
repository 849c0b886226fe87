//! A home that is copied, moved, or opened by another path: a task that waits in it runs once.

use crate::support::{Done, Grid, process};

/// A home in which one task runs until `go` is written, and one waits behind it.
fn busy() -> Grid {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "1"]).ok();
    grid.fifo("go");
    grid.submit(["--", "sh", "-c", "echo first >> marks; read x < go; exit 3"]);
    process::until("the first runs", || grid.lines("marks") == ["first"]);
    grid.submit(["--", "sh", "-c", "echo second >> marks"]);
    assert_eq!(grid.state("2"), "PENDING");
    grid
}

/// A command in another home beside it.
fn at(grid: &Grid, home: &str, line: &str) -> Done {
    grid.sh(&format!("export GRID_HOME=$PWD/{home}; {line}"))
}

fn id(grid: &Grid, home: &str) -> String {
    at(grid, home, "grid sql --json 'SELECT id FROM home'").json()[0]["id"].as_str().unwrap().to_owned()
}

/// Both tasks end in this home, and each ran once.
fn goes_on(grid: &Grid, home: &str) {
    std::fs::write(grid.file("go"), "on\n").unwrap();
    at(grid, home, "grid wait 1").expect(3);
    at(grid, home, "grid wait 2").ok();
    assert_eq!(grid.lines("marks"), ["first", "second"]);
}

#[test]
fn copy_beside_its_home_holds_what_waits_and_stops_nobody() {
    let grid = busy();
    grid.sh("cp -a $GRID_HOME copy").ok();
    at(&grid, "copy", "grid status").expect(0).says(&["copied at ", "from the home ", "held until `grid release`"]);
    assert_eq!(at(&grid, "copy", "grid status").err(), "", "it is said once");
    assert_ne!(id(&grid, "copy"), id(&grid, "../home"), "it is another home");
    process::until("what ran at its home is held too", || {
        at(&grid, "copy", "grid show 1 2 --json").out().matches("HELD").count() == 2
    });
    goes_on(&grid, "../home");
    at(&grid, "copy", "grid release 2 2>&1").shows(&["may have run already", "copied at"]);
    at(&grid, "copy", "grid wait 2; grid cancel 1; grid run -- true && grid dispatcher stop").ok();
    assert_eq!(grid.lines("marks"), ["first", "second", "second"], "only who was asked to runs it again");
    assert_eq!(grid.show("1")["exit_code"], 3, "a cancel in the copy is none in its home");
}

#[test]
fn copy_whose_home_is_gone_takes_its_place() {
    let grid = busy();
    let before = (id(&grid, "../home"), grid.number("SELECT incarnation FROM home"));
    grid.grid(["dispatcher", "stop"]).ok();
    grid.sh("cp -a $GRID_HOME copy && rm -rf $GRID_HOME").ok();
    at(&grid, "copy", "grid status").expect(0).says(&["copied at ", "held until `grid release`"]);
    assert_eq!(id(&grid, "copy"), before.0);
    let incarnation = at(&grid, "copy", "grid sql --json 'SELECT incarnation n FROM home'").json()[0]["n"].as_i64();
    assert!(incarnation.unwrap() > before.1);
    std::fs::write(grid.file("go"), "on\n").unwrap();
    process::until("nothing of it runs by itself", || {
        at(&grid, "copy", "grid show 1 2 --json").out().matches("HELD").count() == 2
    });
    at(&grid, "copy", "grid cancel all; grid dispatcher stop").ok();
    assert_eq!(grid.lines("marks"), ["first"]);
}

#[test]
fn copy_put_in_the_place_of_its_home_is_reported() {
    let grid = busy();
    grid.grid(["dispatcher", "stop"]).ok();
    grid.sh("cp -a $GRID_HOME copy && rm -rf $GRID_HOME && mv copy $GRID_HOME").ok();
    grid.grid(["status"]).expect(0).says(&["copied at ", "held until `grid release`"]);
    std::fs::write(grid.file("go"), "on\n").unwrap();
    grid.until_state("1", "HELD");
    grid.grid(["cancel", "all"]).ok();
}

#[test]
fn moved_home_keeps_working() {
    let grid = busy();
    grid.sh("mv $GRID_HOME moved").ok();
    let told = at(&grid, "moved", "grid status").expect(0);
    assert_eq!(told.err(), "");
    goes_on(&grid, "moved");
    // And back, where another home lay meanwhile.
    at(&grid, "moved", "grid dispatcher stop; grid submit --parsable -H -- true").ok();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    grid.sh("rm -rf $GRID_HOME && mv moved $GRID_HOME").ok();
    assert_eq!(grid.grid(["status"]).expect(0).err(), "");
    assert_eq!(grid.state("2"), "COMPLETED");
}

#[test]
fn home_by_another_path_is_the_same_home() {
    let grid = busy();
    grid.sh("ln -s $GRID_HOME link; ln -s .. up").ok();
    for path in ["link", "../home/", "up/home", "../work/../home/."] {
        let told = at(&grid, path, "grid status").expect(0);
        assert_eq!(told.err(), "", "{path}");
    }
    assert_eq!(grid.state("2"), "PENDING");
    goes_on(&grid, "link");
}
