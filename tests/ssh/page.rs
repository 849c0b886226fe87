//! README's page "One lab, three groups", line by line as it stands there, each on the host that it names.

use crate::support::process;
use crate::support::rig::Plan;
use serde_json::json;

/// Hosts by the names of the page.
const HOSTS: [(&str, &str); 6] =
    [("client", "head"), ("front-a", "h1"), ("front-b", "h2"), ("lab-x", "h3"), ("lab-y", "h4"), ("lab-z", "h5")];

/// What is to be typed: the host, and the line.
fn page() -> Vec<(&'static str, &'static str)> {
    let readme = include_str!("../../README.md");
    let (_, page) = readme.split_once("\n## One lab, three groups\n").expect("the page");
    let page = page.split_once("\n## ").map_or(page, |(page, _)| page);
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
