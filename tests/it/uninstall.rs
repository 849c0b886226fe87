//! `grid uninstall`: all that grid made goes, nothing else does, and nothing goes while a task has not ended.

use crate::support::crontab::Crontab;
use crate::support::{Grid, process};
use grid::model::failpoint::UNINSTALL_POINTS;
use std::fs;
use std::path::Path;

/// Every path below a directory.
fn all_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_below(&entry.path()));
        }
    }
    found
}

#[test]
fn home_goes_whole_after_its_tasks_have_ended() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "mkdir made && chmod 0 made; cat go"]);
    grid.until_state(&id, "RUNNING");
    let before = all_below(grid.home());
    let dry = grid.grid(["uninstall", "-n"]).expect(1).says(&["1 task has not ended", "grid cancel"]);
    assert!(dry.out().contains(&format!("would remove the home {}: 1 task", grid.home().display())), "{dry:?}");
    grid.grid(["uninstall", "--yes"]).expect(1).says(&["1 task has not ended, so nothing was removed", "grid cancel"]);
    assert!(before.iter().all(|path| Path::new(path).exists()), "something was removed");
    fs::write(go, "went on\n").unwrap();
    grid.grid(["wait", &id]).ok();
    grid.grid(["uninstall"]).expect(2).says(&["no terminal", "--dry-run", "--yes"]);
    assert_eq!(grid.grid(["logs", &id]).ok(), "went on");
    let done = grid.grid(["uninstall", "--yes"]).expect(0);
    assert!(done.out().contains("lost: records and outputs of 1 task"), "{done:?}");
    assert!(!grid.home().exists(), "{:?}", all_below(grid.home()));
    process::until("no process of it runs", || grid.processes().is_empty());
    assert!(grid.file("made").exists(), "what a task made is nobody's to remove");
    // Nothing is made by asking again.
    grid.grid(["uninstall", "--yes"]).expect(0).shows(&["there is no home in "]);
    assert!(!grid.home().exists());
}

#[test]
fn held_task_keeps_the_home() {
    let grid = Grid::new();
    let id = grid.submit(["--hold", "--", "true"]);
    grid.grid(["uninstall", "--yes"]).expect(1).says(&["1 task has not ended"]);
    assert_ne!(grid.grid(["server", "show", "local", "--json"]).json()["state"], "DRAINED");
    grid.grid(["cancel", &id]).ok();
    grid.grid(["uninstall", "--yes"]).ok();
}

#[test]
fn files_that_grid_did_not_make_stay_and_are_named() {
    let grid = Grid::new();
    let notes = grid.home().join("grid.db.bak");
    fs::write(&notes, "mine").unwrap();
    let make = ["--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", "echo x > out"];
    grid.submit(make);
    process::until("it has ended", || grid.number("select count(*) from task_view where state = 'COMPLETED'") == 1);
    let report = grid.grid(["uninstall", "-n", "--json"]).json();
    assert_eq!((&report["dry_run"], &report["tasks"], &report["unended"]), (&true.into(), &1.into(), &0.into()));
    assert!(report["lost"].to_string().contains("results of 1 task that nobody has unpacked"), "{report}");
    let done = grid.grid(["uninstall", "--yes"]).expect(0);
    assert!(done.out().contains(&format!("stays: {}: not made by grid", notes.display())), "{done:?}");
    assert_eq!(all_below(grid.home()), [notes.display().to_string()]);
    assert_eq!(fs::read_to_string(notes).unwrap(), "mine");
}

#[test]
fn crontab_loses_the_lines_of_this_home_alone() {
    let grid = Grid::new();
    let Some(table) = Crontab::new(&grid, "uninstall and cron's lines") else { return };
    table.sh(&grid, "grid cron install && GRID_HOME=$PWD/other grid cron install").ok();
    let shown = table.sh(&grid, "GRID_HOME=$PWD/other grid cron show").ok();
    let done = table.sh(&grid, "grid uninstall --yes").expect(0);
    assert!(done.out().contains("removed 3 lines of the crontab"), "{done:?}");
    assert!(!grid.home().exists());
    assert_eq!(table.sh(&grid, "GRID_HOME=$PWD/other grid cron show").ok(), shown, "another home's lines stay");
    table.sh(&grid, "GRID_HOME=$PWD/other grid run -- echo still here").expect(0).shows(&["still here"]);
    table.sh(&grid, "GRID_HOME=$PWD/other grid uninstall --yes").expect(0);
    table.sh(&grid, "crontab -l").expect(1).says(&["no crontab for"]);
}

#[test]
fn account_that_may_not_use_cron_uninstalls_with_a_note() {
    let mut grid = Grid::new();
    fs::create_dir(grid.file("bin")).unwrap();
    let refusal = "You (me) are not allowed to use this program (crontab)";
    let program = format!("#!/bin/sh\necho '{refusal}' >&2\necho 'See crontab(1) for more information' >&2\nexit 1\n");
    fs::write(grid.file("bin/crontab"), program).unwrap();
    grid.sh("chmod +x bin/crontab").ok();
    let path = format!("{}:{}", grid.file("bin").display(), std::env::var("PATH").unwrap());
    grid.set_env("PATH", &path);
    let done = grid.grid(["uninstall", "--yes"]).expect(0);
    assert!(
        done.out().contains(&format!("stays: the crontab, which this account may not use ({refusal})")),
        "{done:?}"
    );
    assert!(!grid.home().exists());
}

#[test]
fn home_takes_tasks_again_after_an_uninstall_that_was_killed() {
    for has_dispatcher in [true, false] {
        let mut grid = Grid::new();
        grid.grid(["run", "--", "true"]).ok();
        grid.set_env("GRID_FAILPOINT", UNINSTALL_POINTS[0]);
        assert_ne!(grid.grid(["uninstall", "--yes"]).code(), 0, "it was not killed");
        grid.unset_env("GRID_FAILPOINT");
        assert_eq!(grid.sql("select drain_reason from server_view")[0]["drain_reason"], "grid is being uninstalled");
        if !has_dispatcher {
            grid.grid(["dispatcher", "stop"]).ok();
        }
        grid.grid(["run", "--", "true"]).expect(0);
        assert!(!grid.home().join("run/draining").exists());
    }
}

/// Killed between the database and the rest: cron's lines are gone already, and no command makes the home anew.
#[test]
fn rest_of_a_home_goes_by_the_same_command() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    for name in ["grid.db", "grid.db-wal", "grid.db-shm"] {
        let _ = fs::remove_file(grid.home().join(name));
    }
    grid.grid(["uninstall", "-n"]).shows(&["would remove the home", "whose database is gone"]);
    grid.grid(["uninstall", "--yes"]).expect(0);
    assert!(!grid.home().exists());
}

#[test]
fn first_tiers_hear_that_it_leaves_or_are_named() {
    let (front, lost, lab) = (Grid::new(), Grid::new(), Grid::new());
    for first in [&front, &lost] {
        lab.grid(["distributor", "register", "--as", "lab-x", "--with", &first.home().display().to_string()]).ok();
    }
    lab.grid(["uninstall", "-n"]).shows(&[&format!("would tell {} that lab-x leaves", front.home().display())]);
    lost.grid(["dispatcher", "stop"]).ok();
    fs::rename(lost.home(), lost.file("away")).unwrap();
    let done = lab.grid(["uninstall", "--yes"]).expect(0);
    let (told, not) = (
        format!("told {} that lab-x leaves", front.home().display()),
        format!("{} was not told that lab-x leaves", lost.home().display()),
    );
    assert!(done.out().contains(&told) && done.out().contains(&not), "{done:?}");
    assert!(done.out().contains("`grid distributor remove lab-x`"), "{done:?}");
    assert_eq!(front.sql("select state from distributor_view where name = 'lab-x'")[0]["state"], "LEFT");
    assert!(!lab.home().exists());
}
