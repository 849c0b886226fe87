//! Two hundred shells at once, into a home that does not exist yet.

use crate::support::{Grid, process, said};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SHELLS: usize = 200;
/// What the worst submit of a round may take: of a release build, as it is used.
const WORST: Duration = Duration::from_secs(2);

#[test]
fn two_hundred_simultaneous_submits_create_one_home_and_each_task_runs_once() {
    let (mut worst, mut all) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let grid = Grid::bare();
        let marks = grid.file("marks");
        let mut shells = Vec::new();
        for number in 0..SHELLS {
            let mark = format!("echo {number} >> {}", marks.display());
            let mut command = grid.command("sh");
            // Each shell is told apart, and times its own submit.
            command.args([
                "-c",
                "read go; s=$(date +%s%N); grid submit --parsable -- sh -c \"$1\" && echo $(($(date +%s%N) - s))",
            ]);
            command.args(["sh", &mark]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            shells.push(command.spawn().expect("sh"));
        }
        let begun = Instant::now();
        for shell in &mut shells {
            // Its stdin ends: all of them go at once.
            drop(shell.stdin.take());
        }
        let mut ids = BTreeSet::new();
        let mut slowest = Duration::ZERO;
        for shell in shells {
            let done = process::finish(shell, "grid submit".to_owned());
            let (id, took) =
                done.ok().split_once('\n').map(|(id, took)| (id.to_owned(), took.parse().unwrap())).unwrap();
            ids.insert(id);
            slowest = slowest.max(Duration::from_nanos(took));
        }
        worst.push(slowest);
        all.push(begun.elapsed());
        assert_eq!(ids.len(), SHELLS, "ids are given once");
        grid.grid(["wait", "all"]).ok();
        let mut ran: Vec<usize> = grid.lines("marks").iter().map(|l| l.parse().unwrap()).collect();
        ran.sort_unstable();
        assert_eq!(ran, (0..SHELLS).collect::<Vec<_>>(), "each task ran once");
        assert_eq!(grid.number("select count(*) from member where state = 'COMPLETED'"), SHELLS as i64);
    }
    worst.sort();
    said::tell(&format!(
        "{SHELLS} submits at once into a new home, three rounds: worst submit {worst:.0?}, median {:.0?}; until the last was acknowledged {all:.0?}",
        worst[1]
    ));
    assert!(cfg!(debug_assertions) || worst[1] < WORST, "the median is {:?}", worst[1]);
}
