//! A home that has seen a million tasks, with 100,000 waiting: the same commands as in an empty one.

use crate::program::{said, times};
use rusqlite::Connection;
use std::path::Path;

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

/// The table, as Markdown.
pub fn table(dir: &Path, ended: u64, waiting: u64) -> String {
    let (empty, full) = (dir.join("empty"), dir.join("full"));
    founded(&empty);
    founded(&full);
    fill(&full, ended, waiting);
    let size = std::fs::metadata(full.join("grid.db")).expect("the database").len() >> 20;
    let middle = (ended / 2).to_string();
    let mut lines = vec![
        format!(
            "| {ended} ended and {waiting} waiting tasks, {size} MiB | empty home | full home | ratio | worst | CPU empty | CPU full |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
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
        lines.push(format!(
            "| `{what}` | {:.1?} | {:.1?} | {ratio:.2} | {worst:.1?} | {:.1?} | {:.1?} |",
            a.median, b.median, cpu.0, cpu.1
        ));
    }
    for home in [&empty, &full] {
        said(home, &["dispatcher", "stop"]);
    }
    lines.join("\n")
}
