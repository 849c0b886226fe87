//! task-spooler and nq: a process for each task that waits.

use crate::peer::{Outcome, Peer, Sandbox, ended, first_line, program, run, text, with_environment};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Each waits as a process: more than that nobody does to his machine.
const BEARABLE: usize = 900;

struct Tsp {
    dir: PathBuf,
}

pub fn find_tsp(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    if program("tsp").is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(Tsp { dir: sandbox.sub("tsp")? })))
}

impl Tsp {
    fn tsp(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tsp");
        command.args(arguments).env("TS_SOCKET", self.dir.join("socket")).env("TMPDIR", &self.dir);
        // Of a server that this command starts.
        command.env("TS_SLOTS", "2");
        command
    }

    /// Lines of the list: state, output file, exit code.
    fn listed(&self) -> Outcome<Vec<(String, String, String)>> {
        let list = text(&mut self.tsp(&["-l"]))?;
        let lines = list.lines().skip(1).map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1).map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            (next(), next(), next())
        });
        Ok(lines.collect())
    }
}

impl Peer for Tsp {
    fn name(&self) -> &'static str {
        "tsp"
    }

    fn version(&self) -> String {
        first_line(Command::new("tsp").arg("-V"))
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        run(&mut self.tsp(command)).map(|_| Some(()))
    }

    fn rest(&mut self) -> Outcome<Option<()>> {
        self.settle()?;
        self.stop();
        Ok(Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        run(&mut self.tsp(&["-f", "true"])).map(|_| Some(()))
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        let ended = loop {
            let listed = self.listed()?;
            if listed.iter().all(|(state, _, _)| state == "finished") {
                break listed.iter().filter(|(_, _, code)| code == "0").count();
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        run(&mut self.tsp(&["-C"]))?;
        Ok(Some(ended))
    }

    fn list(&mut self) -> Outcome<Option<()>> {
        run(&mut self.tsp(&["-l"])).map(|_| Some(()))
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        for _ in 0..2 {
            self.submit(&["sleep", "100000"])?;
        }
        for _ in 0..size.min(BEARABLE) {
            self.submit(&["true"])?;
        }
        Ok(Some(size.min(BEARABLE)))
    }

    fn empty(&mut self) -> Outcome<()> {
        self.stop();
        Ok(())
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        for n in 0..tasks {
            self.submit(&["sh", "-c", &format!("echo {n}; exit {}", n % 10)])?;
        }
        loop {
            let listed = self.listed()?;
            if listed.iter().any(|(state, _, _)| state != "finished") {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            let mut found: Vec<(usize, usize)> = Vec::new();
            for (_, output, code) in listed {
                found.push((std::fs::read_to_string(output)?.trim().parse()?, code.parse()?));
            }
            found.sort_unstable();
            let expected: Vec<(usize, usize)> = (0..tasks).map(|n| (n, n % 10)).collect();
            run(&mut self.tsp(&["-C"]))?;
            return if found == expected { Ok(Some(())) } else { Err(format!("found {found:?}").into()) };
        }
    }

    fn patience(&self) -> usize {
        // It lists no more than a thousand that ended.
        BEARABLE
    }

    fn processes(&self) -> Vec<u32> {
        with_environment(&format!("TS_SOCKET={}", self.dir.display()))
    }

    fn stop(&mut self) {
        let mine = self.processes();
        let _ = ended(&mut self.tsp(&["-K"]));
        end(&mine);
    }
}

struct Nq {
    dir: PathBuf,
    seen: usize,
}

pub fn find_nq(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    if program("nq").is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(Nq { dir: sandbox.sub("nq")?, seen: 0 })))
}

impl Nq {
    fn nq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nq");
        command.args(arguments).env("NQDIR", &self.dir);
        command
    }

    /// What all that was handed in has written, once all of it has ended: its own waiting ends before the last words are there.
    fn outputs(&self) -> Outcome<Vec<String>> {
        run(&mut self.nq(&["-w"]))?;
        loop {
            let files = std::fs::read_dir(&self.dir)?.flatten();
            let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
            if texts.iter().all(|text| text.contains("[exited with status")) {
                return Ok(texts);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Peer for Nq {
    fn name(&self) -> &'static str {
        "nq"
    }

    fn version(&self) -> String {
        let package = first_line(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "nq"]));
        format!("nq {package}, one at a time")
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        run(&mut self.nq(command)).map(|_| Some(()))
    }

    fn rest(&mut self) -> Outcome<Option<()>> {
        run(&mut self.nq(&["-w"])).map(|_| Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        self.submit(&["true"])?;
        run(&mut self.nq(&["-w"])).map(|_| Some(()))
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        let ended = self.outputs()?.iter().filter(|text| text.contains("[exited with status 0.]")).count();
        let new = ended - self.seen;
        self.seen = ended;
        Ok(Some(new))
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        self.submit(&["sleep", "100000"])?;
        for _ in 0..size.min(BEARABLE) {
            self.submit(&["true"])?;
        }
        Ok(Some(size.min(BEARABLE)))
    }

    fn empty(&mut self) -> Outcome<()> {
        self.stop();
        std::fs::create_dir_all(&self.dir)?;
        self.seen = 0;
        Ok(())
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        for n in 0..tasks {
            self.submit(&["sh", "-c", &format!("echo proof {n}; exit {}", n % 10)])?;
        }
        let outputs = self.outputs()?;
        for n in 0..tasks {
            let (word, code) = (format!("\nproof {n}\n"), format!("[exited with status {}.]", n % 10));
            if !outputs.iter().any(|text| text.contains(&word) && text.contains(&code)) {
                return Err(format!("task {n} is not found with its output and code").into());
            }
        }
        self.empty().map(Some)
    }

    fn processes(&self) -> Vec<u32> {
        with_environment(&format!("NQDIR={}", self.dir.display()))
    }

    fn stop(&mut self) {
        end(&self.processes());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Ends processes that a peer has started for us.
pub fn end(processes: &[u32]) {
    for pid in processes {
        let pid = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
