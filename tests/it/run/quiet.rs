//! What a command leaves alone: the caller's stdin, pipes and descriptors.

use crate::support::{Grid, process};
use std::process::Stdio;

#[test]
fn a_submit_in_backquotes_returns_at_once() {
    let grid = Grid::new();
    grid.fifo("go");
    // Were stdout of the shell's pipe held by dispatcher, agent, supervisor or task, this would not return.
    let id = grid.sh("id=$(grid submit --parsable -- sh -c 'read x < go'); echo got $id").ok();
    assert_eq!(id, "got 1");
    std::fs::write(grid.file("go"), "\n").unwrap();
    grid.grid(["wait", "1"]).ok();
}

#[test]
fn started_processes_hold_no_descriptor_of_the_caller() {
    let grid = Grid::new();
    grid.fifo("go");
    // A lock on descriptor 9 that a process of ours would keep if it inherited it.
    let script = "exec 9> lock; flock 9; grid submit -- sh -c 'echo begun >> marks; read x < go'";
    grid.sh(script).ok();
    process::until("the task has begun", || grid.lines("marks") == ["begun"]);
    let free = grid.sh("flock -n lock true");
    assert_eq!(free.code(), 0, "somebody holds the caller's lock: {free:?}");
    std::fs::write(grid.file("go"), "\n").unwrap();
    grid.grid(["wait", "1"]).ok();
}

#[test]
fn a_task_may_run_on_all_processors_whoever_typed_the_first_command() {
    let show = "awk '/^Cpus_allowed_list:/ { print $2 }' /proc/self/status";
    let all = Grid::bare().sh(&format!("taskset -c 0-1023 {show}")).ok();
    let first: String = all.chars().take_while(char::is_ascii_digit).collect();
    for by in [String::new(), format!("taskset -c {first} nice -n 5 ")] {
        let grid = Grid::new();
        grid.grid(["dispatcher", "stop"]).expect(0);
        // By a submit that finds nothing up, with what it started beforehand, and by one that finds all up.
        assert_eq!(grid.sh(&format!("{by}grid run -- {show}; grid run -- {show}")).ok(), format!("{all}\n{all}"));
        if rustix::process::getuid().is_root() {
            assert_eq!(grid.grid(["run", "--", "nice"]).ok(), "0", "only root may take it back");
        }
    }
}

#[test]
fn loop_that_reads_stdin_keeps_its_input() {
    let grid = Grid::new();
    let script =
        r#"printf 'a\nb\nc\n' | while read name; do grid submit --parsable -- echo $name; grid run -- true; done"#;
    assert_eq!(grid.sh(script).ok(), "1\n3\n5");
    grid.grid(["wait", "1", "3", "5"]).ok();
    assert_eq!(grid.grid(["logs", "5"]).ok(), "c");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let grid = Grid::new();
    for line in ["grid status --json", "grid server list", "grid sql 'select * from task_view'", "grid --help"] {
        let done = grid.sh(&format!("{line} | true"));
        assert_eq!((done.code(), done.err().as_str()), (0, ""), "{line}: {done:?}");
    }
    // As `cat` does: what stands behind it in a script with `set -o pipefail` hears of it.
    for line in ["sql --schema", "server list"] {
        // Its reader has gone before it begins.
        let (_, closed) = std::io::pipe().unwrap();
        let filter = grid.typed(line.split(' ')).stdin(Stdio::null()).stdout(closed).spawn().expect("grid");
        process::finish(filter, line.to_owned()).expect(141);
    }
}

#[test]
fn write_to_a_full_device_is_an_error() {
    let grid = Grid::new();
    grid.sh("grid status > /dev/full").expect(1).says(&["No space left"]);
    grid.sh("grid run -- echo hi > /dev/full").expect(125).says(&["No space left"]);
}

#[test]
fn change_is_reported_on_stderr_if_stdout_can_not_be_written() {
    let grid = Grid::new();
    let full = |line: &str| grid.sh(&format!("grid {line} > /dev/full"));
    let unsaid = "could not be written to stdout: No space left on device\n";
    for (line, said) in [
        ("submit -H -- true", "task 1 is queued; its id "),
        ("submit --parsable -H -- true", "task 2 is queued; its id "),
        ("submit --json -H --each-line /dev/stdin -- true < /etc/hostname", "task 3 is queued; its id "),
        ("release --json 1", "released: 1; the report "),
        ("cancel --json 2 3", "cancel asked: 2 3; the report "),
        ("retry --json 2", "retried: 2; the report "),
        ("gc", "what was old is removed; the sums "),
        ("distributor order --tier 2 tier2", "the order is set; it "),
    ] {
        let done = full(line).expect(1);
        assert!(done.err().ends_with(&format!("grid: {said}{unsaid}")), "{done:?}");
    }
    assert_eq!(full("submit --wait -H -- true").expect(125).err(), format!("grid: task 4 is queued; its id {unsaid}"));
    assert_eq!(grid.number("select count(*) from task_view"), 4);
    // Where nothing was changed the output alone is told, and where nothing is written nothing can fail.
    full("cancel --json 3").expect(1).says(&["output: No space left"]);
    full("config set idle_exit 3s").expect(0);
    // A reader that has gone hears no id either.
    grid.sh("grid submit -H -- true | true").says(&["task 5 is queued; its id could not be written to stdout"]);
}
