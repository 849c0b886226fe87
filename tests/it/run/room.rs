//! What outputs take of the disk: what is promised, and not more.

use crate::support::{Grid, process};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes on the disk behind all files below a directory.
fn taken(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| if meta.is_dir() { taken(&path) } else { meta.blocks() * 512 })
        .sum()
}

/// Ends once what it has to write is written: `bytes` of x.
fn writes(bytes: u64) -> Vec<String> {
    ["sh".to_owned(), "-c".to_owned(), format!("head -c {bytes} /dev/zero | tr '\\0' x")].into()
}

#[test]
fn gc_frees_long_outputs_by_their_age_and_with_their_rows() {
    let grid = Grid::new();
    grid.grid(["config", "set", "output_limit", "1M"]).ok();
    let spool = grid.home().join("spool");
    let write = || {
        let line = ["run", "--"].map(str::to_owned).into_iter().chain(writes(40_000_000));
        assert_eq!(grid.grid(line).expect(0).out().len(), 40_000_000);
        grid.grid(["run", "--", "echo", "a neighbour"]).ok();
    };
    write();
    assert!(taken(&spool) > 40_000_000, "{}", taken(&spool));
    assert_eq!(grid.grid(["gc", "--json"]).json()["there"], serde_json::json!([]), "it is young");
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    let there = |args: &[&str]| grid.grid(args).json()["there"][0].clone();
    let would = there(&["gc", "-n", "--json"]);
    assert_eq!((&would["server"], &would["bytes"]), (&"local".into(), &40_000_000.into()));
    assert!(taken(&spool) > 40_000_000);
    assert_eq!(there(&["gc", "--json"]), would);
    process::until("the disk is free again", || taken(&spool) < 1_000_000);
    grid.grid(["logs", "1"]).expect(0).says(&["stdout is gone: outputs are kept 1ms"]);

    // The rows go first, by another setting: nothing that could tell of the output is left.
    grid.grid(["config", "unset", "keep_outputs"]).ok();
    write();
    grid.grid(["config", "set", "keep_rows", "1ms"]).ok();
    grid.grid(["gc"]).ok();
    assert_eq!(grid.tasks(), 0);
    process::until("the disk is free again", || taken(&spool) < 1_000_000);
}

#[test]
fn a_long_output_of_an_earlier_attempt_is_read_until_its_age_has_come() {
    let grid = Grid::new();
    grid.grid(["config", "set", "output_limit", "1M"]).ok();
    let script = "[ -e again ] && exit 0; touch again; head -c 3000000 /dev/zero; exit 1";
    let id = grid.submit(["--retries", "1", "--", "sh", "-c", script]);
    grid.grid(["wait", &id]).expect(0);
    assert_eq!(grid.grid(["logs", &id]).out(), "");
    let first = || grid.grid(["logs", "--attempt", "1", &id]).expect(0).out().len();
    assert_eq!(first(), 3_000_000);
    // Another agent compares what it holds with what the home needs.
    grid.grid(["dispatcher", "stop"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(first(), 3_000_000);
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    grid.grid(["gc"]).ok();
    process::until("the disk is free again", || taken(&grid.home().join("spool")) < 1_000_000);
}
