//! From exec to exit: what each command costs before it does anything. The binary that people get (`.ci/release`), or GRID_BIN.

use divan::Bencher;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The command lines that are measured.
pub const LINES: [&[&str]; 4] = [&["--version"], &["submit", "--help"], &["status"], &["show", "1"]];

/// A home in which one task has ended. It stays below `target` until the next time.
static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("started");
    let _ = std::fs::remove_dir_all(&home);
    for line in [&["run", "--", "true"][..], &["dispatcher", "stop"]] {
        let done = grid(&home, line).status().expect("grid");
        assert!(done.success(), "{line:?}");
    }
    home
});

/// Built as it is shipped: tests and benches have fail points compiled in.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(binary) = std::env::var_os("GRID_BIN") {
        return std::fs::canonicalize(binary).expect("GRID_BIN");
    }
    let built = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/release")).status().expect(".ci/release");
    assert!(built.success());
    let target = Path::new(env!("CARGO_BIN_EXE_grid")).parent().and_then(Path::parent).expect("a target directory");
    target.join("ship/grid")
});

fn grid(home: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command.args(line).env("GRID_HOME", home).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One of [`LINES`] in that home.
pub fn command(line: &[&str]) -> Command {
    grid(&HOME, line)
}

#[divan::bench(args = LINES.map(|line| line.join(" ")), sample_size = 1)]
fn process(bencher: Bencher, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = command(&words);
    bencher.bench_local(|| assert!(command.status().is_ok_and(|status| status.success())));
}
