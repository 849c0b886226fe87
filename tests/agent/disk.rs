//! A full disk: nothing begins without a record, and no end is lost for want of room.

use crate::driver::*;
use crate::small::Small;
use grid::model::attempt::Stream;
use grid::protocol::agent::{HeldState, Refusal};
use std::os::unix::fs::MetadataExt;
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

/// Bytes on the disk behind a file.
fn taken(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn confirmed_output_gives_its_blocks_back_while_a_neighbour_keeps_the_file() {
    let home = Home::new();
    let mut agent = home.agent();
    let gate = home.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let first = agent.start(1, sh("head -c 3000001 /dev/zero | tr '\\0' a"));
    let long = agent.start(1, sh("head -c 20000000 /dev/zero | tr '\\0' b"));
    let last = agent.start(1, sh(&format!("head -c 3000001 /dev/zero | tr '\\0' c; read l <{}", gate.display())));
    for id in [first, long] {
        agent.end(id);
    }
    agent.began(last);
    let out = home.only_run().join("out");
    until("the last one has written", || std::fs::metadata(&out).unwrap().len() == 26_000_002);
    let before = taken(&out);
    agent.confirm(&[long]);
    until("the blocks of the long one are free", || taken(&out) < before - 19_900_000);
    let all = |agent: &mut Agent, id| -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < 3_000_001 {
            all.extend(agent.read(id, Stream::Out, all.len() as u64, 1 << 20).0);
        }
        all
    };
    assert_eq!(all(&mut agent, first), vec![b'a'; 3_000_001], "the neighbour before it is whole");
    assert_eq!(all(&mut agent, last), vec![b'c'; 3_000_001], "and the one behind it, which runs");
    std::fs::write(&gate, "go\n").unwrap();
    agent.end(last);
}
