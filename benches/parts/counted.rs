//! Instructions: what says something also on a busy machine. callgrind counts what happens within [`counted`] and nothing else.

use crate::start;
use std::process::Command;

/// The work that is measured, without what prepares it.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    divan::black_box(work())
}

/// The benches whose instructions are counted: what one process does by itself, in seconds under valgrind.
const COUNTED: &[&str] = &[
    "matching::best/compare",
    "matching::best_with_preference/compare",
    "matching::nothing_matches",
    "matching::compile",
    "pass::first_pass/(100000, 10, 1000)",
    "pass::pass_in_vain/(100000, 1000, 1000)",
    "batch::claim/1",
    "batch::claim/100",
    "batch::end/1",
    "batch::end/100",
    "frames::start_encode_decode/1",
    "frames::start_encode_decode/128",
    "frames::ends_encode_decode/128",
    "host::facts_without_applications",
    "host::facts_with_the_watch_list",
];

/// A table of all of them, or of those whose names hold the word.
pub fn table(word: &str) -> String {
    let mut lines = vec!["| instructions | |".to_owned(), "|---|---:|".to_owned()];
    for name in COUNTED.iter().filter(|name| name.contains(word)) {
        lines.push(format!("| {name} | {} |", spaced(of_bench(name))));
    }
    for line in start::LINES.iter().filter(|_| "start::process".contains(word)) {
        lines.push(format!("| `grid {}`, the whole process | {} |", line.join(" "), spaced(of_command(line))));
    }
    lines.join("\n")
}

fn of_bench(name: &str) -> u64 {
    let itself = std::env::current_exe().expect("this program");
    let mut valgrind = valgrind();
    valgrind.arg("--toggle-collect=parts::counted::counted*").arg(itself);
    valgrind.args([
        "--bench",
        "--exact",
        "--sample-count",
        "1",
        "--sample-size",
        "1",
        &format!("parts::{}", name.replace("/", "::")),
    ]);
    total(valgrind)
}

fn of_command(line: &[&str]) -> u64 {
    let command = start::command(line);
    let mut valgrind = valgrind();
    valgrind.arg(command.get_program()).args(command.get_args());
    valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    total(valgrind)
}

fn valgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind
}

/// callgrind's last words: `==pid== Collected : 123456`.
fn total(mut valgrind: Command) -> u64 {
    let done = valgrind.stdin(std::process::Stdio::null()).output().expect("valgrind: apt install valgrind");
    let said = String::from_utf8_lossy(&done.stderr);
    let count = said.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    count.filter(|_| done.status.success()).unwrap_or_else(|| panic!("{valgrind:?}: {said}"))
}

/// 1234567 as 1 234 567.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join("\u{202f}")
}
