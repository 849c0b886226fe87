//! Two hundred shells at once, into a home that does not exist yet.

use crate::support::{Grid, process};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Instant;

const SHELLS: usize = 200;

#[test]
fn two_hundred_submits_at_once_found_one_home_and_each_task_runs_once() {
    let mut worst = Vec::new();
    for _ in 0..3 {
        let grid = Grid::bare();
        let marks = grid.file("marks");
        let begun = Instant::now();
        let mut shells = Vec::new();
        for number in 0..SHELLS {
            let mark = format!("echo {number} >> {}", marks.display());
            let mut command = grid.typed(["submit", "--parsable", "--", "sh", "-c", &mark]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            shells.push(command.spawn().expect("grid"));
        }
        let mut ids = BTreeSet::new();
        for shell in shells {
            let done = process::finish(shell, "grid submit".to_owned());
            assert!(!done.err().contains("locked"), "{done:?}");
            ids.insert(done.ok());
        }
        worst.push(begun.elapsed());
        assert_eq!(ids.len(), SHELLS, "ids are given once");
        grid.grid(["wait", "all"]).ok();
        let mut ran: Vec<usize> = grid.lines("marks").iter().map(|l| l.parse().unwrap()).collect();
        ran.sort_unstable();
        assert_eq!(ran, (0..SHELLS).collect::<Vec<_>>(), "each task ran once");
        assert_eq!(grid.number("select count(*) from member where state = 'COMPLETED'"), SHELLS as i64);
    }
    worst.sort();
    eprintln!("{SHELLS} submits at once, until the last was acknowledged: {worst:?}");
}
