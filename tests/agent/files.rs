//! What attempts run on: asked for once, resumed after a cut, checked, bounded, and gone with its attempt.

use crate::driver::*;
use crate::small::Small;
use grid::archive::pack::{Packed, Packer};
use grid::archive::{self};
use grid::model::command::Text;
use grid::model::files::{Fetch, RelPath, Sent, Workplace};
use grid::model::id::AttemptId;
use grid::model::task::Launch;
use grid::protocol::agent::{FromAgent, Packing, Refusal, ToAgent};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn rel(path: &str) -> RelPath {
    RelPath::new(Path::new(path)).unwrap()
}

/// An archive with one file `f`.
fn bundle(home: &Home, content: &[u8]) -> (Vec<u8>, Sent) {
    let file = home.path("f");
    fs::write(&file, content).unwrap();
    let mut packer = Packer::new(Vec::new());
    packer.add(&rel("f"), &file, Some).unwrap();
    let (bytes, Packed { digest, size, files }) = packer.finish().unwrap();
    (bytes, Sent { bundle: digest, size, files, below: RelPath::default() })
}

fn with(sent: &Sent, script: &str) -> Launch {
    Launch { workplace: Workplace::Own(sent.clone()), ..sh(script) }
}

/// Answers so many questions for pieces; how many bytes were given.
fn give(agent: &mut Agent, bytes: &[u8], pieces: usize) -> u64 {
    let mut given = 0;
    for _ in 0..pieces {
        let FromAgent::Need { bundle, offset, max } = agent.other() else { panic!("no question") };
        let from = usize::try_from(offset).unwrap();
        let piece = bytes[from..].iter().take(max as usize).copied().collect::<Vec<_>>();
        given += piece.len() as u64;
        agent.tell(&ToAgent::Piece { bundle, offset, bytes: piece });
    }
    given
}

fn pieces(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(archive::PIECE as usize)
}

fn place(home: &Home, what: &str) -> PathBuf {
    home.spool.join(home.id.to_string()).join(what)
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn pack(agent: &mut Agent, attempt: AttemptId, sent: &Sent, fetch: &[&str], changed: bool) -> Packing {
    let fetch = Fetch { patterns: fetch.iter().map(|p| rel(p)).collect(), changed, into: Text::from("/") };
    let launch = Launch { fetch: Some(fetch), ..with(sent, "true") };
    agent.tell(&ToAgent::Pack { attempt, launch });
    let FromAgent::Packed { result, .. } = agent.other() else { panic!("not packed") };
    result.unwrap()
}

#[test]
fn bundle_is_requested_once_for_many_waiters() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, &[b'x'; 600_000]);
    let mut agent = home.agent();
    let ids: Vec<_> = (1..=5).map(|lane| agent.start(lane, with(&sent, "wc -c < f"))).collect();
    give(&mut agent, &bytes, pieces(&bytes));
    for id in ids {
        assert_eq!(out(&agent.end(id)), "600000\n");
    }
    // Nor is it for a later agent.
    agent.leave();
    let mut agent = home.agent();
    assert_eq!(out(&agent.run(with(&sent, "wc -c < f"))), "600000\n");
    assert_eq!(count(&place(&home, "bundles")), 1);
}

#[test]
fn bundle_continues_after_a_lost_link() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, &[b'y'; 5_000_000]);
    let mut agent = home.agent();
    agent.start(1, with(&sent, "true"));
    give(&mut agent, &bytes, 4);
    let part = place(&home, &format!("bundles/{}.part", sent.bundle));
    until("four pieces are there", || {
        fs::metadata(&part).is_ok_and(|meta| meta.len() == 4 * u64::from(archive::PIECE))
    });
    agent.kill();
    let mut agent = home.agent();
    assert!(agent.inventory.is_empty(), "what has not begun is the home's to send again");
    let id = agent.start(1, with(&sent, "wc -c < f"));
    let given = give(&mut agent, &bytes, pieces(&bytes) - 4);
    assert_eq!(given, bytes.len() as u64 - 4 * u64::from(archive::PIECE));
    assert_eq!(out(&agent.end(id)), "5000000\n");
}

#[test]
fn damaged_bundle_is_requested_again_and_then_refused() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, &[b'z'; 10_000]);
    let mut spoilt = bytes.clone();
    spoilt[5_000] ^= 1;
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "wc -c < f"));
    give(&mut agent, &spoilt, 1);
    give(&mut agent, &bytes, 1);
    assert_eq!(out(&agent.end(id)), "10000\n");
    fs::remove_file(place(&home, &format!("bundles/{}", sent.bundle))).unwrap();
    let id = agent.start(1, with(&sent, "true"));
    give(&mut agent, &spoilt, 1);
    give(&mut agent, &spoilt, 1);
    assert!(matches!(agent.refusal(id), Refusal::Files { error } if error.contains("damaged")));
    // The home may not have it any more.
    let id = agent.start(2, with(&sent, "true"));
    let FromAgent::Need { bundle, .. } = agent.other() else { panic!() };
    agent.tell(&ToAgent::NoBundle { bundle, error: "gone".to_owned() });
    assert!(matches!(agent.refusal(id), Refusal::Files { error } if error == "gone"));
    assert_eq!(exited(&agent.run(sh("true"))), 0, "the lanes are free");
}

#[test]
fn cancel_of_an_attempt_that_waits_for_a_bundle_is_confirmed_at_once() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"x");
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "true"));
    agent.cancel(id, Duration::from_secs(1));
    assert!(matches!(agent.refusal(id), Refusal::Tombstone));
    give(&mut agent, &bytes, 1);
    assert_eq!(out(&agent.run(with(&sent, "cat f"))), "x");
}

#[test]
fn results_are_packed_at_each_request() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"as sent");
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "echo new > g; mkdir -p d/e; touch f; exit 4"));
    give(&mut agent, &bytes, 1);
    assert_eq!(exited(&agent.end(id)), 4);
    let first = pack(&mut agent, id, &sent, &["nothing"], true);
    assert_eq!(first.remarks, ["--fetch nothing: nothing there"]);
    assert_eq!(first.files, 3, "g, d and d/e; f is what it was, though its time is not");
    // After a cut it is the same, byte by byte.
    agent.kill();
    let mut agent = home.agent();
    assert!(agent.held(id).is_some());
    assert_eq!(pack(&mut agent, id, &sent, &["nothing"], true), first);
    agent.tell(&ToAgent::ReadPacked { attempt: id, offset: 0, max: 1 << 20 });
    let FromAgent::Packet { bytes, .. } = agent.other() else { panic!() };
    assert_eq!(archive::digest(bytes.as_slice()).unwrap(), first.digest);
    agent.confirm(&[id]);
    until("its directory is gone", || count(&place(&home, "work")) == 0);
}

#[test]
fn read_only_directories_of_a_task_are_removed() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"x");
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "mkdir -p a/b; touch a/b/c; chmod 0 a/b; chmod 500 a ."));
    give(&mut agent, &bytes, 1);
    assert_eq!(exited(&agent.end(id)), 0);
    agent.confirm(&[id]);
    until("its directory is gone", || count(&place(&home, "work")) == 0);
}

#[test]
fn directories_of_unknown_attempts_are_removed_at_the_next_hello() {
    let home = Home::new();
    home.agent().leave();
    fs::create_dir_all(place(&home, "work").join(attempt().to_string()).join("root/d")).unwrap();
    let _agent = home.agent();
    until("it is gone", || count(&place(&home, "work")) == 0);
}

#[test]
fn bundle_unused_for_a_month_is_removed_unless_in_use() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"used");
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "true"));
    give(&mut agent, &bytes, 1);
    agent.end(id);
    let used = place(&home, &format!("bundles/{}", sent.bundle));
    let other = place(&home, &format!("bundles/{}", "a".repeat(64)));
    let part = place(&home, &format!("bundles/{}.part", "b".repeat(64)));
    for path in [&used, &other, &part] {
        let old = SystemTime::now() - Duration::from_secs(31 * 24 * 3600);
        let file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.set_modified(old).unwrap();
    }
    agent.leave();
    let mut agent = home.agent();
    assert!(!other.exists() && !part.exists(), "unused for 31 days");
    assert!(used.exists(), "its attempt is not confirmed");
    agent.confirm(&[id]);
    until("the attempt is gone", || count(&place(&home, "work")) == 0);
    agent.leave();
    let _agent = home.agent();
    assert!(!used.exists());
}

#[test]
fn full_disk_refuses_a_bundle_after_unused_ones_are_removed() {
    let home = Home::new();
    let Some(_small) = Small::mount(&home.spool, "66m") else {
        eprintln!("skipped: this account may not mount a small file system");
        return;
    };
    let mut agent = home.agent();
    let (bytes, sent) = bundle(&home, &[b'x'; 1 << 20]);
    let id = agent.start(1, with(&sent, "true"));
    give(&mut agent, &bytes, pieces(&bytes));
    agent.end(id);
    agent.confirm(&[id]);
    until("the attempt is gone", || count(&place(&home, "work")) == 0);
    // Only without the first one there is room for a second.
    let (bytes, second) = bundle(&home, &vec![b'y'; 1_300_000]);
    let id = agent.start(1, with(&second, "wc -c < f"));
    give(&mut agent, &bytes, pieces(&bytes));
    assert_eq!(out(&agent.end(id)), "1300000\n");
    assert!(!place(&home, &format!("bundles/{}", sent.bundle)).exists());
    // And for a third there is none.
    let (_, third) = bundle(&home, &vec![b'z'; 4_000_000]);
    let id = agent.start(2, with(&third, "true"));
    assert!(matches!(agent.refusal(id), Refusal::Files { error } if error.contains("no room for")));
}

#[test]
fn cancel_stops_packing_and_leaves_no_archive() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"x");
    let mut agent = home.agent();
    let id = agent.start(1, with(&sent, "seq 20000 | xargs touch"));
    give(&mut agent, &bytes, 1);
    assert_eq!(exited(&agent.end(id)), 0);
    let fetch = Fetch { patterns: vec![rel("**/**/**/*")], changed: true, into: Text::from("/") };
    agent.tell(&ToAgent::Pack { attempt: id, launch: Launch { fetch: Some(fetch), ..with(&sent, "true") } });
    agent.cancel(id, Duration::from_secs(1));
    let FromAgent::Packed { result, .. } = agent.other() else { panic!("not packed") };
    assert!(result.as_ref().is_err_and(|error| error.contains("given up")), "{result:?}");
    let work = place(&home, &format!("work/{id}"));
    assert!(work.join("root").exists() && !work.join("packed").exists());
    // What it made is there, and can be asked for again.
    assert_eq!(pack(&mut agent, id, &sent, &["1*"], false).files, 11_111);
}

#[test]
fn unreadable_files_are_left_out_of_the_results() {
    let home = Home::new();
    let (bytes, sent) = bundle(&home, b"x");
    let mut agent = home.agent();
    let make = "mkdir odd; mkfifo odd/.gitignore; touch odd/f good; seq 3000 | sed 's/^/s/' | xargs -n 500 sh -c 'for s; do mkfifo $s; done' _";
    let id = agent.start(1, with(&sent, make));
    give(&mut agent, &bytes, 1);
    assert_eq!(exited(&agent.end(id)), 0);
    let packing = pack(&mut agent, id, &sent, &["good"], true);
    assert_eq!(packing.files, 1, "{packing:?}");
    assert_eq!(packing.remarks.len(), 51, "the first ones in words");
    assert!(packing.remarks[0].contains("odd/.gitignore"), "{:?}", packing.remarks[0]);
}
