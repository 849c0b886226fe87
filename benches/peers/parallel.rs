//! GNU parallel: no queue, but what people use for arrays.

use crate::peer::{Outcome, Peer, Sandbox, first_line, program};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Parallel {
    dir: PathBuf,
}

pub fn find(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    if program("parallel").is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(Parallel { dir: sandbox.sub("parallel")? })))
}

impl Parallel {
    /// Runs a command for each number; lines of the log are exit codes by number.
    fn go(&self, size: usize, command: &str) -> Outcome<Vec<(usize, usize)>> {
        let (log, results) = (self.dir.join("log"), self.dir.join("results"));
        let _ = std::fs::remove_dir_all(&results);
        let mut parallel = Command::new("parallel");
        parallel.env("PARALLEL_HOME", &self.dir).arg("--joblog").arg(&log).arg("--results").arg(&results);
        let mut child = parallel
            .args(["-P2", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let lines: String = (0..size).map(|n| format!("{n}\n")).collect();
        child.stdin.take().ok_or("no stdin")?.write_all(lines.as_bytes())?;
        child.wait()?;
        codes(&log)
    }
}

/// Exit codes by number, from the log of a run.
pub fn codes(log: &Path) -> Outcome<Vec<(usize, usize)>> {
    let mut ended = Vec::new();
    for line in std::fs::read_to_string(log)?.lines().skip(1) {
        let words: Vec<&str> = line.split('\t').collect();
        ended.push((words[0].parse::<usize>()? - 1, words[6].parse()?));
    }
    ended.sort_unstable();
    Ok(ended)
}

/// Tasks printed their number and exited with its last digit: each is found again with both.
pub fn check(ended: &[(usize, usize)], tasks: usize, results: &Path) -> Outcome<Option<()>> {
    if ended != (0..tasks).map(|n| (n, n % 10)).collect::<Vec<_>>() {
        return Err(format!("the log says {ended:?}").into());
    }
    for n in 0..tasks {
        let printed = std::fs::read_to_string(results.join(format!("1/{n}/stdout")))?;
        if printed.trim() != n.to_string() {
            return Err(format!("task {n} printed {printed:?}").into());
        }
    }
    Ok(Some(()))
}

impl Peer for Parallel {
    fn name(&self) -> &'static str {
        "parallel"
    }

    fn version(&self) -> String {
        first_line(Command::new("parallel").arg("--version"))
    }

    fn array(&mut self, size: usize) -> Outcome<Option<usize>> {
        Ok(Some(self.go(size, "true {}")?.iter().filter(|(_, code)| *code == 0).count()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        self.array(1).map(|_| Some(()))
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        let ended = self.go(tasks, "echo {}; exit $(({} % 10))")?;
        check(&ended, tasks, &self.dir.join("results"))
    }

    fn patience(&self) -> usize {
        2_000
    }
}
