//! Two hundred shells at once into a home that does not exist yet.

use crate::program::{grid, said};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SHELLS: usize = 200;

/// Two hundred shells at once; the slowest submit of the round.
fn storm(home: &Path) -> Duration {
    let ids = home.with_extension("ids");
    let line = "read go; s=$(date +%s%N); \"$0\" submit --parsable -- true >> \"$1\" && echo $(($(date +%s%N) - s))";
    let mut shells: Vec<_> = (0..SHELLS)
        .map(|_| {
            let program = grid(home, &[]).get_program().to_owned();
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).arg(program).arg(&ids).env("GRID_HOME", home);
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh")
        })
        .collect();
    shells.iter_mut().for_each(|shell| drop(shell.stdin.take()));
    let took = shells.into_iter().map(|shell| {
        let done = shell.wait_with_output().expect("sh");
        Duration::from_nanos(String::from_utf8_lossy(&done.stdout).trim().parse().expect("a submit failed"))
    });
    let worst = took.max().unwrap();
    let mut ids: Vec<String> = std::fs::read_to_string(ids).unwrap().lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), SHELLS);
    said(home, &["wait", "all"]);
    assert_eq!(said(home, &["sql", "SELECT completed AS n FROM tally"]), format!("n\n{SHELLS}"));
    worst
}

/// Three storms, in a sentence.
pub fn rounds(dir: &Path) -> String {
    let mut worst: Vec<Duration> = (1..=3)
        .map(|round| {
            let home = dir.join(format!("storm{round}"));
            let worst = storm(&home);
            said(&home, &["dispatcher", "stop"]);
            worst
        })
        .collect();
    worst.sort();
    format!(
        "{SHELLS} shells at once into a new home, worst submit of each of three rounds: {worst:.0?}, median {:.0?}.",
        worst[1]
    )
}
