//! Bad input gets a clear error and loses nothing: what was there before is there after, and works.

mod arguments;
mod disks;
mod expressions;
mod homes;
mod names;
mod options;

use crate::support::{Done, Grid};
use std::ffi::OsStr;

/// A grid with one ended and one held task, and what its database held then.
struct Kept {
    grid: Grid,
    rows: Vec<serde_json::Value>,
}

/// Everything that a wrong command could have left behind.
const ROWS: &str = "SELECT (SELECT count(*) FROM task) AS tasks, (SELECT count(*) FROM server) AS servers,
    (SELECT count(*) FROM user) AS users, (SELECT count(*) FROM profile) AS profiles,
    (SELECT count(*) FROM client) AS clients, (SELECT count(*) FROM distributor) AS distributors,
    (SELECT count(*) FROM attribute) AS attributes, (SELECT count(*) FROM setting) AS settings";

impl Kept {
    fn new() -> Self {
        let grid = Grid::new();
        grid.grid(["run", "--", "true"]).ok();
        grid.submit(["-H", "--", "echo", "still here"]);
        let rows = grid.sql(ROWS);
        Self { grid, rows }
    }

    /// Refused with this code and these words, on stderr alone, in few lines, without a word of Rust's.
    #[track_caller]
    fn refuses<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, code: i32, words: &[&str]) -> Done {
        let done = self.grid.grid(arguments).expect(code).says(words);
        assert_eq!(done.out(), "", "a complaint is no data: {done:?}");
        assert!(done.err().starts_with("grid: "), "{done:?}");
        assert!(!done.err().contains("panicked"), "{done:?}");
        assert!(done.err().lines().count() <= 8, "{done:?}");
        done
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.grid.sql(ROWS), self.rows, "a refused command left something behind, or took it away");
        self.grid.grid(["release", "2"]).ok();
        self.grid.grid(["wait", "2"]).ok();
        assert_eq!(self.grid.grid(["logs", "2"]).ok(), "still here");
    }
}
