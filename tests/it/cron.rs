//! `grid cron`: the lines of others stay, ours come once, and cron's own shell can run them.

use crate::support::crontab::Crontab;
use crate::support::{Grid, process};
use std::fs::File;

const OTHERS: &str = "MAILTO=me\n# mine, 100% mine\n\n0 3 * * * /usr/bin/backup x%y\n";

/// A home whose name cron and sh both have to be shielded from.
fn odd() -> Grid {
    let grid = Grid::bare();
    let home = grid.file("my grid's 5% $x").join("h");
    std::fs::create_dir(home.parent().unwrap()).unwrap();
    grid.at(home)
}

#[test]
fn cron_lines_are_installed_once_and_removed_without_a_trace() {
    let grid = odd();
    let Some(table) = Crontab::new(&grid, "cron's lines") else { return };
    let crontab = || table.sh(&grid, "crontab -l").out();
    table.sh(&grid, "grid cron show").expect(1).says(&["not installed"]);
    std::fs::write(grid.file("others"), OTHERS).unwrap();
    table.sh(&grid, "crontab others").ok();
    let done = table.sh(&grid, "grid cron install").expect(0).says(&["installed"]);
    assert!(!done.err().contains("ended with"), "the line was tried, and works: {done:?}");
    let whole = crontab();
    assert!(whole.starts_with(OTHERS), "{whole}");
    let ours: Vec<&str> = whole[OTHERS.len()..].lines().collect();
    assert_eq!(done.out(), format!("{}\n{}\n", ours[2], ours[3]), "the lines are the data");
    assert!(ours[2].starts_with("*/5 * * * * ") && ours[3].starts_with("@reboot "), "{ours:?}");
    let spool = || table.sh(&grid, "stat -c %i.%Y /var/spool/cron/crontabs/*").ok();
    let before = spool();
    table.sh(&grid, "grid cron install").expect(0).says(&["already"]);
    assert_eq!((crontab(), spool()), (whole.clone(), before), "the same again writes nothing");
    let shown = table.sh(&grid, "grid cron show").expect(0);
    assert!(!shown.err().contains("renews"), "{shown:?}");
    table.sh(&grid, "grid cron install --every 2h").expect(0).says(&["installed"]);
    assert_eq!(crontab(), whole.replace("*/5 * * * * ", "0 */2 * * * "), "another rhythm replaces the block");
    // Another home has lines of its own.
    table.sh(&grid, "GRID_HOME=$PWD/other grid cron install").expect(0);
    assert_eq!(crontab().matches("@reboot").count(), 2);
    table.sh(&grid, "GRID_HOME=$PWD/other grid cron remove; GRID_HOME=$PWD/other grid dispatcher stop").ok();
    table.sh(&grid, "grid cron remove").expect(0).says(&["removed"]);
    assert_eq!(crontab(), OTHERS);
    table.sh(&grid, "grid cron remove").expect(0).says(&["nothing"]);
    // A table that holds nothing else goes.
    table.sh(&grid, "crontab -r && grid cron install && grid cron remove").expect(0);
    table.sh(&grid, "crontab -l").expect(1).says(&["no crontab for"]);
}

#[test]
fn cron_runs_the_line_and_waiting_tasks_start() {
    let grid = odd();
    let Some(table) = Crontab::new(&grid, "cron itself") else { return };
    grid.grid(["config", "set", "idle_exit", "2s"]).ok();
    table.sh(&grid, "grid cron install").expect(0);
    // As after a reboot: a task waits that could run, and nobody is there to start it. Any command of grid's would, so
    // the database is changed and asked without one.
    grid.grid(["server", "drain", "local"]).ok();
    let id = grid.submit(["--", "sh", "-c", "echo $PATH"]);
    grid.grid(["dispatcher", "stop"]).expect(0);
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.busy_timeout(process::HANG).unwrap();
    database.execute("UPDATE server SET drained = NULL", []).unwrap();
    let state = || database.query_row("SELECT state FROM task", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(state(), "PENDING");
    let _cron = table.boot();
    process::until("cron's line has had it started", || state() == "COMPLETED");
    grid.grid(["wait", &id]).ok();
    let path = grid.grid(["logs", &id]).ok();
    assert_ne!(path, "/usr/bin:/bin", "tasks keep the PATH of whoever installed the line");
}

#[test]
fn cron_install_without_cron_names_the_units() {
    let grid = Grid::new();
    let mut command = grid.typed(["cron", "install"]);
    command.env("PATH", "/no/such/place");
    process::run(&mut command).expect(1).says(&["crontab", "grid cron show --systemd"]);
    let units = grid.grid(["cron", "show", "--systemd", "--every", "1h"]).ok();
    for line in ["ExecStart=", "OnUnitActiveSec=1h", "KillMode=process", "enable --now grid-refresh.timer"] {
        assert!(units.contains(line), "{line}: {units}");
    }
    grid.grid(["cron", "install", "--every", "7min"]).expect(2).says(&["divide an hour"]);
    grid.grid(["cron"]).expect(2);
}

#[test]
fn refresh_does_nothing_while_another_runs() {
    let grid = Grid::new();
    let lock = File::create(grid.home().join("run/refresh.lock")).unwrap();
    lock.lock().unwrap();
    grid.grid(["refresh"]).expect(0).says(&["another refresh is running"]);
    drop(lock);
    assert_eq!(grid.grid(["refresh"]).expect(0).err(), "");
}
