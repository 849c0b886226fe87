//! What people read, as it looks: reports and errors of a real home, in a pipe. What differs from run to run is replaced by a word.

use crate::support::{Done, Grid, process};
use regex::Regex;
use rusqlite::Connection;

/// A home on a host whose variables do not matter.
fn home() -> Grid {
    let mut grid = Grid::new();
    grid.set_env("LANG", "C.UTF-8");
    // Whether a dispatcher runs must not depend on how fast this host is.
    grid.grid(["config", "set", "idle_exit", "1h"]).ok();
    grid
}

/// The command lines as they were typed, what each printed, and its exit code.
fn session(grid: &Grid, lines: &[&str]) -> String {
    lines.iter().map(|line| told(grid, line, &grid.sh(line))).collect::<Vec<_>>().join("\n")
}

fn told(grid: &Grid, line: &str, done: &Done) -> String {
    let end = if done.code() == 0 { String::new() } else { format!("exit code {}\n", done.code()) };
    constant(grid, &format!("$ {line}\n{}{}{end}", done.out(), done.err()))
}

/// The text with times, paths, ids and names of this run replaced.
fn constant(grid: &Grid, text: &str) -> String {
    let dir = grid.home().parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    let uname = rustix::system::uname();
    let host = regex::escape(&uname.nodename().to_string_lossy());
    let user = grid.grid(["sql", "select name from user order by id limit 1"]).out();
    let user = regex::escape(user.lines().last().unwrap_or("nobody").trim());
    let rules = [
        (regex::escape(&dir), "DIR"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}".to_owned(), "UUID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d".to_owned(), "DATE"),
        (r"\b\d+(\.\d+)? ?(ms|s)\b( ago)?".to_owned(), "TIME"),
        (r"\b\d+(\.\d+)?[KMGT]\b".to_owned(), "SIZE"),
        (r"\bpid \d+".to_owned(), "pid PID"),
        (r"\b3\.\d+\.\d+\b".to_owned(), "VERSION"),
        (r"\b\d+\.\d\d\b".to_owned(), "SCORE"),
        (r"\d+ of \d+ (is|are) free".to_owned(), "N of N are free"),
        (r"with -c \d+".to_owned(), "with -c N"),
        (r"environment .*".to_owned(), "environment  NAMES"),
        (r"PATH  +/.*".to_owned(), "PATH  PATHS"),
        (format!(r"\b{host}\b"), "HOST"),
        (format!(r"\b{user}\b"), "USER"),
        // Columns are as wide as what was replaced.
        (r" {2,}".to_owned(), "  "),
        (r" +\n".to_owned(), "\n"),
    ];
    rules
        .iter()
        .fold(text.to_owned(), |text, (rule, word)| Regex::new(rule).unwrap().replace_all(&text, *word).into_owned())
}

/// One task of each kind: completed, failed, held, an array, waiting.
fn with_tasks() -> Grid {
    let grid = home();
    grid.grid(["run", "--", "sh", "-c", "echo out"]).ok();
    grid.grid(["run", "--", "sh", "-c", "exit 3"]).expect(3);
    grid.grid(["submit", "--hold", "-J", "held", "--", "make"]).ok();
    grid.grid(["run", "-a", "1-3", "--", "true"]).ok();
    grid.grid(["server", "drain", "local", "--reason", "fan is loud"]).ok();
    let waiting = grid.submit(["--", "true"]);
    // The dispatcher explains a moment after the submit.
    process::until("its reason is known", || {
        grid.show(&waiting)["reason"].as_str().is_some_and(|reason| reason.contains("fan is loud"))
    });
    grid
}

#[test]
fn status_lists_every_kind_of_task() {
    insta::assert_snapshot!(session(&with_tasks(), &["grid status", "grid status 99"]));
}

#[test]
fn show_has_one_line_an_attribute() {
    insta::assert_snapshot!(session(&with_tasks(), &["grid show 1", "grid show 2", "grid show 4", "grid show 5"]));
}

#[test]
fn explain_says_why_a_task_runs_waits_or_is_refused() {
    let grid = with_tasks();
    let lines = [
        "grid explain 1",
        "grid explain 5",
        "grid explain 3",
        "grid submit -n -c 64 -- ./big",
        "grid submit -n -w nosuch -- ./job",
    ];
    insta::assert_snapshot!(session(&grid, &lines));
}

#[test]
fn doctor_checks_this_home() {
    let grid = home();
    grid.grid(["run", "--", "true"]).ok();
    let text = session(&grid, &["grid doctor"]);
    // What the host is like, not the home.
    let of_host = ["file system", "logout", "processes", "open files", "disk", "clock"];
    let kept = text.lines().filter(|line| !of_host.iter().any(|check| line.split("  ").nth(1) == Some(check)));
    insta::assert_snapshot!(kept.collect::<Vec<_>>().join("\n"));
}

#[test]
fn error_of_each_kind_says_what_happened_and_what_to_do() {
    let grid = home();
    let mut text = session(
        &grid,
        &[
            "grid show 99",
            "grid server show locla",
            "grid submit -c 0 -- true",
            "grid submit --gpus 1 -- true",
            "grid sumbit -- true",
            "grid config set idle_exit soon",
            "grid submit -c 64 -- ./big",
            "touch there; grid backup there",
            "grid restore nosuch",
            "grid config list > /dev/full",
        ],
    );
    std::fs::create_dir(grid.home().join("run/refresh.lock")).unwrap();
    text.push('\n');
    text += &session(&grid, &["grid refresh"]);
    insta::assert_snapshot!(text);
}

#[test]
fn error_of_another_home_names_it() {
    let grid = home();
    let lab = grid.home().with_file_name("lab");
    grid.sh(&format!("GRID_HOME={} grid config set idle_exit 2s", lab.display())).ok();
    grid.grid(["distributor", "add", "lab", "--tier", "2", "--endpoint", &lab.display().to_string()]).ok();
    grid.grid(["distributor", "drain", "tier2"]).ok();
    grid.grid(["user", "add", "bob"]).ok();
    insta::assert_snapshot!(session(&grid, &["grid submit --user bob -- true"]));
    grid.sh(&format!("GRID_HOME={} grid dispatcher stop", lab.display()));
}

#[test]
fn error_of_the_database_names_the_file() {
    let grid = home();
    grid.grid(["dispatcher", "stop"]);
    let database = grid.home().join("grid.db");
    let version: i64 =
        Connection::open(&database).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let set = |version| Connection::open(&database).unwrap().pragma_update(None, "user_version", version).unwrap();
    set(9999);
    let done = grid.sh("grid status");
    let text = format!("$ grid status\n{}{}exit code {}\n", done.out(), done.err(), done.code());
    set(version);
    let dir = grid.home().parent().unwrap().display().to_string();
    let text = Regex::new(r"version \d+|\b\d{2,3}\b").unwrap().replace_all(&text, "VERSION").replace(&dir, "DIR");
    insta::assert_snapshot!(text);
}

#[test]
fn exit_code_of_a_task_comes_with_the_reason() {
    let grid = home();
    std::fs::write(grid.file("data"), "no program").unwrap();
    let lines = [
        "grid run -- sh -c 'exit 3'",
        "grid run -- nosuch-program",
        "grid run -- ./data",
        "grid run -t 1s -- sleep 60",
        "grid run -- sh -c 'kill -9 $$'",
        "id=$(grid submit --parsable --hold -- true); grid cancel $id; grid wait $id",
    ];
    insta::assert_snapshot!(session(&grid, &lines));
}
