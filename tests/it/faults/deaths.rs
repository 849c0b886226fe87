//! kill -9 at every named point of a task's life, and of each process while a task runs.

use crate::support::{Grid, process};
use grid::model::failpoint::POINTS;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Write;
use std::path::Path;

/// Shoots whatever reaches a point first, then looks what became of the tasks.
fn shoot_at(point: &str, passage: u32) {
    let mut grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let once = grid.file("shot");
    grid.set_env("GRID_FAILPOINT", &format!("{point}:{passage}"));
    grid.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    let mark = "echo $GRID_TASK_ID.${GRID_ARRAY_INDEX:-0} >> marks; test $GRID_TASK_ID != 2 || exit 3";
    let mut acknowledged = Vec::new();
    for members in [None, None, Some("1-6")] {
        let mut arguments = vec!["submit", "--parsable"];
        arguments.extend(members.iter().flat_map(|m| ["--array", m]));
        if point.starts_with("client") {
            // The command looks names up by itself, and then it writes by itself.
            arguments.extend(["--on", "local"]);
        }
        arguments.extend(["--", "sh", "-c", mark]);
        let done = grid.grid(arguments);
        match done.code() {
            0 => acknowledged.push(done.ok()),
            137 => assert!(point.starts_with("client"), "{done:?}"),
            _ => panic!("{point}: {done:?}"),
        }
    }
    let waited = grid.grid(["wait", "1-3"]);
    let certain = passage == 1 && (point.starts_with("client") || point.starts_with("dispatcher"));
    assert!(once.exists() || !certain, "{point} was not passed");
    let lost = grid.number("select count(*) from member where state = 'LOST'");
    assert!(lost <= i64::from(point.starts_with("supervisor")), "{point}:{passage}: {lost} lost");
    if lost == 0 {
        assert_eq!(waited.code(), 3, "{point}:{passage}: the highest code is that of task 2: {waited:?}");
    }
    let marks = grid.lines("marks");
    for row in grid.sql("select task, idx, state, exit_code from member_view order by task, idx") {
        let member = format!("{}.{}", row["task"], row["idx"]);
        let runs = marks.iter().filter(|mark| **mark == member).count();
        match row["state"].as_str().unwrap() {
            "COMPLETED" => assert_eq!((runs, &row["exit_code"]), (1, &Value::from(0)), "{point}:{passage}: {member}"),
            "FAILED" => assert_eq!((runs, &row["exit_code"]), (1, &Value::from(3)), "{point}:{passage}: {member}"),
            "LOST" => assert!(runs <= 1, "{point}:{passage}: {member} ran {runs} times"),
            other => panic!("{point}:{passage}: {member} is {other}"),
        }
    }
    for id in acknowledged {
        let members = if id == "3" { 6 } else { 1 };
        let ended = grid.number(&format!("select count(*) from member where task_id = {id}"));
        assert_eq!(ended, members, "{point}:{passage}: task {id}");
    }
    let held = grid.number("select sum(taken_slots + taken_cpus + taken_mem) from server");
    assert_eq!(held, 0, "{point}:{passage}: nothing is held when all has ended");
}

#[test]
fn crash_at_any_fail_point_loses_and_doubles_no_task() {
    // Those between homes have a test of their own.
    for point in POINTS.iter().filter(|point| !point.starts_with("way-")) {
        shoot_at(point, 1);
    }
}

#[test]
fn crash_at_a_later_passage_of_a_fail_point_loses_and_doubles_no_task() {
    // Those between homes have a test of their own.
    for point in POINTS.iter().filter(|point| !point.starts_with("way-")) {
        shoot_at(point, 3);
    }
}

/// Children of a process whose command line begins so.
pub(super) fn pids(home: &Path, word: &str) -> Vec<i32> {
    let home = home.display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with(&format!("grid {word} ")) && line.contains(&home)
    })
    .collect()
}

fn shoot(grid: &Grid, words: &[&str]) {
    let all: Vec<i32> = words.iter().flat_map(|word| pids(grid.home(), word)).collect();
    assert!(!all.is_empty(), "nothing to shoot: {words:?}");
    for pid in all.into_iter().filter_map(Pid::from_raw) {
        kill_process(pid, Signal::KILL).unwrap();
        process::wait_pid_gone(pid, process::HANG);
    }
}

/// A task that runs until the test lets it go, and then ends with 5.
fn held_task(grid: &Grid) -> String {
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "echo begun >> marks; read line < go; echo $line; exit 5"]);
    process::until("the task has begun", || grid.lines("marks") == ["begun"]);
    grid.until_state(&id, "RUNNING");
    id
}

fn let_go(grid: &Grid) {
    std::fs::write(grid.file("go"), "gone\n").unwrap();
}

#[test]
fn a_task_outlives_dispatcher_and_agent() {
    for shot in [&["dispatcher"][..], &["agent"], &["dispatcher", "agent"]] {
        let grid = Grid::new();
        let id = held_task(&grid);
        shoot(&grid, shot);
        assert_eq!(grid.state(&id), "RUNNING", "{shot:?}");
        let_go(&grid);
        grid.grid(["wait", &id]).expect(5);
        assert_eq!(grid.grid(["logs", &id]).ok(), "gone", "{shot:?}");
        let shown = grid.show(&id);
        assert_eq!(
            shown["ended_at"], shown["attempts"][0]["ended_at"],
            "it ended when it did, not when it was heard: {shown}"
        );
        assert_eq!(grid.lines("marks"), ["begun"], "{shot:?}");
    }
}

#[test]
fn a_command_without_its_supervisor_runs_on_and_ends_lost() {
    let grid = Grid::new();
    let id = held_task(&grid);
    shoot(&grid, &["supervise"]);
    process::until("it is known to be without supervisor", || {
        grid.number(&format!("select orphaned from member where task_id = {id}")) == 1
    });
    assert_eq!(grid.state(&id), "RUNNING");
    let_go(&grid);
    grid.grid(["wait", &id]).expect(125);
    assert_eq!(grid.state(&id), "LOST");
    assert_eq!(grid.lines("marks"), ["begun"]);
}

#[test]
fn a_command_without_its_supervisor_can_be_cancelled() {
    let grid = Grid::new();
    let id = held_task(&grid);
    shoot(&grid, &["supervise"]);
    grid.grid(["cancel", &id]).expect(0);
    let code = grid.grid(["wait", &id]).code();
    assert!([125, 130].contains(&code), "ended by us: {code}");
    assert_eq!(grid.lines("marks"), ["begun"]);
}

#[test]
fn running_task_is_lost_after_a_reboot_and_retried_only_if_asked() {
    for again in [false, true] {
        let mut grid = Grid::new();
        grid.fifo("go");
        let mut arguments = vec!["submit", "--parsable"];
        arguments.extend(again.then_some("--retry-lost"));
        arguments.extend(["--", "sh", "-c", "echo $GRID_ATTEMPT >> marks; test $GRID_ATTEMPT != 1 || read line < go"]);
        let id = grid.grid(arguments).ok();
        process::until("the task has begun", || !grid.lines("marks").is_empty());
        grid.until_state(&id, "RUNNING");
        shoot(&grid, &["dispatcher", "agent", "supervise"]);
        for pid in grid.processes().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
            process::wait_pid_gone(pid, process::HANG);
        }
        grid.set_env("GRID_TEST_BOOT_ID", "another-boot");
        grid.grid(["wait", &id]).expect(if again { 0 } else { 125 });
        assert_eq!(grid.state(&id), if again { "COMPLETED" } else { "LOST" });
        assert_eq!(grid.lines("marks").len(), if again { 2 } else { 1 });
    }
}

#[test]
fn start_in_flight_at_a_reboot_of_the_host_is_not_sent_again() {
    let mut grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    grid.set_env("GRID_FAILPOINT", "client-committed");
    grid.grid(["submit", "--on", "local", "--", "sh", "-c", "echo begun >> marks"]).expect(137);
    grid.set_env("GRID_FAILPOINT", "dispatcher-marked-sent");
    let home = grid.home().to_str().unwrap().to_owned();
    let shot = grid.beside(["dispatcher", "serve", "--home", &home]);
    process::finish(shot, "the dispatcher".to_owned()).expect(137);
    grid.set_env("GRID_FAILPOINT", "none");
    // The host's journal of its last seconds did not come to the disk, if there was one.
    grid.set_env("GRID_TEST_BOOT_ID", "another-boot");
    grid.grid(["wait", "1"]).expect(125);
    assert_eq!(grid.state("1"), "LOST");
    assert!(grid.grid(["explain", "1"]).ok().contains("restarted while its start was on the way"));
    assert!(grid.lines("marks").is_empty());
}

#[test]
fn a_submit_that_finds_nothing_up_is_written_by_the_dispatcher_that_it_starts() {
    let mut grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
    // Whoever writes by itself is shot.
    grid.set_env("GRID_FAILPOINT", "client-committed");
    let id = grid.submit(["--", "sh", "-c", "echo begun >> marks"]);
    grid.grid(["wait", &id]).ok();
    // One that dies before it answers has written it all the same, and it is there once.
    grid.grid(["dispatcher", "stop"]).expect(0);
    grid.set_env("GRID_FAILPOINT", "dispatcher-begun");
    grid.set_env("GRID_FAILPOINT_ONCE", grid.file("shot").to_str().unwrap());
    let id = grid.submit(["--", "sh", "-c", "echo begun >> marks"]);
    assert!(grid.file("shot").exists(), "it was shot");
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.lines("marks"), ["begun", "begun"]);
    assert_eq!(grid.tasks(), 3);
}

#[test]
fn start_not_sent_before_a_reboot_is_sent_at_once() {
    let mut grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
    grid.set_env("GRID_FAILPOINT", "client-committed");
    grid.grid(["submit", "-w", "local", "--", "true"]).expect(137);
    grid.unset_env("GRID_FAILPOINT");
    grid.set_env("GRID_TEST_BOOT_ID", "another-boot");
    grid.grid(["wait", "2"]).ok();
    let log = std::fs::read_to_string(grid.home().join("run/dispatcher.log")).unwrap();
    assert!(!log.contains("restarted"), "a start that names the boot before is refused: {log}");
}

#[test]
fn start_of_a_cancelled_task_is_not_sent_ahead() {
    let mut grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
    // Given to a server by a command that dies before it wakes anybody; then cancelled by one that dies as early.
    grid.set_env("GRID_FAILPOINT", "client-committed");
    grid.grid(["submit", "-w", "local", "--", "sh", "-c", "echo first >> marks"]).expect(137);
    grid.unset_env("GRID_FAILPOINT");
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let starting: u32 = database.query_row("SELECT starting FROM task WHERE id = 2", [], |row| row.get(0)).unwrap();
    assert_eq!(starting, 1);
    database.execute("INSERT INTO cancel (task_id, asked_at, grace) VALUES (2, 1, 10000)", []).unwrap();
    drop(database);
    let id = grid.submit(["--", "sh", "-c", "echo second >> marks"]);
    grid.grid(["wait", &id]).ok();
    grid.grid(["wait", "2"]).expect(130);
    assert_eq!(grid.lines("marks"), ["second"]);
}

#[test]
fn start_sent_ahead_to_an_agent_that_never_came_up_counts_as_not_sent() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let (spool, aside) = (grid.home().join("spool/agent"), grid.home().join("spool/aside"));
    std::fs::rename(&spool, &aside).unwrap();
    std::fs::write(&spool, "no directory").unwrap();
    let id = grid.submit(["--", "sh", "-c", "echo begun >> marks"]);
    process::until("its server is down", || grid.grid(["server", "list", "--json"]).json()[0]["state"] == "DOWN");
    // It lies with nobody, and may go to whoever comes first.
    let waits = grid.show(&id);
    assert_eq!((waits["state"].as_str(), &waits["server"]), (Some("PENDING"), &Value::Null), "{waits}");
    std::fs::remove_file(&spool).unwrap();
    std::fs::rename(&aside, &spool).unwrap();
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.lines("marks"), ["begun"]);
    assert_eq!(grid.show(&id)["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn dispatcher_and_agent_raise_the_open_file_limit_and_tasks_get_the_original() {
    let grid = Grid::new();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // As a login session gives them: few, of which more may be taken.
    assert_eq!(grid.sh("ulimit -Sn 256; grid run -- sh -c 'ulimit -Sn'").ok(), "256");
    for word in ["dispatcher", "agent"] {
        let [pid] = pids(grid.home(), word)[..] else { panic!("one {word}") };
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let has: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        let may = limit.maximum.unwrap_or(u64::MAX).min(65_536);
        assert!(has >= may, "{word}: {line}");
    }
}

#[test]
fn dispatcher_that_dies_each_time_is_restarted_a_bounded_number_of_times() {
    let mut grid = Grid::new();
    let id = grid.submit(["-H", "--", "true"]);
    grid.grid(["dispatcher", "stop"]).expect(0);
    grid.set_env("GRID_FAILPOINT", "dispatcher-committed");
    grid.grid(["release", &id]);
    std::fs::OpenOptions::new()
        .append(true)
        .open(grid.home().join("run/dispatcher.log"))
        .unwrap()
        .write_all(b"an old word\n")
        .unwrap();
    let told = grid.grid(["wait", &id]).expect(125);
    let told = told.says(&["dispatcher", "keeps crashing: killed by signal 9 (SIGKILL)", "dispatcher.log"]);
    assert!(!told.err().contains("an old word"), "{told:?}");
    // Cron and whoever looks are told too.
    grid.grid(["status"]).expect(0).says(&["the dispatcher has ended early", "times in a row"]);
    grid.grid(["refresh"]).says(&["the dispatcher has ended early"]);
}
