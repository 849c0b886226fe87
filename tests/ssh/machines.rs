//! A name that comes to lead to another machine: what was sent to the first stays as it is until that answers again.

use crate::support::rig::Killed;
use crate::support::{Grid, Rig, process};

const IMPATIENT: [&str; 6] = [
    "--ssh-option",
    "ServerAliveInterval=1",
    "--ssh-option",
    "ServerAliveCountMax=2",
    "--ssh-option",
    "ConnectTimeout=2",
];

/// Says that it runs, and where, on its machine; ends with 7 once it may.
const STEPS: &str = "echo $GRID_TASK_ID >> ran; echo first; until [ -e go ]; do sleep 0.05; done; uname -n; exit 7";

/// `login` leads to this host from now on.
fn lead(rig: &Rig, to: &str) {
    let config = std::fs::read_to_string(rig.home("head").join(".ssh/config")).expect("a configuration");
    let rest = config.split_once("# login\n").map_or(config.as_str(), |(_, rest)| rest);
    rig.put("head", ".ssh/config", &format!("Host login\n  User grid\n  HostName {to}\n# login\n{rest}"));
}

/// The name leads to another host, and nobody holds the old way open.
fn turn(rig: &Rig, from: &str, to: &str) {
    lead(rig, to);
    rig.kill_sshd(from, Killed::Sessions);
}

fn ran(rig: &Rig, host: &str) -> Vec<String> {
    let text = std::fs::read_to_string(rig.home(host).join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A head with one server, `login`, that leads to h1.
fn head(rig: &Rig) -> Grid {
    lead(rig, "h1");
    let grid = rig.at("head");
    grid.grid(["server", "remove", "local"]).ok();
    let line = ["server", "add", "login", "--ssh", "login", "--slots", "4", "--cpus", "4"];
    grid.grid(line.into_iter().chain(IMPATIENT)).ok();
    grid
}

fn until_told(grid: &Grid, id: &str, answers: &str) {
    let told = format!("another machine ({answers}) answers as login since");
    process::until(&format!("{told} is told of {id}"), || {
        let shown = grid.show(id);
        assert_eq!(shown["state"], "RUNNING", "{shown}");
        shown["reason"].as_str().is_some_and(|reason| reason.contains(&told))
    });
}

fn name_changes_its_machine(options: &[&str]) {
    let Some(rig) = Rig::up(2) else { return };
    let grid = head(&rig);
    let submit = || grid.submit(options.iter().copied().chain(["--", "sh", "-c", STEPS]));
    let stays = submit();
    process::until("it runs on h1", || ran(&rig, "h1").len() == 1);
    grid.until_state(&stays, "RUNNING");

    turn(&rig, "h1", "h2");
    until_told(&grid, &stays, "h2");
    grid.grid(["server", "list"]).shows(&["another machine (h2) answers"]);
    grid.grid(["doctor"]).shows(&["another machine (h2) answers", "1 task is on h1"]);
    grid.grid(["explain", &stays]).shows(&["another machine (h2)"]);
    // What is new begins there.
    assert_eq!(grid.grid(["run", "--", "uname", "-n"]).ok(), "h2");
    // A dispatcher that knows of it by the database alone.
    assert_eq!(rig.shoot("head", "grid dispatcher"), 1);
    let cancelled = submit();
    process::until("the other one runs on h2", || ran(&rig, "h2").len() == 1);
    grid.until_state(&cancelled, "RUNNING");
    std::fs::write(rig.home("h1").join("go"), "").expect("a mark");
    until_told(&grid, &stays, "h2");

    turn(&rig, "h2", "h1");
    until_told(&grid, &cancelled, "h1");
    grid.grid(["cancel", &cancelled]).ok();
    grid.grid(["wait", &stays]).expect(7);
    assert_eq!(grid.grid(["logs", &stays]).ok(), "first\nh1");
    until_told(&grid, &cancelled, "h1");

    turn(&rig, "h1", "h2");
    grid.grid(["wait", &cancelled]).expect(130);
    assert_eq!((ran(&rig, "h1"), ran(&rig, "h2")), (vec![stays.clone()], vec![cancelled]), "each once, on its machine");
    assert!(!grid.grid(["doctor"]).out().contains("another machine"));
    assert_eq!(grid.show(&stays)["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn name_that_changes_its_machine_loses_nothing() {
    name_changes_its_machine(&[]);
}

#[test]
fn name_that_changes_its_machine_starts_nothing_twice_with_retry_lost() {
    name_changes_its_machine(&["--retry-lost"]);
}

#[test]
fn attempt_of_a_machine_that_does_not_answer_is_given_up_after_lost_after() {
    let Some(rig) = Rig::up(2) else { return };
    let grid = head(&rig);
    let id = grid.submit(["--lost-after", "3s", "--", "sh", "-c", STEPS]);
    process::until("it runs", || ran(&rig, "h1").len() == 1);
    grid.until_state(&id, "RUNNING");
    turn(&rig, "h1", "h2");
    grid.grid(["wait", &id]).expect(125);
    assert!(grid.show(&id)["reason"].as_str().is_some_and(|why| why.contains("no contact")), "{}", grid.show(&id));
}

/// As an older grid left them: attempts that are bound to no machine are those of the one that was read last.
#[test]
fn attempt_of_an_older_grid_is_bound_to_the_machine_that_was_read_last() {
    let Some(rig) = Rig::up(2) else { return };
    let grid = head(&rig);
    let id = grid.submit(["--", "sh", "-c", STEPS]);
    process::until("it runs", || ran(&rig, "h1").len() == 1);
    grid.until_state(&id, "RUNNING");
    assert_eq!(rig.shoot("head", "grid dispatcher"), 1);
    let database = rusqlite::Connection::open(rig.home("head").join(".local/share/grid/grid.db")).expect("a database");
    let older = "UPDATE member SET machine_id = NULL; UPDATE server SET machine_id = NULL; DELETE FROM machine";
    database.execute_batch(older).expect("no machines");
    drop(database);
    turn(&rig, "h1", "h2");
    grid.grid(["status"]).ok();
    until_told(&grid, &id, "h2");
    std::fs::write(rig.home("h1").join("go"), "").expect("a mark");
    turn(&rig, "h2", "h1");
    grid.grid(["wait", &id]).expect(7);
}

#[test]
fn pool_of_login_machines_is_told_when_it_is_added() {
    let Some(rig) = Rig::up(2) else { return };
    let grid = rig.at("head");
    // Each login lands on the other machine.
    let flip = "#!/bin/sh\nif [ -e ~/.odd ]; then rm ~/.odd; else : > ~/.odd; exit 1; fi\n";
    rig.put("head", "flip", flip);
    grid.sh("chmod 755 flip").ok();
    let config = std::fs::read_to_string(rig.home("head").join(".ssh/config")).expect("a configuration");
    let pool =
        "Match originalhost pool exec \"/home/ann/flip\"\n  HostName h1\nHost pool\n  HostName h2\n  User grid\n";
    rig.put("head", ".ssh/config", &format!("{pool}{config}"));
    let done = grid.grid(["server", "add", "pool", "--ssh", "pool"]).expect(0);
    done.says(&["two logins in a row landed on different machines (h", "a name of its own"]);
    grid.grid(["server", "remove", "pool"]).ok();
    let done = grid.grid(["server", "add", "one", "--ssh", "h1"]).expect(0);
    assert_eq!(done.err(), "", "one machine");
}
