//! kill -9 of dispatcher and agent in the middle of a transfer: it goes on where it was, and comes whole.

use crate::support::Grid;
use std::fs;

/// Sends, changes and fetches a file of some pieces, with somebody shot on the way.
fn shoot_at(point: &str, passage: u32) {
    let mut grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let text: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(grid.file("big"), &text).unwrap();
    let once = grid.file("shot");
    grid.set_env("GRID_FAILPOINT", &format!("{point}:{passage}"));
    grid.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    let make = "echo run >> $GRID_SUBMIT_DIR/runs; cat big big > copy";
    let id = grid.submit(["--send", "big", "--fetch", "copy", "--", "sh", "-c", make]);
    grid.grid(["wait", &id]).expect(0);
    assert!(once.exists(), "{point}:{passage} was never reached");
    assert_eq!(grid.lines("runs"), ["run"], "{point}:{passage}: it ran once");
    assert!(fs::read(grid.file("copy")).unwrap() == [text.as_slice(), &text].concat(), "{point}:{passage}");
    // Nobody keeps what is done with.
    let spool = grid.home().join("spool/agent");
    let works = fs::read_dir(spool).unwrap().flatten().map(|home| home.path().join("work"));
    let left = |dir: std::path::PathBuf| fs::read_dir(dir).map_or(0, Iterator::count);
    let works: Vec<_> = works.collect();
    crate::support::process::until("the directories are gone", || works.iter().cloned().map(left).sum::<usize>() == 0);
    assert_eq!(fs::read_dir(grid.home().join("spool/fetched")).unwrap().count(), 1);
}

#[test]
fn crash_while_files_are_sent_loses_no_task() {
    shoot_at("dispatcher-piece-sent", 5);
    shoot_at("agent-piece-taken", 5);
    shoot_at("agent-work-made", 1);
}

#[test]
fn crash_while_results_are_fetched_loses_no_result() {
    shoot_at("agent-packed", 1);
    shoot_at("agent-packet-sent", 9);
    shoot_at("dispatcher-packet-taken", 9);
    shoot_at("dispatcher-brought", 1);
}
