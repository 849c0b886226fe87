//! Much is streamed: never whole in anybody's memory, and nobody waits behind it.

use crate::support::{Grid, process};
use std::fs;
use std::io::{Read, Write};

const SIZE: u64 = 100 << 20;

/// Bytes that no two places have alike.
fn fill(path: &std::path::Path, size: u64) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let mut state = 1u64;
    for _ in 0..size / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes()).unwrap();
    }
}

fn same(a: &std::path::Path, b: &std::path::Path) -> bool {
    let (mut a, mut b) = (fs::File::open(a).unwrap(), fs::File::open(b).unwrap());
    let (mut one, mut two) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let got = a.read(&mut one).unwrap();
        if got == 0 {
            return b.read(&mut two).unwrap() == 0;
        }
        b.read_exact(&mut two[..got]).unwrap();
        if one[..got] != two[..got] {
            return false;
        }
    }
}

/// The most memory that a process has had, in bytes.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_hundred_megabytes_go_there_and_back_in_little_memory() {
    let grid = Grid::new();
    fill(&grid.file("big"), SIZE);
    grid.grid(["config", "set", "idle_exit", "60s"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    let dispatcher = grid.dispatcher().unwrap();
    let id = grid.submit(["--send", "big", "--fetch", "copy", "--", "cp", "big", "copy"]);
    // Meanwhile others are served.
    for _ in 0..3 {
        grid.grid(["run", "--", "true"]).ok();
    }
    grid.grid(["wait", &id]).ok();
    assert!(same(&grid.file("big"), &grid.file("copy")));
    assert_eq!(grid.dispatcher(), Some(dispatcher));
    let agents = grid
        .processes()
        .into_iter()
        .filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"grid\0agent")));
    for pid in agents.chain([dispatcher]) {
        assert!(peak(pid) < 64 << 20, "process {pid} took {} MiB", peak(pid) >> 20);
    }
    process::until("nothing is left", || grid.number("select count(*) from task where state = 'RUNNING'") == 0);
}
