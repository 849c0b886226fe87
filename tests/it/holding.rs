//! What is said of tasks that are held, or end by a limit.

use crate::support::{Grid, process};

#[test]
fn hold_of_a_member_leaves_other_members_unheld() {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "1"]).ok();
    grid.fifo("go");
    let held = "held until `grid release`";
    let id = grid.submit(["-a", "1-4", "--", "sh", "-c", "echo begun >> marks; read line < go"]);
    process::until("the first has begun", || grid.lines("marks").len() == 1);
    grid.grid(["hold", &format!("{id}.4")]).ok();
    let said = |member: &str| grid.show(&format!("{id}{member}"))["reason"].clone();
    assert_eq!((said(".4").as_str(), said(".3").as_str() == Some(held)), (Some(held), false));
    assert!(!grid.grid(["status"]).ok().contains(held) && !grid.grid(["explain", &id]).ok().contains(held));
    grid.grid(["logs", &format!("{id}.4")]).expect(0).says(&["HELD", held]);
    // All that waits: that is said of the task.
    grid.grid(["hold", &id]).ok();
    assert_eq!(said(".3").as_str(), Some(held));
    grid.grid(["cancel", &id]).ok();
}

#[test]
fn task_that_a_person_holds_stays_held_when_a_server_comes_that_could_run_it() {
    let grid = Grid::new();
    let submit = |options: &[&str]| {
        let line = ["submit", "--parsable", "--hold-unmatched", "-C", "server.rack == 17"];
        grid.grid(line.iter().chain(options).chain(&["--", "true"])).ok()
    };
    let [plain, at_submit, later] = [&[][..], &["-H"], &[]].map(submit);
    grid.grid(["hold", &later]).ok();
    grid.grid(["server", "set", "local", "--set", "rack=17"]).ok();
    grid.grid(["wait", &plain]).expect(0);
    for held in [&at_submit, &later] {
        assert_eq!(
            (grid.state(held).as_str(), &grid.show(held)["reason"]),
            ("HELD", &"held until `grid release`".into())
        );
        grid.grid(["release", held]).ok();
        grid.grid(["wait", held]).expect(0);
    }
    // One release is enough for both: then it waits for a server like others.
    let never = submit(&["-H", "-c", "999"]);
    grid.grid(["release", &never]).ok();
    assert_eq!(grid.state(&never), "PENDING");
    grid.grid(["cancel", &never]).ok();
}

#[test]
fn wait_for_a_held_task_prints_a_note() {
    let grid = Grid::new();
    let id = grid.submit(["-H", "--", "true"]);
    for verb in [&["wait"][..], &["logs", "-f"]] {
        let said = grid.file(verb[0]);
        let mut waiting = grid.typed(verb.iter().copied().chain([id.as_str()]));
        let mut waiting = waiting.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        process::until("it is told", || std::fs::read_to_string(&said).unwrap().contains("grid release"));
        waiting.kill().unwrap();
        waiting.wait().unwrap();
    }
}

#[test]
fn end_by_a_limit_is_shown() {
    let grid = Grid::new();
    grid.grid(["run", "-t", "1s", "--", "sleep", "1000"]).expect(124).says(&["task 1", "time limit"]);
    assert!(grid.show("1")["reason"].as_str().is_some_and(|why| why.contains("time limit")));
}

#[test]
fn verb_that_changes_nothing_of_a_named_task_exits_with_1_and_says_why() {
    let grid = Grid::new();
    let id = grid.submit(["--", "true"]);
    grid.grid(["wait", &id]).ok();
    for (verb, why) in
        [("hold", "no member waits: COMPLETED"), ("release", "is not held"), ("retry", "nothing to retry")]
    {
        grid.grid([verb, &id]).expect(1).says(&[why]);
        grid.grid([verb, "all"]).expect(0);
    }
    grid.grid(["show", &format!("{id}.3")]).expect(1).says(&["is a single task, without members"]);
    let held = grid.submit(["-H", "--", "true"]);
    grid.grid(["move", "all"]).expect(0).says(&[&format!("{held}: not moved"), "held"]);
    grid.grid(["release", &held]).ok();
    grid.grid(["wait", &held]).ok();
}

#[test]
fn end_by_a_limit_of_the_shell_is_shown() {
    let grid = Grid::new();
    let done = grid.sh("ulimit -S -t 1; grid run -- sh -c 'while :; do :; done'");
    done.expect(152).says(&["task 1: ended at its limit of processor time"]);
}

#[test]
fn server_that_is_removed_is_told_of_by_the_tasks_that_wait_for_it_alone() {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local"]).ok();
    grid.grid(["server", "drain", "fast"]).ok();
    let [waits, held] = [&["-w", "fast"][..], &["-H", "-w", "tier2/fast"]]
        .map(|options| grid.submit(options.iter().chain(&["--", "true"])));
    let other = grid.submit(["-H", "--", "true"]);
    let words = format!("fast: 2 tasks that wait name it alone (-w): {waits} {held}");
    grid.grid(["server", "remove", "fast"]).expect(0).says(&[&words, "`grid cancel"]);
    grid.grid(["cancel", &waits, &held, &other]).ok();
}
