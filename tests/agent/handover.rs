//! Outputs on the home's own host that get a second name instead of a copy.

use crate::driver::*;
use grid::model::attempt::Stream;
use grid::model::max_output::MaxOutput;
use grid::model::task::Launch;
use grid::protocol::agent::{HeldState, ToAgent};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const LONG: usize = 3_000_000;

/// Writes so many of a letter.
fn writes(letter: char, bytes: usize) -> Launch {
    sh(&format!("head -c {bytes} /dev/zero | tr '\\0' {letter}"))
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn all(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn linked_output_is_the_same_file_and_survives_its_run() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, writes('a', LONG));
    agent.end(id);
    let (out, to) = (home.only_run().join("out"), home.path("home.out"));
    assert!(agent.link(id, Stream::Out, &to));
    assert_eq!(inode(&out), inode(&to));
    agent.confirm(&[id]);
    until("its run is removed", || home.runs() == 0);
    assert_eq!((all(&to), std::fs::metadata(&to).unwrap().nlink()), (vec![b'a'; LONG], 1));
}

#[test]
fn output_of_the_next_attempt_is_not_in_a_linked_file() {
    let home = Home::new();
    let mut agent = home.agent();
    let first = agent.start(1, writes('a', 20_000));
    agent.end(first);
    let to = home.path("first.out");
    assert!(agent.link(first, Stream::Out, &to));
    let second = agent.start(1, writes('b', 20_000));
    agent.end(second);
    agent.confirm(&[first]);
    let other = home.path("second.out");
    assert!(agent.link(second, Stream::Out, &other));
    assert_eq!((all(&to), all(&other)), (vec![b'a'; 20_000], vec![b'b'; 20_000]));
    agent.confirm(&[second]);
    until("both runs are removed", || home.runs() == 0);
    assert_eq!((all(&to), all(&other)), (vec![b'a'; 20_000], vec![b'b'; 20_000]));
}

#[test]
fn idle_run_is_truncated_once_its_ends_are_confirmed() {
    let home = Home::new();
    let mut agent = home.agent();
    let short = agent.start(1, sh("echo short; echo err >&2"));
    agent.end(short);
    let run = home.only_run();
    agent.confirm(&[short]);
    until("what is confirmed is gone", || all(&run.join("out")).is_empty() && all(&run.join("err")).is_empty());
    let long = agent.start(1, writes('a', LONG));
    agent.end(long);
    assert_eq!(home.only_run(), run, "the same supervisor ran it");
    let to = home.path("home.out");
    assert!(agent.link(long, Stream::Out, &to));
    assert_eq!(all(&to), vec![b'a'; LONG]);
    // What the next agent reads is of the long one alone.
    agent.kill();
    let mut agent = home.agent();
    assert!(agent.held(short).is_none());
    assert!(matches!(agent.held(long), Some(HeldState::Ended(_))));
    agent.confirm(&[long]);
    until("its run is removed", || home.runs() == 0);
    assert_eq!(all(&to), vec![b'a'; LONG]);
}

#[test]
fn linked_file_gets_no_hole_and_is_not_truncated() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, writes('a', LONG));
    agent.end(id);
    let kept = home.path("kept");
    std::fs::hard_link(home.only_run().join("out"), &kept).unwrap();
    agent.confirm(&[id]);
    assert_eq!(agent.read(id, Stream::Out, 0, 1), (vec![], true), "it is confirmed");
    assert_eq!(all(&kept), vec![b'a'; LONG]);
}

#[test]
fn output_in_a_shared_file_is_not_linked_and_can_be_read() {
    let home = Home::new();
    let mut agent = home.agent();
    let members = [attempt(), attempt()];
    let order = agent.order(1, writes('a', 100_000), members.map(member).to_vec());
    agent.tell(&ToAgent::Start(order));
    for id in members {
        agent.end(id);
    }
    for (id, name) in members.into_iter().zip(["first", "second"]) {
        assert!(!agent.link(id, Stream::Out, &home.path(name)));
        assert!(!home.path(name).exists());
        assert_eq!(agent.read(id, Stream::Out, 0, 1 << 20), (vec![b'a'; 100_000], true));
    }
}

#[test]
fn output_is_not_linked_while_another_attempt_of_its_run_may_write() {
    let home = Home::new();
    let mut agent = home.agent();
    let long = agent.start(1, writes('a', 100_000));
    let next = agent.start(1, sh("sleep 60"));
    agent.end(long);
    assert!(!agent.link(long, Stream::Out, &home.path("out")));
    agent.cancel(next, Duration::ZERO);
    agent.end(next);
    assert!(agent.link(long, Stream::Out, &home.path("out")), "the other one wrote nothing");
}

#[test]
fn impossible_link_is_refused_and_changes_nothing() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, writes('a', 100_000));
    agent.end(id);
    let there = home.path("there");
    std::fs::write(&there, "mine").unwrap();
    assert!(!agent.link(id, Stream::Out, &there), "nothing is written over");
    assert_eq!(all(&there), b"mine");
    assert!(!agent.link(id, Stream::Out, Path::new("relative")));
    assert!(!agent.link(id, Stream::Err, &home.path("err")), "it is empty");
    assert!(!agent.link(attempt(), Stream::Out, &home.path("unknown")));
    assert!(agent.link(id, Stream::Out, &home.path("out")));
}

#[test]
fn next_agent_links_an_output_that_ran_alone_under_an_earlier_one() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, writes('a', LONG));
    agent.end(id);
    agent.kill();
    let mut agent = home.agent();
    assert!(matches!(agent.held(id), Some(HeldState::Ended(_))));
    let to = home.path("home.out");
    assert!(agent.link(id, Stream::Out, &to));
    // Its dispatcher was killed, and asks for it again under the same name.
    std::fs::remove_file(&to).unwrap();
    assert!(agent.link(id, Stream::Out, &to));
    agent.confirm(&[id]);
    until("its run is removed", || home.runs() == 0);
    assert_eq!(all(&to), vec![b'a'; LONG]);
}

#[test]
fn output_of_a_lost_attempt_is_not_linked() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("head -c {LONG} /dev/zero; sleep 60")));
    let pid = agent.began(id);
    let out = home.only_run().join("out");
    until("it has written", || std::fs::metadata(&out).unwrap().len() == LONG as u64);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let supervisor: i32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    for pid in [supervisor, pid] {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    agent.end(id);
    assert!(!agent.link(id, Stream::Out, &home.path("out")), "something of it may still write");
}

#[test]
fn output_with_a_hole_in_its_middle_is_linked_with_the_hole() {
    let home = Home::new();
    let mut agent = home.agent();
    let bound = MaxOutput::parse("1M").unwrap();
    let id = agent.start(1, Launch { max_output: Some(bound), ..writes('a', 20_000_000) });
    assert!(agent.end(id).end.cut.is_some());
    let to = home.path("home.out");
    assert!(agent.link(id, Stream::Out, &to));
    let meta = std::fs::metadata(&to).unwrap();
    assert!(meta.len() == 20_000_000 && meta.blocks() * 512 < 2_000_000, "{} blocks", meta.blocks());
}

#[test]
fn attempt_after_a_long_output_gets_its_own_supervisor() {
    let home = Home::new();
    let mut agent = home.agent();
    let first = agent.start(1, writes('a', LONG));
    agent.end(first);
    let second = agent.start(1, writes('b', LONG));
    agent.end(second);
    for (id, name, byte) in [(first, "first", b'a'), (second, "second", b'b')] {
        assert!(agent.link(id, Stream::Out, &home.path(name)));
        assert_eq!(all(&home.path(name)), vec![byte; LONG]);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn output_is_linked_again_after_the_agent_died_after_linking() {
    let mut home = Home::new().with("GRID_FAILPOINT", "agent-output-linked");
    let mut agent = home.agent();
    let id = agent.start(1, writes('a', LONG));
    agent.end(id);
    let to = home.path("home.out");
    agent.tell(&ToAgent::Link { attempt: id, stream: Stream::Out, to: to.as_os_str().to_owned().into() });
    agent.died();
    assert_eq!(all(&to), vec![b'a'; LONG]);
    home.env.clear();
    let mut agent = home.agent();
    assert!(!agent.link(id, Stream::Out, &to), "its name is taken");
    std::fs::remove_file(&to).unwrap();
    assert!(agent.link(id, Stream::Out, &to));
    agent.confirm(&[id]);
    until("its run is removed", || home.runs() == 0);
    assert_eq!(all(&to), vec![b'a'; LONG]);
}
