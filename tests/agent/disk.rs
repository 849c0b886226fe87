//! A full disk: nothing begins without a record, and no end is lost for want of room.

use crate::driver::*;
use crate::small::Small;
use grid::protocol::agent::{HeldState, Refusal};
use std::process::Command;

#[test]
fn without_room_nothing_begins_and_with_room_ends_are_written() {
    let home = Home::new();
    let Some(small) = Small::mount(&home.spool, "256k") else {
        eprintln!("skipped: this account may not mount a small file system");
        return;
    };
    let gate = home.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("read l <{}; exit 3", gate.display())));
    agent.began(id);
    let ballast = small.fill();
    let other = agent.start(2, sh("echo x"));
    assert!(matches!(agent.refusal(other), Refusal::Spool { .. }));
    let behind = agent.start(1, sh("echo y"));
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(exited(&agent.end(id)), 3, "the end is told though it can't be written");
    // The page that holds the journal may have room for one more line, but not for many.
    let mut last = behind;
    let why = loop {
        let found = agent.find(|e| match e {
            grid::protocol::agent::Event::Refused { attempt, why } if *attempt == last => Some(Some(why.clone())),
            grid::protocol::agent::Event::Ended { attempt, .. } if *attempt == last => Some(None),
            _ => None,
        });
        match found.unwrap() {
            Some(why) => break why,
            None => last = agent.start(1, sh("true")),
        }
    };
    assert!(matches!(why, Refusal::Spool { .. }), "{why:?}");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(exited(&agent.run(sh("true"))), 0);
    drop(agent);
    let agent = home.agent();
    assert!(matches!(agent.held(id), Some(HeldState::Ended(e)) if exited(e) == 3));
}
