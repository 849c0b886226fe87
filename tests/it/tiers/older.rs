//! A home whose grid is older: it is asked what it understands, and nothing else.

use crate::support::Grid;
use crate::support::caller::stranger;
use grid::protocol::distributor::{Answer, FromServe, MAGIC, Question, ToServe};
use grid::protocol::frame;
use std::io::{Write, stdin, stdout};
use std::os::unix::fs::PermissionsExt;

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

#[test]
fn older_home_is_not_sent_unknown_questions() {
    let mut client = Grid::new();
    let ssh = client.file("ssh");
    let me = std::env::current_exe().unwrap();
    let line = "exec env GRID_TEST_OLD_HOME=1 \"$0\" --exact tiers::older::old_home --ignored --nocapture";
    std::fs::write(&ssh, format!("#!/bin/sh\nexec sh -c '{line}' '{}'\n", me.display())).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    client.set_env("GRID_SSH_COMMAND", ssh.to_str().unwrap());
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:old"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    client.grid(["submit", "--", "true"]).expect(1).says(&["front-a: refuses: this is the old one"]);
    client.grid(["submit", "-n", "--", "true"]).expect(75).says(&["front-a", "older", "up to date"]);
    client.grid(["server", "drain", "lab-x/n1"]).expect(1).says(&["older"]);
    // It answers as before: what it was not asked did it no harm.
    client.grid(["submit", "--", "true"]).expect(1).says(&["this is the old one"]);
    client.grid(["distributor", "list"]).shows(&["front-a", "UP"]);
}
