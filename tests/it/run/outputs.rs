//! `grid logs` of what has not ended, or ends while it is told.

use crate::support::{Grid, process};
use std::io::Read;

#[test]
fn logs_of_a_running_task_print_what_it_has_written() {
    let grid = Grid::new();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "echo out; echo err >&2; echo begun >> marks; read line < go; echo $line"]);
    process::until("it has begun", || grid.lines("marks") == ["begun"]);
    grid.until_state(&id, "RUNNING");
    let told = grid.grid(["logs", &id]).expect(0);
    assert_eq!((told.out(), told.err()), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(grid.grid(["logs", "--err", &id]).err(), "err\n");
    std::fs::write(grid.file("go"), "went on\n").unwrap();
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.grid(["logs", &id]).ok(), "out\nwent on");
}

#[test]
fn member_that_ends_while_another_is_printed_is_printed_whole() {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "2"]).ok();
    let gates = ["go1", "go2"].map(|name| grid.fifo(name));
    let script = "if [ $GRID_ARRAY_INDEX = 1 ]; then head -c 300000 /dev/zero; else echo of the second; fi
        echo $GRID_ARRAY_INDEX >> marks; read line < go$GRID_ARRAY_INDEX";
    let id = grid.submit(["-a", "1-2", "--", "sh", "-c", script]);
    process::until("both have begun", || grid.lines("marks").len() == 2);
    let members = [1, 2].map(|index| format!("{id}.{index}"));
    members.iter().for_each(|member| grid.until_state(member, "RUNNING"));
    let mut logs = grid.beside(["logs", "--out", &id]);
    let mut told = vec![0; 1];
    // From its first byte on it has looked who runs; the pipe holds less than what the first one wrote.
    logs.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
    std::fs::write(&gates[1], "go\n").unwrap();
    grid.grid(["wait", &members[1]]).ok();
    let done = process::finish(logs, "grid logs".to_owned()).expect(0);
    assert!(done.out().ends_with("of the second\n"), "{} bytes", done.out().len());
    std::fs::write(&gates[0], "go\n").unwrap();
    grid.grid(["wait", &id]).ok();
}
