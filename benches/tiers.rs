//! A submit through both tiers: a client, a first tier, twenty second tiers with a thousand servers each. The homes, the links and
//! the commits are real; the servers are rows with facts, so tasks are submitted held. Each figure is a process from start to end.
//!
//! `cargo bench --bench tiers`; another binary by `GRID_BIN=..`, less by `SCALE=0.1`.

#![expect(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use rusqlite::Connection;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LABS: usize = 20;
const SERVERS: f64 = 1_000.0;
/// As often as each is measured.
const TIMES: usize = 40;
/// Submits of the shell's loop.
const LOOP: u32 = 200;

fn binary() -> PathBuf {
    std::env::var_os("GRID_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_grid")), PathBuf::from)
}

fn grid(home: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(line).env("GRID_HOME", home).stdin(Stdio::null());
    command
}

fn said(home: &Path, line: &[&str]) -> String {
    let done = grid(home, line).output().expect("grid");
    assert!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A home whose servers are as many copies of this host as rows, each with a rack of its own; the last one has an attribute more.
fn lab(home: &Path, servers: u32, rare: &str) {
    said(home, &["config", "set", "stale_after", "1d"]);
    said(home, &["server", "set", "local", "--cpus", "8", "--slots", "8"]);
    said(home, &["dispatcher", "stop"]);
    let database = Connection::open(home.join("grid.db")).expect("the database");
    database
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {servers}) SELECT i FROM n;
             UPDATE host SET load1 = 0.1, idle_cpus = 8, cpus = 8;
             INSERT INTO host (machine, boot_id, hostname, os, arch, kernel, cpus, power, load1, idle_cpus, mem_total, mem_available, disk_free, read_at)
                SELECT 'sim-' || i, boot_id, 'sim-' || i, os, arch, kernel, 8, 800 + i % 100, i % 8, 8 - i % 8, mem_total, mem_available, disk_free, read_at
                FROM n, host WHERE host.id = 1;
             INSERT INTO server (name, distributor_id, engine, address, host_id, health, contacted_at, slots, declared_at)
                SELECT 'sim-' || i, s.distributor_id, 'ssh', 'sim-' || i || '.invalid', h.id, 'UP', s.contacted_at, 8, s.declared_at
                FROM n JOIN host h ON h.machine = 'sim-' || i, server s WHERE s.name = 'local';
             COMMIT;"
        ))
        .expect("rows");
    drop(database);
    said(home, &["server", "set", &format!("sim-{servers}"), "--set", rare]);
    said(home, &["server", "remove", "local"]);
    assert_eq!(
        said(home, &["sql", "SELECT count(*) AS n FROM server_view WHERE state = 'UP'"]),
        format!("n\n{servers}")
    );
}

/// The median and the worst of many.
fn times(home: &Path, options: &[&str], code: i32) -> (Duration, Duration) {
    let line = [&["submit", "-H"][..], options, &["--", "true"]].concat();
    let once = |_| {
        let begun = Instant::now();
        let done = grid(home, &line).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("grid");
        assert_eq!(done.code(), Some(code), "{line:?}");
        begun.elapsed()
    };
    once(0);
    let mut wall: Vec<Duration> = (0..TIMES).map(once).collect();
    wall.sort();
    (wall[TIMES / 2], wall[TIMES - 1])
}

/// One durable write, as the homes here do it.
fn fsync(dir: &Path) -> Duration {
    let file = File::create(dir.join("fsync")).unwrap();
    let mut all: Vec<Duration> = (0..50u8)
        .map(|n| {
            std::os::unix::fs::FileExt::write_all_at(&file, &[n; 4096], 0).unwrap();
            let begun = Instant::now();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    all.sort();
    all[25]
}

fn main() {
    let scale: f64 = std::env::var("SCALE").map_or(1.0, |text| text.parse().expect("SCALE is a number"));
    let servers = (SERVERS * scale) as u32;
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let (client, front, alone) = (at("client"), at("front"), at("alone"));
    let begun = Instant::now();
    let labs: Vec<PathBuf> = (1..=LABS).map(|n| at(&format!("lab{n}"))).collect();
    lab(&alone, servers, "rare=alone");
    said(&alone, &["dispatcher", "start"]);
    said(&front, &["distributor", "drain", "tier2"]);
    for (n, home) in labs.iter().enumerate() {
        lab(home, servers, &format!("rare=lab{}", n + 1));
        let name = format!("lab-{}", n + 1);
        said(home, &["distributor", "register", "--as", &name, "--with", front.to_str().unwrap()]);
    }
    let order: Vec<String> = (1..=LABS).map(|n| format!("lab-{n}")).collect();
    said(&front, &["distributor", "order", "--tier", "2", &order.join(",")]);
    said(&client, &["distributor", "add", "front", "--tier", "1", "--endpoint", front.to_str().unwrap()]);
    said(&client, &["distributor", "remove", "tier1"]);
    println!(
        "{LABS} second tiers with {servers} servers each, made in {:.0?}; one fsync {:.1?}",
        begun.elapsed(),
        fsync(dir.path())
    );
    println!("{:<44}{:>10}{:>10}", format!("submit, of {TIMES}"), "median", "worst");
    let last = format!("server.rare == 'lab{LABS}'");
    for (what, home, options, code) in [
        ("within one home, no tiers elsewhere", &alone, &[][..], 0),
        ("best member: the first lab can start it", &client, &[], 0),
        ("worst member: only the last lab could", &client, &["-C", &last], 0),
        ("nobody could ever run it", &client, &["-C", "server.rare == 'none'"], 75),
        ("dry run, worst member", &client, &["-n", "-C", &last], 0),
    ] {
        let (median, worst) = times(home, options, code);
        println!("{what:<44}{median:>10.1?}{worst:>10.1?}");
    }
    let begun = Instant::now();
    let script = format!(
        "i=0; while [ $i -lt {LOOP} ]; do \"$0\" submit -H --parsable -- true >/dev/null || exit 1; i=$((i + 1)); done"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(binary()).env("GRID_HOME", &client);
    assert!(shell.status().expect("sh").success());
    println!("a shell's loop of {LOOP} submits: {:.0}/s", f64::from(LOOP) / begun.elapsed().as_secs_f64());
    for home in [&client, &front, &alone].into_iter().chain(&labs) {
        said(home, &["dispatcher", "stop"]);
    }
}
