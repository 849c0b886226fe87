//! How a home feels that has seen a million tasks: submit, show and status against those of an empty home, and the storm of
//! two hundred shells into a home that does not exist yet. The real program, each figure a process from start to end.
//!
//! `cargo bench --bench scale`; another binary by `GRID_BIN=..`, less by `SCALE=0.1`.

#![expect(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// As often as each is measured.
const TIMES: usize = 40;
const SHELLS: usize = 200;

fn grid(home: &Path, line: &[&str]) -> Command {
    let binary = std::env::var_os("GRID_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_grid")), PathBuf::from);
    let mut command = Command::new(binary);
    command.args(line).env("GRID_HOME", home).stdin(Stdio::null());
    command
}

fn said(home: &Path, line: &[&str]) -> String {
    let done = grid(home, line).output().expect("grid");
    assert!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A home in which nothing can start, so that what waits stays: one of it lies there, and one that has ended.
fn founded(home: &Path) {
    said(home, &["run", "--", "true"]);
    said(home, &["server", "drain", "local"]);
    said(home, &["submit", "--", "true"]);
}

/// As many ended and waiting tasks as the tables would hold after a long life, all by the home's own rows.
fn fill(home: &Path, ended: u64, waiting: u64) {
    said(home, &["dispatcher", "stop"]);
    let database = Connection::open(home.join("grid.db")).expect("the database");
    let copied = "user_id, argv, shown, cwd, env, shape, first, step, size, rest_next, submitted_at, tier1, tier2, search, verdict, verdict_at";
    let from = copied.split(", ").map(|column| format!("t.{column}")).collect::<Vec<_>>().join(", ");
    database
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; BEGIN IMMEDIATE;
             CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ended}) SELECT i FROM n;
             INSERT INTO task (uuid, class_id, {copied}, rest, rest_state, completed, failed, exit_code, shell_code, started_at, ended_at)
                SELECT randomblob(16), t.class_id, {from}, 0, 'WAITING', i % 10 > 0, i % 10 = 0, i % 10 = 0, i % 10 = 0, t.submitted_at, t.submitted_at + i % 1000
                FROM n, task t WHERE t.id = 1;
             INSERT INTO member (task_id, idx, state, number, server_id, host_id, started_at, ended_at, exit_code, out_len, err_len)
                SELECT t.id, 0, iif(t.completed > 0, 'COMPLETED', 'FAILED'), 1, 1, 1, t.started_at, t.ended_at, t.exit_code, 0, 0
                FROM task t WHERE t.id > 2;
             INSERT INTO class (distributor_id, user_id, client_id, demand, priority)
                SELECT distributor_id, user_id, client_id, json_set(demand, '$.name', 'class ' || i), 0 FROM n, class WHERE class.id = (SELECT class_id FROM task WHERE id = 2) AND i < 1000;
             INSERT INTO task (uuid, class_id, {copied}, rest, rest_state, waiting)
                SELECT randomblob(16), (SELECT max(id) FROM class) - i % 1000, {from}, 1, 'WAITING', 1 FROM n, task t WHERE t.id = 2 AND i <= {waiting};
             COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .expect("rows");
    assert_eq!(database.query_row("PRAGMA quick_check", [], |row| row.get(0)), Ok("ok".to_owned()));
    drop(database);
    // The dispatcher has seen them all before anything is measured.
    said(home, &["dispatcher", "start"]);
    said(home, &["status"]);
}

/// From start to end: the median and the worst of many, and the median of the processor time alone, which a busy machine
/// lengthens less.
struct Times {
    median: Duration,
    worst: Duration,
    cpu: Duration,
}

fn times(home: &Path, line: &[&str]) -> Times {
    let once = |_| {
        let begun = Instant::now();
        let mut child = grid(home, line).stdout(Stdio::null()).spawn().expect("grid");
        let done = child.wait4().expect("its end");
        assert!(done.status.success(), "{line:?}");
        (begun.elapsed(), done.rusage.utime + done.rusage.stime)
    };
    let (mut wall, mut cpu): (Vec<Duration>, Vec<Duration>) = (0..TIMES).map(once).unzip();
    wall.sort();
    cpu.sort();
    Times { median: wall[TIMES / 2], worst: wall[TIMES - 1], cpu: cpu[TIMES / 2] }
}

/// Two hundred shells at once; the slowest submit of the round.
fn storm(home: &Path) -> Duration {
    let ids = home.with_extension("ids");
    let line = "read go; s=$(date +%s%N); \"$0\" submit --parsable -- true >> \"$1\" && echo $(($(date +%s%N) - s))";
    let mut shells: Vec<_> = (0..SHELLS)
        .map(|_| {
            let program = grid(home, &[]).get_program().to_owned();
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).arg(program).arg(&ids).env("GRID_HOME", home);
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh")
        })
        .collect();
    shells.iter_mut().for_each(|shell| drop(shell.stdin.take()));
    let took = shells.into_iter().map(|shell| {
        let done = shell.wait_with_output().expect("sh");
        Duration::from_nanos(String::from_utf8_lossy(&done.stdout).trim().parse().expect("a submit failed"))
    });
    let worst = took.max().unwrap();
    let mut ids: Vec<String> = std::fs::read_to_string(ids).unwrap().lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), SHELLS);
    said(home, &["wait", "all"]);
    assert_eq!(said(home, &["sql", "SELECT completed AS n FROM tally"]), format!("n\n{SHELLS}"));
    worst
}

fn main() {
    let scale: f64 = std::env::var("SCALE").map_or(1.0, |text| text.parse().expect("SCALE is a number"));
    let count = |all: f64| (all * scale) as u64;
    let dir = tempfile::tempdir().expect("a directory");
    let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
    founded(&empty);
    founded(&full);
    let begun = Instant::now();
    fill(&full, count(1e6), count(1e5));
    let size = std::fs::metadata(full.join("grid.db")).unwrap().len() >> 20;
    println!("{} ended and {} waiting tasks, {size} MiB, made in {:.0?}", count(1e6), count(1e5), begun.elapsed());
    let head = ["empty", "full", "ratio", "worst", "cpu empty", "cpu full"].map(|word| format!("{word:>10}")).join("");
    println!("{:<16}{head}", "median of 40");
    let middle = (count(1e6) / 2).to_string();
    for (what, in_empty, in_full) in [
        ("submit -- true", vec!["submit", "--", "true"], vec!["submit", "--", "true"]),
        ("show ID", vec!["show", "1"], vec!["show", &middle]),
        ("show last --json", vec!["show", "last", "--json"], vec!["show", "last", "--json"]),
        ("explain ID", vec!["explain", "2"], vec!["explain", "last"]),
        ("status", vec!["status"], vec!["status"]),
        ("status --json", vec!["status", "--json", "--limit", "20"], vec!["status", "--json", "--limit", "20"]),
        ("server list", vec!["server", "list"], vec!["server", "list"]),
    ] {
        let (a, b) = (times(&empty, &in_empty), times(&full, &in_full));
        let ratio = b.median.as_secs_f64() / a.median.as_secs_f64();
        let (worst, cpu) = (b.worst, (a.cpu, b.cpu));
        println!(
            "{what:<16}{:>10.1?}{:>10.1?}{ratio:>10.2}{worst:>10.1?}{:>10.1?}{:>10.1?}",
            a.median, b.median, cpu.0, cpu.1
        );
    }
    for home in [&empty, &full] {
        said(home, &["dispatcher", "stop"]);
    }
    let mut worst: Vec<Duration> = (1..=3)
        .map(|round| {
            let home = dir.path().join(format!("storm{round}"));
            let worst = storm(&home);
            said(&home, &["dispatcher", "stop"]);
            worst
        })
        .collect();
    worst.sort();
    println!(
        "{SHELLS} shells at once into a new home, worst submit of each round: {worst:.0?}, median {:.0?}",
        worst[1]
    );
}
