//! The real program, each figure a process from start to end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// As often as each is measured.
const TIMES: usize = 40;

pub fn grid(home: &Path, line: &[&str]) -> Command {
    let binary = std::env::var_os("GRID_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_grid")), PathBuf::from);
    let mut command = Command::new(binary);
    command.args(line).env("GRID_HOME", home).stdin(Stdio::null());
    command
}

pub fn said(home: &Path, line: &[&str]) -> String {
    let done = grid(home, line).output().expect("grid");
    assert!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// From start to end: the median and the worst of many, and the median of the processor time alone, which a busy machine
/// lengthens less.
pub struct Times {
    pub median: Duration,
    pub worst: Duration,
    pub cpu: Duration,
}

pub fn times(home: &Path, line: &[&str]) -> Times {
    times_of(home, (0..TIMES).map(|_| line.iter().map(|word| (*word).to_owned()).collect()))
}

/// The same of lines that differ.
pub fn times_of(home: &Path, lines: impl Iterator<Item = Vec<String>>) -> Times {
    let once = |line: Vec<String>| {
        let begun = Instant::now();
        let mut command = grid(home, &[]);
        let mut child = command.args(&line).stdout(Stdio::null()).spawn().expect("grid");
        let done = child.wait4().expect("its end");
        assert!(done.status.success(), "{line:?}");
        (begun.elapsed(), done.rusage.utime + done.rusage.stime)
    };
    let (mut wall, mut cpu): (Vec<Duration>, Vec<Duration>) = lines.map(once).unzip();
    wall.sort();
    cpu.sort();
    Times { median: wall[wall.len() / 2], worst: wall[wall.len() - 1], cpu: cpu[cpu.len() / 2] }
}

/// The process of the home's dispatcher.
pub fn pid_of_dispatcher(home: &Path) -> u32 {
    let said = said(home, &["dispatcher", "status"]);
    said.split(&[' ', ':']).find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("no pid: {said}"))
}

/// The most that the home's dispatcher has held in memory, or what it holds now: `VmHWM` or `VmRSS` of its status, in KiB.
pub fn memory_of_dispatcher(home: &Path, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid_of_dispatcher(home))).expect("its status");
    let line = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).expect("the line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
