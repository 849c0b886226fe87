//! A home whose grid is older: it is asked what it understands, and nothing else.

use crate::support::Grid;
use crate::support::caller::stranger;
use crate::support::grid::tested_program;
use grid::protocol::distributor::{Answer, FromServe, MAGIC, Question, ToServe};
use grid::protocol::frame;
use serde_json::json;
use std::io::{Read, Write, stdin, stdout};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// The variable by which this program, started again, is a home of version 1.
const OLD: &str = "GRID_TEST_OLD_HOME";

/// Says no to every question, in its own words; one that it does not know is its end, as for a real one.
#[test]
#[ignore = "a process for other tests"]
fn old_home() {
    if std::env::var_os(OLD).is_none() {
        return;
    }
    let say = |message: &FromServe| frame::write(&mut stdout().lock(), message).unwrap();
    stdout().write_all(MAGIC).unwrap();
    while let Ok(Some(message)) = frame::read::<ToServe>(&mut stdin().lock()) {
        match message {
            ToServe::Hello { .. } => {
                say(&FromServe::Hello { version: 1, home: stranger(), incarnation: 1, release: "0.0.1".to_owned() });
            }
            ToServe::Ask { question: Question::Look(_) | Question::Manage { .. }, .. } => return,
            ToServe::Ask { ticket, .. } => {
                let answer = Answer::Denied("this is the old one".to_owned());
                say(&FromServe::Answer { ticket, answer, last: true });
            }
            _ => {}
        }
    }
}

/// The variable by which this program, started again, is the session of a home of version 4: what it names is that home.
const OLDER_OWNER: &str = "GRID_TEST_OLDER_OWNER";

/// Passes on what is said between a caller and the home; one question that version 4 does not know is the end, as for a real one.
#[test]
#[ignore = "a process for other tests"]
fn older_owner() {
    let Some(home) = std::env::var_os(OLDER_OWNER) else { return };
    let mut serve = Command::new(tested_program());
    serve.arg("serve").env("GRID_HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut serve = serve.spawn().unwrap();
    let (mut to, mut from) = (serve.stdin.take().unwrap(), serve.stdout.take().unwrap());
    std::thread::spawn(move || {
        while let Ok(Some(message)) = frame::read::<ToServe>(&mut stdin().lock()) {
            if matches!(message, ToServe::Ask { question: Question::GiveUp { .. }, .. }) {
                return;
            }
            frame::write(&mut to, &message).unwrap();
        }
    });
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).unwrap();
    stdout().write_all(&magic).unwrap();
    while let Ok(Some(mut message)) = frame::read::<FromServe>(&mut from) {
        if let FromServe::Hello { version, .. } = &mut message {
            *version = 4;
        }
        frame::write(&mut stdout().lock(), &message).unwrap();
    }
    serve.wait().unwrap();
}

#[test]
fn task_stays_with_an_owner_that_is_too_old_to_give_it_up() {
    let (mut client, x, y) = (Grid::new(), Grid::new(), Grid::new());
    speaks_by(&mut client, &format!("{OLDER_OWNER}={}", x.home().display()), "older_owner");
    client.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", "ssh:old"]).ok();
    client.grid(["distributor", "add", "lab-y", "--tier", "2", "--endpoint", y.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "drain", "tier2"]).ok();
    let busy = [&x, &y].map(|lab| {
        lab.grid(["server", "set", "local", "--slots", "1"]).ok();
        lab.fifo("go");
        let id = lab.submit(["--", "sh", "-c", "cat go"]);
        lab.until_state(&id, "RUNNING");
        id
    });
    let id = client.submit(["--", "true"]);
    assert_eq!(client.show(&id)["route"], json!(["tier1", "lab-x"]));
    std::fs::write(y.file("go"), "on").unwrap();
    y.grid(["wait", &busy[1]]).ok();
    client.grid(["move", &id]).expect(1).says(&["not moved: lab-x: ", "older", "bring it up to date"]);
    assert_eq!((client.state(&id).as_str(), x.tasks(), y.tasks()), ("PENDING", 2, 1));
    assert!(client.sql("select home from away_view")[0]["home"].is_string(), "it is not left half moved");
    std::fs::write(x.file("go"), "on").unwrap();
    client.grid(["wait", &id]).expect(0);
}

/// All sessions of a grid's ssh are this program again, as one of the processes above.
fn speaks_by(client: &mut Grid, variable: &str, process: &str) {
    let ssh = client.file("ssh");
    let me = std::env::current_exe().unwrap();
    let line = format!("exec env {variable} \"$0\" --exact tiers::older::{process} --ignored --nocapture");
    std::fs::write(&ssh, format!("#!/bin/sh\nexec sh -c '{line}' '{}'\n", me.display())).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    client.set_env("GRID_SSH_COMMAND", ssh.to_str().unwrap());
}

#[test]
fn older_home_is_not_sent_unknown_questions() {
    let mut client = Grid::new();
    speaks_by(&mut client, &format!("{OLD}=1"), "old_home");
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:old"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    client.grid(["submit", "--", "true"]).expect(1).says(&["front-a: refuses: this is the old one"]);
    client.grid(["submit", "-n", "--", "true"]).expect(75).says(&["front-a", "older", "up to date"]);
    client.grid(["server", "drain", "lab-x/n1"]).expect(1).says(&["older"]);
    // It answers as before: what it was not asked did it no harm.
    client.grid(["submit", "--", "true"]).expect(1).says(&["this is the old one"]);
    client.grid(["distributor", "list"]).shows(&["front-a", "UP"]);
}
