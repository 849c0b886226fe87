//! The parts, each by itself: matcher, scheduling pass, transactions, messages, facts, and the start of the program.
//!
//! `cargo bench --bench parts [WORD]` measures times, `-- --instructions [WORD]` counts instructions, `-- --keep` does both
//! for all and writes them into benches/README.md.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench")]

mod batch;
mod counted;
mod frames;
mod host;
mod matching;
#[path = "../page.rs"]
mod page;
mod pass;
mod start;
#[path = "../world.rs"]
mod world;

use std::process::Command;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("--instructions") => println!("{}", counted::table(words.get(1).map_or("", String::as_str))),
        Some("--keep") => keep(),
        _ => divan::main(),
    }
}

fn keep() {
    let itself = std::env::current_exe().expect("this program");
    let times = Command::new(itself).args(["--bench", "--color", "never"]).output().expect("this program");
    assert!(times.status.success(), "{}", String::from_utf8_lossy(&times.stderr));
    let times = String::from_utf8(times.stdout).expect("text");
    let lines: Vec<&str> = times.lines().map(str::trim_end).collect();
    let table = format!("```\n{}\n```\n\n{}", lines.join("\n").trim_end(), counted::table(""));
    page::keep("parts", &format!("{}.\n\n{table}", page::machine()));
}
