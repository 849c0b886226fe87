//! A full disk: nothing begins without a record, and no end is lost for want of room.

use crate::driver::*;
use crate::small::Small;
use grid::model::attempt::{Gap, Stream};
use grid::model::max_output::MaxOutput;
use grid::model::task::Launch;
use grid::protocol::agent::{FromAgent, HeldState, Refusal, ToAgent};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

#[test]
fn full_disk_refuses_starts_and_delays_records_of_ends() {
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
fn confirmed_output_frees_its_blocks_while_a_neighbour_keeps_the_file() {
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

#[test]
fn follower_skips_dropped_bytes_and_neighbours_stay_complete() {
    let home = Home::new();
    let mut agent = home.agent();
    let gate = home.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let before = agent.start(1, sh("head -c 300001 /dev/zero | tr '\\0' a"));
    let script = format!("head -c 20000000 /dev/zero | tr '\\0' b; read l <{}", gate.display());
    let bound = MaxOutput::parse("1M").unwrap();
    let long = agent.start(1, Launch { max_output: Some(bound), ..sh(&script) });
    let behind = agent.start(1, sh("head -c 300001 /dev/zero | tr '\\0' c"));
    agent.end(before);
    agent.began(long);
    let out = home.only_run().join("out");
    until("the middle is dropped while it runs", || {
        std::fs::metadata(&out).unwrap().len() == 20_300_001 && taken(&out) < 2_000_000
    });
    agent.tell(&ToAgent::Follow { attempt: long, out: 0, err: 0 });
    std::fs::write(&gate, "go\n").unwrap();
    let (mut at, mut told, mut left) = (0, Vec::new(), 0);
    loop {
        let FromAgent::Data { stream, offset, left_out, bytes, at_end, .. } = agent.other() else { panic!() };
        if stream == Stream::Err {
            continue;
        }
        assert_eq!(offset, at, "nothing is passed over unsaid");
        (at, left) = (offset + left_out + bytes.len() as u64, left + left_out);
        told.extend(bytes);
        if at_end {
            break;
        }
    }
    assert_eq!((at, told.len() as u64 + left), (20_000_000, 20_000_000));
    assert_eq!(told, vec![b'b'; told.len()]);
    let end = agent.end(long).end;
    let gap = Gap { from: 512 << 10, to: 20_000_000 - (512 << 10) };
    assert_eq!((end.out_len, end.cut.and_then(|cut| cut.gap(Stream::Out))), (20_000_000, Some(gap)));
    agent.end(behind);
    // A later agent knows it from the journal.
    agent.leave();
    let mut agent = home.agent();
    let mut read = |id, offset| {
        agent.tell(&ToAgent::Read { attempt: id, stream: Stream::Out, offset, max: 1 << 20 });
        let FromAgent::Data { left_out, bytes, .. } = agent.other() else { panic!() };
        (left_out, bytes)
    };
    assert_eq!(read(long, 0), (0, vec![b'b'; 512 << 10]));
    assert_eq!(read(long, 1 << 20), (gap.to - (1 << 20), vec![b'b'; 512 << 10]));
    for (id, byte) in [(before, b'a'), (behind, b'c')] {
        assert_eq!(read(id, 0), (0, vec![byte; 300_001]), "a neighbour is whole");
    }
}
