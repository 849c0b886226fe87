//! `grid remove`: what goes, what stays, and what keeps a task.

use crate::support::{Grid, process};
use std::fs;

fn files(grid: &Grid, dir: &str) -> usize {
    fs::read_dir(grid.home().join("spool").join(dir)).unwrap().count()
}

/// A task that has ended.
fn ended(grid: &Grid, script: &str) -> String {
    let id = grid.submit(["--", "sh", "-c", script]);
    grid.grid(["wait", &id]);
    id
}

#[test]
fn removed_tasks_go_with_their_outputs_and_their_usage_stays() {
    let grid = Grid::new();
    let short = ended(&grid, "echo short; exit 3");
    let long = ended(&grid, "head -c 100000 /dev/zero");
    let stays = ended(&grid, "echo stays");
    let kept = files(&grid, "out");
    assert!(kept > 0);
    let dry = grid.grid(["remove", "-n", "--json", &short, &long]).json();
    assert_eq!((&dry["tasks"], &dry["dry_run"]), (&serde_json::json!([&short, &long]), &true.into()), "{dry}");
    assert_eq!((&dry["outputs"], &dry["files"], &dry["bytes"]), (&1.into(), &kept.into(), &100_006.into()), "{dry}");
    assert_eq!((grid.tasks(), files(&grid, "out")), (3, kept), "a dry run removes nothing");
    grid.grid(["remove", &format!("{short}-{long}")]).shows(&["removed 2 tasks, 1 small output, "]);
    assert_eq!((grid.tasks(), files(&grid, "out")), (1, 0));
    grid.grid(["show", &short]).expect(1).says(&["no task"]);
    grid.grid(["remove", &short]).expect(1).says(&["no task"]);
    assert_eq!(grid.grid(["logs", &stays]).ok(), "stays");
    let usage = grid.sql("select user, tasks, members from removed_view");
    assert_eq!((usage.len(), &usage[0]["tasks"], &usage[0]["members"]), (1, &2.into(), &2.into()), "{usage:?}");
    // Ids are not used again.
    assert_eq!(grid.submit(["--", "true"]), "4");
}

#[test]
fn remove_ended_older_names_the_tasks_that_stay() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let array = grid.submit(["-a", "1-3", "--", "true"]);
    grid.grid(["wait", &array]).ok();
    let runs = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.grid(["remove", "--older", "7d"]).shows(&["removed 0 tasks"]);
    grid.grid(["remove", &array, &runs]).expect(1).says(&["nothing was removed", &format!("{runs}: it has not ended")]);
    grid.grid(["remove", &format!("{array}.1")]).expect(2).says(&["grid remove 1"]);
    grid.grid(["remove"]).expect(2);
    assert_eq!(grid.number("select count(*) from task_view"), 2);
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute("UPDATE task SET ended_at = ended_at - 8 * 86400000", []).unwrap();
    grid.grid(["remove", "-n", "--older", "9d"]).shows(&["would remove 0 tasks"]);
    grid.grid(["remove", "--older", "7d"]).shows(&["removed 1 task,"]);
    assert_eq!(grid.number("select members from removed_view"), 3);
    fs::write(go, "\n").unwrap();
    grid.grid(["wait", &runs]).ok();
    grid.grid(["remove", "--ended"]).shows(&["removed 1 task,"]);
    assert_eq!(grid.number("select count(*) from task_view"), 0);
}

#[test]
fn results_that_nobody_unpacked_keep_their_task() {
    let grid = Grid::new();
    let make = ["--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", "echo x > out"];
    let unread = grid.submit(make);
    process::until("it has ended", || grid.number("select count(*) from task_view where state = 'COMPLETED'") == 1);
    let plain = ended(&grid, "true");
    grid.grid(["remove", &plain, &unread]).expect(1).says(&["nothing was removed", "not unpacked", "--discard"]);
    // Nobody named it: it stays, and is told.
    let done = grid.grid(["remove", "--ended"]).expect(0).says(&[&format!("{unread} stays: ")]);
    assert!(done.out().starts_with("removed 1 task,"), "{done:?}");
    assert_eq!(files(&grid, "fetched"), 1);
    grid.grid(["remove", "--discard", &unread]).ok();
    assert_eq!((files(&grid, "fetched"), grid.number("select count(*) from task_view")), (0, 0));
    let read = grid.submit(make);
    grid.grid(["wait", &read]).ok();
    grid.grid(["remove", &read]).ok();
}
