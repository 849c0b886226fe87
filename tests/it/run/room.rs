//! What outputs take of the disk: what is promised, and not more.

use crate::support::small::Small;
use crate::support::{Grid, process, skipped};
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
    grid.grid(["logs", "1"]).expect(1).says(&["stdout is gone: outputs are kept 1ms"]);

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

#[test]
fn doctor_offers_what_frees_a_full_disk_and_says_how_much() {
    let grid = Grid::bare();
    let place = grid.file("small");
    let Some(_small) = Small::mount(&place, "200m") else {
        return skipped("a disk with little room", "this account may not mount a small file system");
    };
    let grid = grid.at(place.join("h"));
    let remedy = || {
        let checks = grid.grid(["doctor", "--json"]).json();
        let disk = checks.as_array().unwrap().iter().find(|check| check["what"] == "disk").cloned().unwrap();
        disk["remedy"].as_str().unwrap().to_owned()
    };
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(remedy(), "free some space: there is no output of an ended task to remove");
    grid.grid(["config", "set", "output_limit", "1M"]).ok();
    for bytes in [20_000_000, 900_000] {
        let line = ["run", "--"].map(str::to_owned).into_iter().chain(writes(bytes));
        grid.grid(line).expect(0);
    }
    process::until("both are older than a second", || remedy().contains("keep_outputs 1s` and `grid gc` free 19.9M"));
    grid.grid(["config", "set", "keep_outputs", "1s"]).ok();
    assert_eq!(remedy(), "`grid gc` frees 19.9M");
    let before = taken(&place);
    grid.grid(["gc"]).ok();
    process::until("it is free", || taken(&place) < before - 20_000_000);
}

#[test]
fn output_beyond_its_bound_keeps_both_ends_and_says_where_its_middle_was() {
    let grid = Grid::new();
    let script = "echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end";
    let id = grid.submit(["--max-output", "1M", "--", "sh", "-c", script]);
    grid.grid(["wait", &id]).expect(0);
    let whole = 3_000_000 + "begin\n\nend\n".len();
    let told = grid.grid(["logs", &id]).expect(0);
    let out = told.out();
    assert_eq!(out.len(), 1 << 20, "no zeros stand for what is not there");
    assert!(out.starts_with("begin\nxxx") && out.ends_with("xxx\nend\n"));
    assert_eq!(out.matches('x').count(), out.len() - 11);
    assert!(told.err().contains("[1.9M of stdout left out here: beyond --max-output]"), "{}", told.err());
    let shown = grid.show(&id);
    let gap = &shown["cut"]["max_output"]["out"];
    assert_eq!((&gap["from"], &gap["to"]), (&(512 << 10).into(), &(whole - (512 << 10)).into()), "{shown}");
    assert_eq!((&shown["state"], &shown["max_output"]), (&"COMPLETED".into(), &"1M".into()));
    assert!(grid.grid(["show", &id]).out().contains("1.9M in the middle left out (--max-output 1M)"));
    // What came home has a hole where the middle was.
    let home = taken(&grid.home().join("spool/out"));
    assert!((1 << 20..1_200_000).contains(&home), "{home}");
    // A profile and the setting say the same for many.
    grid.grid(["task", "add", "loud", "--max-output", "64K"]).ok();
    assert_eq!(
        grid.grid(["run", "--profile", "loud", "--", "sh", "-c", script]).expect(0).err().matches("left out").count(),
        2
    );
    grid.grid(["config", "set", "max_output", "128K"]).ok();
    let id = grid.submit(["--", "sh", "-c", script]);
    grid.grid(["wait", &id]).expect(0);
    assert_eq!(grid.grid(["logs", &id]).out().len(), 128 << 10);
    grid.grid(["config", "set", "max_output", "lots"]).expect(2);
}

#[test]
fn endless_output_stays_within_its_bound_while_it_runs_and_kill_ends_it() {
    let grid = Grid::new();
    let id = grid.submit(["--max-output", "1M", "--", "yes"]);
    grid.until_state(&id, "RUNNING");
    let out = || {
        let runs = grid.home().join("spool/agent");
        let found = std::fs::read_dir(runs).unwrap().flatten().filter_map(|home| {
            let runs = std::fs::read_dir(home.path().join("runs")).ok()?.flatten();
            runs.filter_map(|run| std::fs::metadata(run.path().join("out")).ok()).max_by_key(|meta| meta.len())
        });
        found.max_by_key(|meta| meta.len()).map_or((0, 0), |meta| (meta.len(), meta.blocks() * 512))
    };
    process::until("far more was written than is kept", || {
        let (len, taken) = out();
        len > 200_000_000 && taken < len / 2
    });
    let told = grid.grid(["logs", &id]).expect(0);
    assert!(told.out().bytes().all(|byte| byte == b'y' || byte == b'\n'), "a hole is never told as bytes");
    assert!(told.err().contains("left out here"), "{}", told.err());
    grid.grid(["cancel", "--wait", &id]).ok();
    let (len, taken) = out();
    assert!(taken < 2_000_000, "{taken} of {len}");

    let done = grid.grid(["run", "--max-output", "1M,kill", "--", "sh", "-c", "trap '' TERM; yes"]).expect(153);
    assert!(done.err().contains("ended for it wrote more than its --max-output 1M"), "{}", done.err());
    assert_eq!(grid.state("last"), "FAILED");
}

#[test]
fn output_whose_files_were_removed_is_named_as_gone() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    // A long one, and one that would come with its end.
    for (lines, words) in [("50000", "stdout is gone after 0B of 282K"), ("3", "stdout is gone after 0B of 6B")] {
        let id = grid.submit(["--", "sh", "-c", &format!("read x <{}; seq 1 {lines}", go.display())]);
        grid.until_state(&id, "RUNNING");
        for run in std::fs::read_dir(grid.home().join("spool/agent")).unwrap() {
            let _ = std::fs::remove_dir_all(run.unwrap().path().join("runs"));
        }
        std::fs::write(&go, "go\n").unwrap();
        grid.grid(["wait", &id]).expect(0);
        grid.grid(["logs", &id]).expect(1).says(&[words, "removed"]);
        grid.grid(["dispatcher", "stop"]).ok();
    }
}
