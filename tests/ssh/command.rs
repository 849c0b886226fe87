//! Hosts that only a named ssh command leads to: another `ssh` stands first on PATH and must never be called, and the account's
//! own configuration leads elsewhere.

use crate::support::{Grid, Rig, process};
use std::time::{Duration, Instant};

/// Dispatchers that are shot; `GRID_TEST_RESTARTS=100 cargo test --test ssh command::` is the long form.
fn restarts() -> u32 {
    std::env::var("GRID_TEST_RESTARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// The head's shell: its PATH begins with an ssh that leaves a mark, `project/config` is what its hosts are named by, and to the plain
/// configuration h1 is h2, h2 is h3, h3 is h1.
fn project(rig: &Rig) -> Grid {
    let mut grid = rig.at("head");
    grid.sh("mkdir bin project && cp .ssh/config project/config").ok();
    let plain = std::fs::read_to_string(rig.home("head").join(".ssh/config")).expect("a configuration");
    let turned = ["h1 h2", "h2 h3", "h3 h1"].map(|pair| {
        let (name, leads) = pair.split_once(' ').expect("a pair");
        format!("Host {name}\n  HostName {leads}\n  HostKeyAlias {leads}\n")
    });
    rig.put("head", ".ssh/config", &format!("{}{plain}", turned.concat()));
    rig.put("head", "bin/ssh", "#!/bin/sh\necho \"$@\" >> /home/ann/called\nexit 255\n");
    grid.sh("chmod 755 bin/ssh").ok();
    assert_eq!(grid.sh("/usr/bin/ssh h1 uname -n").ok(), "h2", "what the plain one would do");
    grid.set_env("PATH", "/home/ann/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    grid.set_env("GRID_SSH_COMMAND", "/usr/bin/ssh -F project/config");
    grid.grid(["server", "remove", "local"]).ok();
    for host in ["h1", "h2", "h3"] {
        grid.grid(["server", "add", host, "--ssh", host, "--slots", "4", "--cpus", "4"]).ok();
    }
    // From here on nobody names it: the shells that go on, and whoever starts the next dispatcher.
    grid.unset_env("GRID_SSH_COMMAND");
    grid
}

/// Shoots dispatchers at random moments of an array; each member must have run once, on the host of its server's name.
fn shot_again_and_again(rig: &Rig, grid: &Grid) {
    let members = restarts() * 24;
    let script = "echo $GRID_ARRAY_INDEX $GRID_SERVER $(uname -n) >> ran; sleep 0.2";
    let id = grid.submit([&format!("--array=1-{members}"), "--", "sh", "-c", script]);
    let mut random = u64::from(std::process::id()) | 1;
    for _ in 0..restarts() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(random % 700));
        rig.shoot("head", "grid dispatcher");
        grid.grid(["status"]).ok();
    }
    // Longer than one command may take in a test.
    let ended = || grid.show(&id)["ended_at"].is_string();
    let left = Instant::now() + Duration::from_secs(30 + u64::from(restarts()) * 2);
    while !ended() && Instant::now() < left {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(grid.show(&id)["counts"]["COMPLETED"], members, "{}", grid.show(&id));
    let mut ran: Vec<u32> = Vec::new();
    for host in ["h1", "h2", "h3"] {
        let lines = std::fs::read_to_string(rig.home(host).join("ran")).unwrap_or_default();
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words[1], words[2]), (host, host), "{line}");
            ran.push(words[0].parse().expect("an index"));
        }
    }
    ran.sort_unstable();
    assert_eq!(ran, (1..=members).collect::<Vec<_>>(), "each once");
    let called = std::fs::read_to_string(rig.home("head").join("called")).unwrap_or_default();
    assert_eq!(called, "", "the plain ssh was called");
}

#[test]
fn command_of_a_server_leads_there_whoever_restarts_the_dispatcher() {
    let Some(rig) = Rig::up(3) else { return };
    let grid = project(&rig);
    shot_again_and_again(&rig, &grid);
    // The plain one leads elsewhere, and is not taken where the named one fails.
    grid.sh("mv project/config project/away").ok();
    rig.kill_sshd("h1", crate::support::rig::Killed::Sessions);
    process::until("it is down, with the command's own reason", || {
        grid.grid(["server", "refresh", "h1"]).expect(1).err().contains("project/config")
    });
    let called = std::fs::read_to_string(rig.home("head").join("called")).unwrap_or_default();
    assert_eq!(called, "", "the plain ssh was called");
}

/// As in a home whose servers were added by an older grid.
#[test]
fn command_of_the_last_caller_that_named_one_leads_where_servers_have_none() {
    let Some(rig) = Rig::up(3) else { return };
    let grid = project(&rig);
    for host in ["h1", "h2", "h3"] {
        grid.grid(["server", "unset", host, "ssh-command"]).ok();
    }
    assert_eq!(grid.number("select count(*) n from server where ssh_command is not null"), 0);
    shot_again_and_again(&rig, &grid);
}
