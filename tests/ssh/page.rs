//! README's pages "Your machines in a minute" and "One lab, three groups", line by line as they stand there.

use crate::support::process;
use crate::support::rig::Plan;
use serde_json::json;

/// Hosts by the names of the page.
const HOSTS: [(&str, &str); 6] =
    [("client", "head"), ("front-a", "h1"), ("front-b", "h2"), ("lab-x", "h3"), ("lab-y", "h4"), ("lab-z", "h5")];

/// A page as it stands there.
fn text(title: &str) -> &'static str {
    let readme = include_str!("../../README.md");
    let (_, page) = readme.split_once(&format!("\n## {title}\n")).expect("the page");
    page.split_once("\n## ").map_or(page, |(page, _)| page)
}

/// What is to be typed: the host, and the line.
fn page() -> Vec<(&'static str, &'static str)> {
    let page = text("One lab, three groups");
    let typed = |line: &'static str| {
        let (host, line) = line.split_once("$ ")?;
        HOSTS.iter().find(|(name, _)| *name == host).map(|(_, host)| (*host, line.trim_start()))
    };
    page.lines().filter_map(typed).collect()
}

#[test]
fn one_lab_three_groups_is_followed_to_the_letter() {
    let Some(rig) = Plan::of(5).with_grid(&["h1", "h2", "h3", "h4", "h5"]).up() else { return };
    // Every account knows the hosts by those names.
    let names: String =
        HOSTS.iter().map(|(name, host)| format!("Host {name}\n  HostName {host}\n  User grid\n")).collect();
    for host in rig.hosts() {
        let config = std::fs::read_to_string(rig.home(&host).join(".ssh/config")).expect("a configuration");
        rig.put(&host, ".ssh/config", &format!("{names}{config}"));
    }
    // One group has the application, and the client its files.
    let ffmpeg =
        "printf '#!/bin/sh\\necho ffmpeg version 7\\n' > /usr/local/bin/ffmpeg; chmod 755 /usr/local/bin/ffmpeg";
    rig.root("h3", ffmpeg).ok();
    let client = rig.at("head");
    client.sh("printf '#!/bin/sh\\ncat $1; uname -n\\n' > encode.sh; chmod +x encode.sh; echo sound > a.wav").ok();
    let page = page();
    assert!(page.len() >= 20, "{page:?}");
    let mut last = String::new();
    for (host, line) in page {
        let done = rig.at(host).sh(line).expect(0);
        assert!(!done.err().contains("not reported"), "{host}: {done:?}");
        if line.starts_with("grid run") {
            last = done.out().trim().to_owned();
        }
    }
    assert_eq!(last, "sound\nh3");
    assert_eq!(client.show("last")["route"], json!(["front-a", "lab-x"]));
    // The promise of the page: any single distributor may go.
    client.grid(["config", "set", "peer_timeout", "2s"]).ok();
    client.grid(["dispatcher", "stop"]).expect(0);
    rig.crash("h1");
    process::until("the other front is asked", || {
        client.grid(["submit", "--json", "--", "true"]).json()["route"][0] == "front-b"
    });
}

/// The blocks of a page, without their fences.
fn blocks(page: &'static str) -> Vec<&'static str> {
    let parts = page.split("\n```").skip(1).step_by(2);
    parts.filter_map(|block| block.split_once('\n').map(|(_, lines)| lines)).collect()
}

#[test]
fn your_machines_in_a_minute_is_followed_to_the_letter() {
    let Some(rig) = Plan::of(6).up() else { return };
    let mut head = rig.at("head");
    head.set_env("TERM", "xterm");
    // What the page says of its hosts.
    let hosts: String = (1..=5).map(|k| format!("Host h{k}\n  User grid\n")).collect();
    let quick = "Host *\n  KexAlgorithms curve25519-sha256\n";
    rig.put("head", ".ssh/config", &format!("Host github.com\n  User git\n{hosts}{quick}"));
    let known = std::fs::read_to_string(rig.home("head").join(".ssh/known_hosts")).expect("known_hosts");
    let mine = known.lines().filter(|line| !line.starts_with("h2 "));
    let lab = known.lines().find_map(|line| line.strip_prefix("h6 ")).expect("a key");
    let mine: String = mine.map(|line| format!("{line}\n")).collect();
    rig.put("head", ".ssh/known_hosts", &format!("{mine}[lab1.example.org]:2222 {lab}\n"));
    rig.put("h3", ".ssh/authorized_keys", "");
    rig.put("head", "inventory.ini", "[lab]\nh1\nh4\n");
    rig.root("head", "echo 10.77.0.6 lab1.example.org >> /etc/hosts").ok();
    rig.root("h6", "echo me:x:2077:2077:me:/home/grid:/bin/bash >> /etc/passwd").ok();
    rig.root("h6", "printf '#!/bin/sh\n' > /usr/local/bin/module; chmod 755 /usr/local/bin/module").ok();
    rig.start_sshd("h6", &["Port=2222"]);
    rig.load("h6", Some(0.5));

    let [minute, said, others] = blocks(text("Your machines in a minute"))[..] else { panic!("the page has changed") };
    let mut minute = minute.lines();
    let options = rexpect::reader::Options::new().timeout_ms(Some(60_000)).strip_ansi_escape_codes(true);
    let mut shell = head.command("sh");
    shell.args(["-c", &format!("stty cols 250 rows 30; {}", minute.next().expect("a line"))]);
    let mut terminal = rexpect::session::spawn_with_options(shell, options).expect("a pty");
    let before = terminal.exp_string("[y/N] ").expect("the question");
    terminal.send_line("y").expect("an answer");
    let after = before + &terminal.exp_eof().expect("its end");
    for line in said.lines() {
        // The key is another one each time.
        let (begin, end) = line.split_once("Yw..").unwrap_or((line, ""));
        assert!(after.contains(begin) && after.contains(end), "{line} is not shown: {after}");
    }
    let ran = head.sh(minute.next().expect("a line")).ok();
    assert!(["h1", "h4", "h5"].contains(&ran.as_str()), "{ran}");
    for line in others.lines() {
        let done = head.sh(line).expect(0);
        assert!(!done.err().contains("can't be probed"), "{done:?}");
    }
    head.grid(["run", "-w", "lab1", "--", "true"]).ok();
}
