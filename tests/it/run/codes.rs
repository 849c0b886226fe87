//! Exit codes and streams.

use crate::support::Grid;

#[test]
fn streams_stay_apart_and_the_code_is_the_tasks() {
    let grid = Grid::new();
    let done = grid.grid(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).expect(7);
    assert_eq!((done.out().as_str(), done.err().as_str()), ("out\n", "err\n"));
}
