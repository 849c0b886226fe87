//! Which members of an array failed, where its home is this one and where it is another: named, listed, printed, retried.

use crate::support::Grid;
use crate::tiers::way::three;

/// An array of a member for each line; the lines 3 and 5 fail, with these codes.
fn array(grid: &Grid) {
    let fails = "test $1 != 3 -a $1 != 5 || exit $1; echo did $1";
    let line = ["run", "-J", "build", "--each-line", "-", "--", "sh", "-c", fails, "x", "{}"];
    let done = grid.grid_with(b"1\n2\n3\n4\n5\n", line).expect(5);
    done.says(&["grid: 2 of 5 failed: 1.3 1.5 (grid logs 1.3; grid retry 1.failed)"]);
}

/// The ids of a report, with the members of its arrays.
fn ids(grid: &Grid, words: &[&str]) -> Vec<String> {
    let report = grid.grid(["status", "--json"].into_iter().chain(words.iter().copied())).json();
    let id = |task: &serde_json::Value| task["id"].as_str().unwrap().to_owned();
    let with_members = |task: &serde_json::Value| {
        let members = task["members"].as_array().cloned().unwrap_or_default();
        std::iter::once(id(task)).chain(members.iter().map(id)).collect::<Vec<_>>()
    };
    report["tasks"].as_array().unwrap().iter().flat_map(with_members).collect()
}

fn failed_members_are_found(grid: &Grid) {
    array(grid);
    assert_eq!(ids(grid, &["1"]), ["1", "1.3", "1.5"]);
    assert_eq!(ids(grid, &["build.failed"]), ["1.3", "1.5"]);
    assert_eq!(ids(grid, &["1.2-3,1.5"]), ["1.2", "1.3", "1.5"]);
    grid.grid(["status", "1"]).shows(&["exit 5", "x 3"]);
    grid.grid(["show", "1"]).shows(&["failed       1.3 1.5"]);
    grid.grid(["explain", "build.failed"]).expect(2).says(&["takes one task"]);
    let member = grid.show("1.3");
    assert_eq!((&member["index"], &member["line"]), (&serde_json::json!(3), &serde_json::json!("3")));
    assert!(member["command"].as_str().unwrap().ends_with("x 3"), "{member}");
    grid.grid(["retry", "1.failed"]).shows(&["retried 2: 1.3 1.5"]);
    grid.grid(["wait", "1"]).expect(5).says(&["2 of 5 failed: 1.3 1.5"]);
    assert_eq!(grid.show("1.3")["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(grid.grid(["logs", "--tag", "1"]).ok(), "1.1: did 1\n1.2: did 2\n1.4: did 4");
}

#[test]
fn failed_members_are_named_listed_and_retried() {
    let grid = Grid::new();
    failed_members_are_found(&grid);
    assert_eq!(ids(&grid, &["--members", "1"]), ["1", "1.1", "1.2", "1.3", "1.4", "1.5"]);
    assert_eq!(grid.sql("select line from member_view where task = 1 and idx = 3")[0]["line"], "3");
    // Members that never had an attempt are members too.
    let held = grid.submit(["-H", "-a", "1-3", "--", "true"]);
    assert_eq!(
        ids(&grid, &["--members", &held]),
        [held.clone(), format!("{held}.1"), format!("{held}.2"), format!("{held}.3")]
    );
    let more = format!("and 1 more of the members of {held}: grid status --members --all {held}");
    grid.grid(["status", "--members", "--limit", "2", &held]).shows(&[&more]);
    grid.grid(["status", &format!("{held}.failed")]).expect(1).says(&["no member of", "has failed"]);
}

#[test]
fn failed_members_of_a_task_elsewhere_are_named_listed_and_retried() {
    let (client, _front, lab) = three();
    failed_members_are_found(&client);
    assert_eq!(lab.tasks(), 5);
}

#[test]
fn logs_of_several_tasks_are_told_apart() {
    let grid = Grid::new();
    grid.grid(["run", "--", "seq", "4"]).ok();
    grid.grid(["run", "--", "sh", "-c", "echo other; echo wrong >&2"]).ok();
    // A single task that failed has no members to leave out.
    let failed = grid.submit(["--", "false"]);
    grid.grid(["wait", &failed]).expect(1);
    assert!(!grid.grid(["status", &failed]).ok().contains("more of the members"));
    grid.grid(["remove", &failed]).ok();
    let done = grid.grid(["logs", "--tag", "1", "2"]);
    assert_eq!(done.ok(), "1: 1\n1: 2\n1: 3\n1: 4\n2: other");
    assert_eq!(grid.grid(["logs", "--tag", "1", "2"]).err().trim_end(), "2: wrong");
    assert_eq!(grid.grid(["logs", "-n", "2", "1,2"]).ok(), "3\n4\nother");
    // The outputs of one do not hide the error of another.
    let held = grid.submit(["-H", "--", "true"]);
    grid.grid(["logs", "1", &held]).shows(&["4"]).says(&["it never started"]);
    grid.grid(["logs", "-f", "1", "2"]).expect(2).says(&["follows one task"]);
}

#[test]
fn lines_run_so_many_at_once() {
    let grid = Grid::new();
    // Two that run at once would meet in the directory.
    let alone = "mkdir busy && sleep 0.1 && rmdir busy";
    grid.grid_with(b"a\nb\nc\n", ["run", "-c", "1", "-j", "1", "--each-line", "-", "--", "sh", "-c", alone, "x", "{}"])
        .expect(0);
    assert_eq!(grid.number("select at_once n from task where id = 1"), 1);
    grid.grid(["submit", "-j0", "-a", "1-3", "--", "true"]).ok();
    assert_eq!(grid.number("select count(*) n from task where id = 2 and at_once is null"), 1);
    grid.grid(["submit", "-j", "2", "--", "true"]).expect(2).says(&["-j: a single task has no members"]);
    grid.grid(["submit", "-j", "2", "-a", "1-3%2", "--", "true"]).expect(2).says(&["-j and %2"]);
    grid.grid(["submit", "-J", "4", "-a", "1-3", "--", "true"]).expect(0).says(&["-j 4 runs 4 members at once"]);
}

#[test]
fn escapes_of_a_task_reach_a_pipe_and_no_terminal() {
    let grid = Grid::new();
    let hostile = "\x1b]0;title\x07\x1b]52;c;cm0=\x07\x1b[2J\x1b[31mred\x1b[0m end";
    grid.grid(["run", "--", "printf", "%s", hostile]).ok();
    assert_eq!(grid.grid(["logs", "1"]).out(), hostile);
    let options = rexpect::reader::Options::new().timeout_ms(Some(60_000));
    let mut terminal = rexpect::session::spawn_with_options(grid.typed(["logs", "1"]), options).unwrap();
    assert_eq!(terminal.exp_eof().unwrap(), "\x1b[31mred\x1b[0m end");
}
