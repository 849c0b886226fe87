//! Ctrl-C, a second Ctrl-C, and a terminal that goes away.

use crate::support::Grid;
use crate::support::process::{self, HANG};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

/// `grid run` of a task that has begun and waits for a line in the FIFO `go`.
fn begun(grid: &Grid, script: &str) -> Child {
    grid.fifo("go");
    let run = grid.beside(["run", "--", "sh", "-c", script]);
    process::until("the task has begun", || grid.lines("marks") == ["begun"]);
    run
}

#[test]
fn first_ctrl_c_cancels_the_task() {
    let grid = Grid::new();
    let run = begun(&grid, "echo begun >> marks; read x < go");
    signal(&run, Signal::INT);
    let done = process::finish(run, "grid run".to_owned()).expect(130).says(&["Ctrl-C again returns at once"]);
    assert_eq!(done.status.signal(), Some(Signal::INT.as_raw()), "{done:?}");
    assert_eq!(grid.state("1"), "CANCELLED");
}

#[test]
fn ctrl_c_ends_a_loop_of_bash() {
    let grid = Grid::new();
    grid.fifo("go");
    let script = "for i in 1 2 3; do grid run -- sh -c 'echo begun >> marks; read x < go'; done; echo next";
    let mut bash = grid.command("bash");
    let bash =
        bash.args(["-c", script]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process::until("the first task has begun", || grid.lines("marks") == ["begun"]);
    // As a terminal does: to the whole group.
    kill_process_group(Pid::from_child(&bash), Signal::INT).unwrap();
    let done = process::finish(bash, "bash".to_owned()).expect(130);
    assert_eq!(done.out(), "");
    assert_eq!(grid.state("1"), "CANCELLED");
    assert_eq!(grid.lines("marks"), ["begun"]);
}

#[test]
fn ctrl_c_cancels_every_member_of_an_array() {
    let grid = Grid::new();
    grid.fifo("go");
    let run = grid.beside(["run", "-a", "0-3", "--", "sh", "-c", "echo begun >> marks; read x < go"]);
    process::until("a member has begun", || !grid.lines("marks").is_empty());
    signal(&run, Signal::INT);
    process::finish(run, "grid run".to_owned()).expect(130).says(&["task 1: "]);
    for member in ["1.0", "1.1", "1.2", "1.3"] {
        assert_eq!(grid.state(member), "CANCELLED", "{member}");
    }
}

#[test]
fn a_ctrl_c_before_the_task_is_on_the_disk_cancels_it_all_the_same() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    let mut database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let nobody_writes = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let run = grid.beside(["run", "--", "sh", "-c", "while :; do sleep 1; done"]);
    let interrupt = 1 << (Signal::INT.as_raw() - 1);
    process::until("it catches signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & interrupt != 0
    });
    signal(&run, Signal::INT);
    drop(nobody_writes);
    process::finish(run, "grid run".to_owned()).expect(130).says(&["task 2"]);
    assert_eq!(grid.state("2"), "CANCELLED");
}

#[test]
fn the_second_ctrl_c_leaves_the_task_alone() {
    let grid = Grid::new();
    // TERM does not end it, and its grace is longer than the test.
    let run =
        begun(&grid, "trap 'echo term >> marks' TERM; echo begun >> marks; while ! read x < go; do :; done; exit 6");
    signal(&run, Signal::INT);
    process::until("the cancel has reached it", || grid.lines("marks").len() > 1);
    signal(&run, Signal::INT);
    process::finish(run, "grid run".to_owned()).expect(130).says(&["task 1 is being cancelled", "grid wait 1"]);
    assert!(["RUNNING", "CANCELLED"].contains(&grid.state("1").as_str()), "{}", grid.state("1"));
}

#[test]
fn a_closed_terminal_leaves_the_task_running() {
    let grid = Grid::new();
    let mut run = begun(&grid, "echo begun >> marks; read x < go; echo $x");
    signal(&run, Signal::HUP);
    assert!(process::wait_for(&mut run, HANG).is_some(), "grid run goes with its terminal");
    grid.until_state("1", "RUNNING");
    std::fs::write(grid.file("go"), "on\n").unwrap();
    grid.grid(["wait", "1"]).ok();
    assert_eq!(grid.grid(["logs", "1"]).ok(), "on");
}

#[test]
fn a_shot_client_leaves_the_task_running() {
    let grid = Grid::new();
    let mut run = begun(&grid, "echo begun >> marks; read x < go; echo $x");
    signal(&run, Signal::KILL);
    run.wait().unwrap();
    std::fs::write(grid.file("go"), "on\n").unwrap();
    grid.grid(["wait", "1"]).ok();
    assert_eq!(grid.grid(["logs", "1"]).ok(), "on");
    assert_eq!(grid.lines("marks"), ["begun"]);
}

#[test]
fn cancel_ends_the_whole_tree() {
    let grid = Grid::new();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "sh -c 'echo $$ >> pids; read x < go' & echo $$ >> pids; wait"]);
    process::until("both have begun", || grid.lines("pids").len() == 2);
    grid.grid(["cancel", "--wait", &id]).ok();
    assert_eq!(grid.state(&id), "CANCELLED");
    for pid in grid.lines("pids") {
        let pid: i32 = pid.parse().unwrap();
        process::until("it is gone", || !process::lives(pid));
    }
}

#[test]
fn cancel_of_a_waiting_task_is_immediate() {
    let grid = Grid::new();
    let id = grid.submit(["-H", "--", "true"]);
    grid.grid(["cancel", &id]).ok();
    grid.grid(["wait", &id]).expect(130);
    assert_eq!((grid.state(&id).as_str(), &grid.show(&id)["attempts"]), ("CANCELLED", &serde_json::json!([])));
    // What has ended keeps its own end.
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["cancel", "last"]).ok();
    assert_eq!(grid.state("last"), "COMPLETED");
}
