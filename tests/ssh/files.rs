//! Files on their way to another host and back, also where the way is cut in the middle.

use crate::support::rig::Killed;
use crate::support::{Grid, Rig, process};
use std::path::PathBuf;
use std::time::Duration;

/// Files of the agent over there, as its host sees them.
fn there(rig: &Rig, pattern: &str) -> Vec<String> {
    let script = format!("cd /home/grid && find .local/state/grid /var/tmp -path '*{pattern}' 2>/dev/null; :");
    rig.root("h1", &script).ok().lines().map(str::to_owned).collect()
}

/// A directory of the person at the head, and the one server.
fn begin(rig: &Rig) -> Grid {
    let head = rig.at("head");
    head.sh("mkdir -p work").ok();
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    head
}

/// A file of so many megabytes at the head, in `work`; its digest.
fn big(head: &Grid, megabytes: u32) -> String {
    let make = format!("cd work && head -c {megabytes}000000 /dev/urandom > big && sha256sum < big");
    head.sh(&make).ok()
}

fn at_least(path: PathBuf, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() >= size)
}

/// The only file of a directory whose name ends so.
fn only(rig: &Rig, host: &str, dir: &str, end: &str) -> Option<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![rig.home(host).join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(end) {
                found.push(entry.path());
            }
        }
    }
    assert!(found.len() < 2, "{found:?}");
    found.pop()
}

#[test]
fn a_script_and_a_directory_travel_to_another_host_and_back() {
    let Some(rig) = Rig::up(1) else { return };
    let head = begin(&rig);
    head.sh(
        "cd work && printf '#!/bin/sh\\ntr a-z A-Z < $1\\n' > encode.sh && chmod +x encode.sh && echo sound > a.wav",
    )
    .ok();
    let run = "cd work && grid run -w one --send encode.sh --send a.wav -- ./encode.sh a.wav";
    assert_eq!(head.sh(run).ok(), "SOUND");
    // Made there, and changed there.
    let make = "cd work && grid run -w one --dir -- sh -c 'uname -n > host; echo more >> a.wav'";
    head.sh(make).ok();
    assert_eq!(head.sh("cd work && cat host a.wav").ok(), "h1\nsound\nmore");
    // The same content once, whatever is run on it.
    head.sh("cd work && for i in 1 2 3; do grid run -w one --send encode.sh -- ls; done").ok();
    let bundles = there(&rig, "/bundles/*").len();
    assert_eq!(bundles, 2, "the directory held what was sent by name before it");
    assert_eq!(there(&rig, "/work/*"), Vec::<String>::new());
    // From the working directory there.
    rig.root("h1", "mkdir -m 777 /home/grid/work").ok();
    head.sh("cd work && grid run -w one --fetch 'late*' -- sh -c 'echo late > late.txt'").ok();
    assert_eq!(head.sh("cat work/late.txt").ok(), "late");
}

#[test]
fn the_way_is_cut_while_files_are_sent() {
    let Some(rig) = Rig::up(1) else { return };
    let head = begin(&rig);
    rig.slow("h1", Duration::from_millis(100), 0.0);
    let digest = big(&head, 40);
    let script = "cd work && grid submit --parsable -w one --send big -- sh -c 'echo ran >> ~/ran; sha256sum < big'";
    let id = head.sh(script).ok();
    let part = || only(&rig, "h1", ".local/state/grid", ".part");
    process::until("some of it is there", || part().is_some_and(|part| at_least(part, 3 << 20)));
    let explained = || head.explain(&id)["reason"].as_str().unwrap_or_default().to_owned();
    process::until("it is said what it waits for", || explained().contains("being sent"));
    rig.kill_sshd("h1", Killed::Sessions);
    let before = std::fs::metadata(part().expect("what has come is kept")).expect("a file").len();
    rig.heal("h1");
    head.grid(["wait", &id]).ok();
    assert!(before >= 3 << 20);
    assert_eq!(head.grid(["logs", &id]).ok(), digest);
    assert_eq!(rig.root("h1", "cat /home/grid/ran").ok(), "ran");
    assert!(head.show(&id)["reason"].is_null());
}

#[test]
fn the_way_is_cut_while_files_are_brought() {
    let Some(rig) = Rig::up(1) else { return };
    let head = begin(&rig);
    head.sh("cd work && echo x > small").ok();
    rig.slow("h1", Duration::from_millis(100), 0.0);
    let make = "head -c 40000000 /dev/urandom > big; sha256sum < big; exit 3";
    let script = format!("cd work && grid submit --parsable -w one --send small --fetch big -- sh -c '{make}'");
    let id = head.sh(&script).ok();
    let part = || only(&rig, "head", ".local/share/grid/spool/fetched", ".part");
    process::until("some of it is here", || part().is_some_and(|part| at_least(part, 3 << 20)));
    rig.kill_sshd("h1", Killed::Sessions);
    // And the dispatcher with it: what it had in memory is made again.
    assert_eq!(rig.shoot("head", "grid dispatcher"), 1);
    assert_eq!(head.state(&id), "RUNNING", "it has not ended before its files are here");
    rig.heal("h1");
    head.grid(["wait", &id]).expect(3);
    assert_eq!(head.sh("sha256sum < work/big").ok(), head.grid(["logs", &id]).ok());
    process::until("nothing is left over there", || there(&rig, "/work/*").is_empty());
}

#[test]
fn a_host_without_room_is_passed_over_for_the_next() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    head.sh("mkdir -p work").ok();
    for (name, host) in [("one", "h1"), ("two", "h2")] {
        head.grid(["server", "add", name, "--ssh", host]).ok();
    }
    rig.small_home("h1", "size=100m");
    let digest = big(&head, 50);
    let run = "cd work && grid run -C 'server.name in [\"one\", \"two\"]' --prefer 'server.name == \"one\"' --send big -- sh -c 'uname -n; sha256sum < big'";
    assert_eq!(head.sh(run).ok(), format!("h2\n{digest}"));
    let steps = head.show("last")["steps"].to_string();
    assert!(steps.contains("no room for") && steps.contains("on one"), "{steps}");
    head.sh("cd work && grid run -w one --send big -- true").expect(125).says(&["no room for", "on one"]);
}
