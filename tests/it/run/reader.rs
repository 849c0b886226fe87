//! Whoever reads the output of `grid run` and `grid logs -f` goes: at once, in a quiet moment, or with the whole session.

use crate::support::{Done, Grid, process};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// Takes the first line that it writes, and leaves.
fn read_a_line_and_leave(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

/// A process of its own session, so without a terminal from the start, wherever the tests are run.
fn beside(grid: &Grid, arguments: &[&str]) -> Child {
    let mut command = grid.command("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_grid")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("setsid")
}

fn finish(child: Child) -> Done {
    process::finish(child, "grid".to_owned())
}

/// SIGPIPE, as the shell of `cmd | head` sees it.
const PIPE: i32 = 141;

#[test]
fn reader_that_goes_cancels_the_task_of_run() {
    let grid = Grid::new();
    let mut run = beside(&grid, &["run", "--", "yes"]);
    assert_eq!(read_a_line_and_leave(&mut run), "y\n");
    finish(run).expect(PIPE).says(&["task 1 was cancelled: the reader of its output has gone", "--keep-going"]);
    assert_eq!(grid.state("1"), "CANCELLED");
}

#[test]
fn reader_that_goes_while_nothing_is_written_cancels_the_task_of_run() {
    let grid = Grid::new();
    grid.fifo("never");
    let mut run = beside(&grid, &["run", "--", "sh", "-c", "echo READY; read x < never"]);
    assert_eq!(read_a_line_and_leave(&mut run), "READY\n");
    finish(run).expect(PIPE);
    assert_eq!(grid.state("1"), "CANCELLED");
    // Nor is it waited for while the task waits for a server.
    grid.grid(["server", "drain", "local"]).ok();
    let mut run = beside(&grid, &["run", "--", "true"]);
    drop(run.stdout.take());
    finish(run).expect(PIPE).says(&["task 2 was cancelled"]);
}

#[test]
fn keep_going_lets_the_task_run_on_and_says_so_once() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let script = "seq 1 100000; read x < go; echo $x";
    let mut run = beside(&grid, &["run", "--keep-going", "--", "sh", "-c", script]);
    assert_eq!(read_a_line_and_leave(&mut run), "1\n");
    let done = finish(run).expect(PIPE).says(&["task 1 keeps running", "grid logs -f 1"]);
    assert_eq!((done.err().lines().count(), grid.state("1").as_str()), (1, "RUNNING"), "{done:?}");
    std::fs::write(go, "on\n").unwrap();
    grid.grid(["wait", "1"]).ok();
    assert!(grid.grid(["logs", "1"]).ok().ends_with("100000\non"));
}

#[test]
fn reader_of_logs_that_goes_while_nothing_is_written_ends_it_and_not_the_task() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "echo READY; echo LOUD >&2; read x < go"]);
    for options in [&["logs", "-f"][..], &["logs", "-f", "--out"]] {
        let mut logs = beside(&grid, &[options, &[&id]].concat());
        assert_eq!(read_a_line_and_leave(&mut logs), "READY\n");
        finish(logs).expect(PIPE);
    }
    // What is written to stderr alone has its reader there.
    let mut logs = beside(&grid, &["logs", "-f", "--err", &id]);
    drop(logs.stdout.take());
    let mut stderr = BufReader::new(logs.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "LOUD\n");
    drop(stderr);
    finish(logs).expect(PIPE);
    assert_eq!(grid.state(&id), "RUNNING");
    std::fs::write(go, "\n").unwrap();
    grid.grid(["wait", &id]).ok();
}

#[test]
fn reader_of_wait_that_goes_before_the_report_ends_it() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "read x < go"]);
    let mut wait = beside(&grid, &["wait", "--json", &id]);
    drop(wait.stdout.take());
    finish(wait).expect(PIPE);
    // Without a report there is nothing to be read: its code is what counts.
    let mut wait = beside(&grid, &["wait", &id]);
    drop(wait.stdout.take());
    std::fs::write(go, "\n").unwrap();
    finish(wait).expect(0);
}

/// A terminal with a shell at it, as sshd opens one for a login; None where this host has no `script`.
struct Session(Child);

impl Session {
    fn open(grid: &Grid, line: &str) -> Option<Self> {
        let mut command = grid.command("script");
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]).env("SHELL", "/bin/sh");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self(child))
    }

    /// The connection is gone: sshd closes its side of the terminal, and the kernel hangs it up.
    fn drop_it(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn pid(grid: &Grid, file: &str) -> Pid {
    process::until("its pid is written", || !grid.lines(file).is_empty());
    Pid::from_raw(grid.lines(file)[0].parse().unwrap()).unwrap()
}

/// A task that has begun and waits; the line is typed at a terminal, with what comes before `grid` there.
fn session(grid: &Grid, before: &str) -> Option<(Session, std::path::PathBuf)> {
    let go = grid.fifo("go");
    std::fs::write(grid.file("train"), "echo begun; echo begun >> marks; read x < go; echo $x\n").unwrap();
    let run = format!("({before} echo $$ > shell; exec sh -c 'echo $$ > run; exec grid run -- sh train')");
    let session = Session::open(grid, &format!("{run} | sh -c 'echo $$ > tee; exec tee log'"))?;
    process::until("the task has begun", || grid.lines("marks") == ["begun"] && grid.lines("log") == ["begun"]);
    Some((session, go))
}

/// It has gone on, and completes.
fn went_on(grid: &Grid, go: &std::path::Path) {
    let gone = process::wait_pid_gone(pid(grid, "run"), process::HANG);
    assert!(gone, "grid run goes with its session");
    assert_eq!(grid.state("1"), "RUNNING");
    std::fs::write(go, "on\n").unwrap();
    grid.grid(["wait", "1"]).ok();
    assert_eq!(grid.grid(["logs", "1"]).ok(), "begun\non");
}

#[test]
fn dropped_session_ends_no_task() {
    // Once as a login shell leaves it, once for a `grid run` that does not die of its SIGHUP, and so sees its reader go.
    for before in ["", "trap '' HUP;"] {
        let grid = Grid::new();
        let Some((session, go)) = session(&grid, before) else { return };
        session.drop_it();
        went_on(&grid, &go);
    }
}

#[test]
fn reader_that_goes_before_its_terminal_ends_no_task() {
    let grid = Grid::new();
    let Some((session, go)) = session(&grid, "trap '' HUP;") else { return };
    // Processes of a session end one by one.
    kill_process(pid(&grid, "tee"), Signal::KILL).unwrap();
    session.drop_it();
    went_on(&grid, &go);
}

#[test]
fn reader_that_goes_while_its_terminal_stays_cancels_the_task() {
    let grid = Grid::new();
    let line = "grid run -- yes 2> said | head -1 > first";
    let Some(mut session) = Session::open(&grid, line) else { return };
    assert!(process::wait_for(&mut session.0, process::HANG).is_some());
    let mut shown = String::new();
    session.0.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!((grid.lines("first"), grid.state("1").as_str()), (vec!["y".to_owned()], "CANCELLED"), "{shown}");
    assert!(grid.lines("said")[0].contains("task 1 was cancelled"), "{:?}", grid.lines("said"));
}
