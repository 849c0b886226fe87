//! 200,000 short tasks through a real dispatcher: what it holds in memory at the end, and what is left on the disk after `grid gc`.
//!
//! `cargo bench --bench soak` takes minutes and writes benches/README.md. `SCALE=0.1` for a look (with less the log alone is more than all tasks take); `GRID_BIN=..` measures another binary.
//! It fails where memory has grown by more than a fifth since a tenth of the tasks, or where the disk, once gc was let loose on all that has
//! ended, holds more than twice what it held then.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench")]

mod page;
#[path = "scale/program.rs"]
#[expect(dead_code, reason = "the times are for another bench")]
mod program;

use program::{memory_of_dispatcher, said};
use std::path::Path;
use std::time::Instant;

/// What is looked at on the way.
struct Look {
    tasks: u64,
    memory: u64,
    most: u64,
    disk: u64,
    rate: f64,
}

fn main() {
    let scale: f64 = std::env::var("SCALE").map_or(1.0, |text| text.parse().expect("SCALE is a number"));
    let tasks = (200_000.0 * scale) as u64;
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    said(&home, &["run", "--", "true"]);
    let mut looks = Vec::new();
    let begun = Instant::now();
    for tenth in 1..=10 {
        run(&home, tasks / 10);
        looks.push(look(&home, tenth * tasks / 10, begun));
    }
    let completed = said(&home, &["sql", "SELECT completed AS n FROM tally"]);
    assert_eq!(completed, format!("n\n{}", tasks + 1), "all ran and ended well");
    for setting in ["keep_outputs", "keep_rows"] {
        said(&home, &["config", "set", setting, "1s"]);
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    said(&home, &["gc"]);
    let after = look(&home, tasks, begun);
    said(&home, &["dispatcher", "stop"]);
    let text = format!("{}.\n\n{}", page::machine(), table(&looks, &after));
    println!("{text}");
    let (first, last) = (&looks[0], &looks[9]);
    let grown = last.memory as f64 / first.memory as f64;
    assert!(grown <= 1.2, "the dispatcher's memory grew to {grown:.2} of what it was after a tenth");
    let fills = after.disk as f64 / first.disk as f64;
    assert!(fills <= 2.0, "{fills:.2} times as much on the disk after gc as after a tenth");
    if scale == 1.0 {
        page::keep("soak", &text);
    }
}

/// Half in arrays, as a script would, and each with a line of output; some one by one.
fn run(home: &Path, tasks: u64) {
    let single = tasks / 100;
    for _ in 0..single {
        said(home, &["submit", "--", "echo", "hello"]);
    }
    let range = format!("1-{}", tasks - single);
    said(home, &["submit", "--array", &range, "--", "echo", "hello"]);
    said(home, &["wait", "all"]);
}

fn look(home: &Path, tasks: u64, begun: Instant) -> Look {
    let (memory, most) = (memory_of_dispatcher(home, "VmRSS"), memory_of_dispatcher(home, "VmHWM"));
    let look = Look { tasks, memory, most, disk: disk(home), rate: tasks as f64 / begun.elapsed().as_secs_f64() };
    println!("{tasks} tasks: {memory} KiB, {} MiB on the disk, {:.0} tasks/s", look.disk >> 20, look.rate);
    look
}

/// Bytes of database, log and spool.
fn disk(home: &Path) -> u64 {
    let Ok(dir) = std::fs::read_dir(home) else { return 0 };
    let sizes = dir.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn table(looks: &[Look], after: &Look) -> String {
    let mut lines = vec![
        "| tasks | dispatcher: memory | at most | database and spool | tasks/s so far |".to_owned(),
        "|---:|---:|---:|---:|---:|".to_owned(),
    ];
    let line = |look: &Look, words: &str| {
        format!(
            "| {}{words} | {:.1} MiB | {:.1} MiB | {} MiB | {:.0} |",
            look.tasks,
            look.memory as f64 / 1024.0,
            look.most as f64 / 1024.0,
            look.disk >> 20,
            look.rate
        )
    };
    lines.extend(looks.iter().map(|look| line(look, "")));
    lines.push(line(after, ", after gc"));
    lines.join("\n")
}
