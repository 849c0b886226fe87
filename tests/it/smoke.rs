//! What people do first, once through: CI runs these against the binary that is shipped too (`GRID_TEST_PROGRAM`).

use crate::support::Grid;

#[test]
fn submit_wait_status_and_logs_of_one_task() {
    let grid = Grid::new();
    let id = grid.submit(["--", "sh", "-c", "echo out; echo err >&2"]);
    grid.grid(["wait", &id]).ok();
    grid.grid(["status", "--all"]).shows(&["COMPLETED"]);
    grid.grid(["logs", &id]).expect(0).shows(&["out"]).says(&["err"]);
    assert_eq!(grid.show(&id)["server"], "local");
}

#[test]
fn run_passes_output_and_exit_code_on() {
    let grid = Grid::new();
    assert_eq!(grid.grid(["run", "--", "sh", "-c", "echo out; exit 3"]).expect(3).out(), "out\n");
}

#[test]
fn members_of_an_array_see_their_index() {
    let grid = Grid::new();
    let id = grid.submit(["-a", "1-20", "--", "sh", "-c", "echo $GRID_ARRAY_INDEX"]);
    grid.grid(["wait", &id]).ok();
    let expected: Vec<String> = (1..=20).map(|index| index.to_string()).collect();
    assert_eq!(grid.grid(["logs", &id]).ok().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn added_server_gets_the_task_that_only_it_fits() {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local", "--slots", "2", "--set", "site=brno"]).ok();
    let id = grid.submit(["-C", "server.site == \"brno\"", "--", "true"]);
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.show(&id)["server"], "fast");
}

#[test]
fn explain_names_the_reason_and_cancel_ends_what_waits() {
    let grid = Grid::new();
    grid.grid(["server", "drain", "local"]).ok();
    let id = grid.submit(["--", "true"]);
    grid.grid(["explain", &id]).shows(&["local"]);
    grid.grid(["cancel", &id]).ok();
    assert_eq!(grid.state(&id), "CANCELLED");
    grid.grid(["submit", "-c", "999", "--", "true"]).expect(75);
}
