//! Scheduling passes of the real dispatcher on a real database: it sees the waiting tasks for the first time, places what
//! fits and blocks the rest. No server answers, so nothing begins; each step's transaction is on the disk, as always.

use crate::counted::counted;
use crate::world;
use divan::Bencher;
use grid::dispatch::stepped::Stepped;
use grid::ops::submit::SubmitService;
use grid::store::{Home, Log};
use std::path::Path;
use tempfile::TempDir;

/// Tasks, classes, servers: more classes, then ten times as many tasks, then ten times as many servers.
const SIZES: [(usize, usize, i64); 5] = [
    (100_000, 10, 1_000),
    (100_000, 1_000, 1_000),
    (100_000, 100_000, 1_000),
    (1_000_000, 1_000, 1_000),
    (100_000, 1_000, 10_000),
];

/// Places until all servers are full.
#[divan::bench(sample_count = 1, sample_size = 1, args = SIZES)]
fn first_pass(bencher: Bencher, (tasks, classes, servers): (usize, usize, i64)) {
    measure(bencher, tasks, classes, servers, true);
}

/// Nothing fits anywhere: every class is compiled and looked at with every server.
#[divan::bench(sample_count = 1, sample_size = 1, args = SIZES)]
fn pass_in_vain(bencher: Bencher, (tasks, classes, servers): (usize, usize, i64)) {
    measure(bencher, tasks, classes, servers, false);
}

fn measure(bencher: Bencher, tasks: usize, classes: usize, servers: i64, fits: bool) {
    let template = tempfile::tempdir().expect("a directory");
    let (_, mut store) = world::home(&template.path().join("home"), servers);
    world::add_tasks(&mut store, tasks, classes, fits);
    store.checkpoint(Log::Goes).expect("a checkpoint");
    drop(store);
    bencher.with_inputs(|| begin(template.path())).bench_local_values(|(dir, mut dispatcher)| {
        counted(|| while dispatcher.turn().expect("a turn") {});
        // Dropped where it is not measured.
        (dir, dispatcher)
    });
}

/// A dispatcher in a copy of the home.
fn begin(template: &Path) -> (TempDir, Stepped) {
    let dir = tempfile::tempdir().expect("a directory");
    let copied = std::process::Command::new("cp").arg("-a").arg(template.join("home")).arg(dir.path()).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let home = Home::at(dir.path().join("home"));
    let begun = Stepped::begin(&home, Box::<SubmitService>::default()).expect("a dispatcher").expect("the only one");
    (dir, begun)
}
