//! How long files are kept, and what happens where there is no room.

use crate::support::small::Small;
use crate::support::{Grid, process};
use std::fs;
use std::time::{Duration, SystemTime};

/// As if all archives had been taken in a day ago and more.
fn yesterday(grid: &Grid) {
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("UPDATE bundle SET taken_at = taken_at - 90000000").unwrap();
}

fn count(grid: &Grid, dir: &str) -> usize {
    fs::read_dir(grid.home().join("spool").join(dir)).unwrap().count()
}

#[test]
fn sent_archive_is_removed_when_no_task_needs_it() {
    let grid = Grid::new();
    let send = |text: &str, more: &[&str]| {
        fs::write(grid.file("f"), text).unwrap();
        grid.submit(more.iter().chain(&["--send", "f", "--", "sh", "-c", "grep -q good f"]))
    };
    let good = send("good", &[]);
    let bad = send("bad", &[]);
    let held = send("good later", &["--hold"]);
    grid.grid(["wait", &good]).expect(0);
    grid.grid(["wait", &bad]).expect(1);
    assert_eq!(count(&grid, "sent"), 3);
    grid.grid(["gc"]).ok();
    assert_eq!(count(&grid, "sent"), 3, "submits of the same may be under way");
    yesterday(&grid);
    let gone = grid.grid(["gc", "--json"]).json();
    assert_eq!((count(&grid, "sent"), &gone["files"]), (2, &1.into()), "what did well needs nothing more");
    // What failed may be started again, as long as outputs are kept.
    grid.grid(["retry", &bad]).ok();
    grid.grid(["wait", &bad]).expect(1);
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    process::until("it is old", || {
        grid.grid(["gc"]).ok();
        count(&grid, "sent") == 1
    });
    grid.grid(["retry", &bad]).expect(1).says(&["submit it again"]);
    grid.grid(["release", &held]).ok();
    grid.grid(["wait", &held]).expect(0);
    // What a submit left that was shot in the middle.
    let stray = grid.home().join("spool/sent/new-x");
    fs::write(&stray, "").unwrap();
    grid.grid(["gc"]).ok();
    assert!(stray.exists(), "it may still be at it");
    let old = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    fs::File::options().append(true).open(&stray).unwrap().set_modified(old).unwrap();
    grid.grid(["gc"]).ok();
    assert!(!stray.exists());
}

#[test]
fn results_are_kept_as_long_as_outputs() {
    let grid = Grid::new();
    grid.grid(["run", "--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", "echo x > out"]).ok();
    grid.grid(["gc"]).ok();
    assert_eq!((count(&grid, "fetched"), count(&grid, "sent")), (1, 1));
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    process::until("it is old", || {
        grid.grid(["gc"]).ok();
        count(&grid, "fetched") == 0
    });
    grid.grid(["fetch", "last"]).expect(1).says(&["are gone", "gc removed them at 20", "keep_outputs"]);
}

/// As if everything had happened so many days earlier.
fn days_ago(grid: &Grid, days: u64) {
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let ms = days * 24 * 3_600_000;
    let earlier = format!(
        "UPDATE task SET submitted_at = submitted_at - {ms}, ended_at = ended_at - {ms}; UPDATE fetched SET noticed_at = noticed_at - {ms}"
    );
    database.execute_batch(&earlier).unwrap();
}

/// A task that has brought a file back, which nobody has unpacked.
fn unread(grid: &Grid) -> String {
    let id = grid.submit(["--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", "echo x > out"]);
    process::until("it has ended", || {
        grid.number(&format!("select count(*) from task_view where id = {id} and state = 'COMPLETED'")) == 1
    });
    id
}

#[test]
fn results_that_nobody_unpacked_go_a_week_after_notice_of_it() {
    let grid = Grid::new();
    let id = unread(&grid);
    let gc_keeps = |count_left: usize| {
        grid.grid(["gc"]).ok();
        assert_eq!(count(&grid, "fetched"), count_left);
    };
    let notice = || grid.grid(["status", "--json"]).json()["notice"].clone();
    days_ago(&grid, 22);
    gc_keeps(1);
    assert!(notice().is_null(), "{}", notice());
    // A week before they go, and of however old ones: no notice, no end.
    days_ago(&grid, 20);
    gc_keeps(1);
    assert_eq!((&notice()["tasks"], &notice()["count"]), (&serde_json::json!([&id]), &1.into()));
    let said = grid.grid(["status"]).ok();
    assert!(
        said.contains("are not unpacked and are removed from") && said.contains(&format!("grid fetch {id}")),
        "{said}"
    );
    days_ago(&grid, 6);
    gc_keeps(1);
    // Nor does its row go before.
    grid.grid(["config", "set", "keep_rows", "1d"]).ok();
    gc_keeps(1);
    assert_eq!(grid.state(&id), "COMPLETED");
    grid.grid(["config", "unset", "keep_rows"]).ok();
    days_ago(&grid, 2);
    gc_keeps(0);
    assert!(notice().is_null(), "{}", notice());
    grid.grid(["fetch", &id]).expect(1).says(&["are gone"]);
}

#[test]
fn results_that_were_unpacked_need_no_notice() {
    let grid = Grid::new();
    let id = unread(&grid);
    days_ago(&grid, 25);
    grid.grid(["gc"]).ok();
    grid.grid(["status"]).shows(&[&format!("grid fetch {id}")]);
    grid.grid(["fetch", &id]).ok();
    assert!(grid.grid(["status", "--json"]).json()["notice"].is_null());
    days_ago(&grid, 6);
    grid.grid(["gc"]).ok();
    assert_eq!(count(&grid, "fetched"), 0);
}

#[test]
fn a_server_without_room_is_passed_over_and_named() {
    let grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    // 64 MiB are always left to others.
    let Some(_small) = on_small(&grid, "68m") else { return };
    fs::write(grid.file("f"), vec![b'x'; 6 << 20]).unwrap();
    let done = grid.grid(["run", "--send", "f", "--", "cat", "f"]);
    done.expect(125).says(&["no room for", "are free on local"]);
    assert_eq!(grid.state("last"), "FAILED");
    // Without files there is nothing that needs room.
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
}

#[test]
fn results_that_can_not_be_packed_stay_on_the_server_until_requested_again() {
    let grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let spool = grid.home().join("spool/agent");
    let Some(_small) = on_small(&grid, "68m") else { return };
    fs::write(grid.file("f"), "text").unwrap();
    let make = "head -c 1000000 /dev/zero > out; head -c 100000000 /dev/zero > filler 2>/dev/null; true";
    let done = grid.grid(["run", "--send", "f", "--fetch", "out", "--", "sh", "-c", make]);
    done.expect(125).says(&["could not be brought home", "no room for", "are still on local"]);
    assert_eq!(grid.state("last"), "COMPLETED", "its own end stands");
    grid.grid(["fetch", "last"]).expect(1).says(&["no room for"]);
    // Somebody makes room over there.
    let filler = grid.sh(&format!("find {} -name filler", spool.display())).ok();
    fs::remove_file(filler).unwrap();
    grid.grid(["fetch", "last"]).ok();
    assert_eq!(fs::metadata(grid.file("out")).unwrap().len(), 1_000_000);
    process::until("its directory is gone", || {
        grid.sh(&format!("find {} -name root", spool.display())).ok().is_empty()
    });
    grid.grid(["dispatcher", "stop"]).expect(0);
}

/// The agent's spool as a file system of its own.
fn on_small(grid: &Grid, size: &str) -> Option<Small> {
    let small = Small::mount(&grid.home().join("spool/agent"), size);
    if small.is_none() {
        eprintln!("skipped: this account may not mount a small file system");
    }
    small
}

#[test]
fn gc_returns_free_space_to_the_file_system_while_tasks_run() {
    let grid = Grid::new();
    let old = grid.submit(["--", "echo", "hello"]);
    grid.grid(["wait", &old]).ok();
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    let outputs = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                   INSERT INTO output (task_id, idx, number, stream, body) SELECT ?1, 0, 1 + i, 'out', randomblob(8000) FROM n";
    database.execute(outputs, [&old]).unwrap();
    let size = || fs::metadata(grid.home().join("grid.db")).unwrap().len();
    let running = grid.submit(["--", "cat", grid.fifo("go").to_str().unwrap()]);
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(size() > 20 << 20);
    drop(database);
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    process::until("the file is small", || {
        grid.grid(["gc"]).ok();
        size() < 4 << 20
    });
    fs::write(grid.file("go"), "went on").unwrap();
    grid.grid(["wait", &running]).ok();
    assert_eq!(grid.grid(["logs", &running]).ok(), "went on");
}
