//! The hosts themselves: they are apart, they break as ordered, and nothing is left of them.

use crate::support::rig::{Killed, Plan};
use crate::support::{Done, Rig, process};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn ssh(rig: &Rig, host: &str, script: &str) -> Done {
    let mut command = rig.at("head").command("ssh");
    command.args([
        "-o",
        "ConnectTimeout=1",
        "-o",
        "ServerAliveInterval=1",
        "-o",
        "ServerAliveCountMax=1",
        host,
        script,
    ]);
    process::run(&mut command)
}

#[test]
fn a_person_on_the_head_logs_in_by_name() {
    let Some(rig) = Rig::up(3) else { return };
    for host in ["h1", "h2", "h3"] {
        let said = ssh(&rig, host, "uname -n; whoami; echo $HOME; pwd; hostname").ok();
        assert_eq!(said, format!("{host}\ngrid\n/home/grid\n/home/grid\n{host}"));
    }
    let facts = "cat /etc/machine-id /proc/sys/kernel/random/boot_id";
    assert_ne!(ssh(&rig, "h1", facts).ok(), ssh(&rig, "h2", facts).ok());
    assert_eq!(ssh(&rig, "h1", "command -v grid").code(), 1, "nothing is installed there");
    assert_eq!(ssh(&rig, "h1", "ssh h2 uname -n").ok(), "h2", "and from one host to the next");
    assert_eq!(rig.at("head").sh("id -un; uname -n; pwd").ok(), "ann\nhead\n/home/ann");
    rig.at("head").grid(["--version"]).ok();
    rig.at("head").sh("grid --version").ok();
    rig.at("head").grid(["run", "--", "uname", "-n"]).ok();
}

#[test]
fn a_cut_cable_says_nothing_and_a_healed_one_carries() {
    let Some(rig) = Rig::up(1) else { return };
    rig.cut("h1");
    ssh(&rig, "h1", "true").expect(255).says(&["timed out"]);
    rig.heal("h1");
    ssh(&rig, "h1", "true").ok();
    rig.cut_from("h1", "head");
    let mut command = rig.at("head").command("ssh");
    process::run(command.args(["h1", "true"])).expect(255).says(&["No route to host"]);
    rig.heal("h1");
    ssh(&rig, "h1", "true").ok();
}

#[test]
fn a_mute_host_hears_and_a_deaf_one_is_heard() {
    let Some(rig) = Rig::up(2) else { return };
    let send = |host: &str, word: &str| {
        // No answer is needed: one datagram, taken by a listener that knows the sender.
        let script = format!("echo {word} > /dev/udp/{host}/9");
        process::run(rig.at("head").command("bash").args(["-c", &script])).ok();
    };
    let heard = |host: &str| rig.root(host, "cat /proc/net/snmp | grep '^Udp:' | tail -1 | cut -d' ' -f3").ok();
    rig.mute("h1");
    rig.deafen("h2");
    for host in ["h1", "h2"] {
        ssh(&rig, host, "true").expect(255).says(&["timed out"]);
        send(host, "hello");
    }
    // UDP's NoPorts: datagrams that came and that nobody listened for.
    process::until("the mute host has heard", || heard("h1") == "1");
    assert_eq!(heard("h2"), "0");
    for host in ["h1", "h2"] {
        rig.heal(host);
        ssh(&rig, host, "true").ok();
    }
}

#[test]
fn a_long_cable_takes_its_time() {
    let Some(rig) = Rig::up(1) else { return };
    let ping = |count: &str| {
        let begun = Instant::now();
        let script = format!("for i in $(seq {count}); do exec 3<>/dev/tcp/h1/22; read -r line <&3; echo $line; done");
        let said = process::run(rig.at("head").command("bash").args(["-c", &script])).ok();
        assert!(said.starts_with("SSH-2.0"), "{said}");
        begun.elapsed()
    };
    let near = ping("1");
    rig.slow("h1", Duration::from_millis(300), 0.0);
    let far = ping("1");
    // Two round trips: the connection, and the first line.
    assert!(far > Duration::from_millis(580), "{far:?}, near: {near:?}");
    ssh(&rig, "h1", "head -c 300000 /dev/zero | wc -c").ok();
    let zeros = ssh(&rig, "h1", "head -c 300000 /dev/zero");
    assert_eq!(zeros.out.len(), 300_000, "large frames pass");
    rig.heal("h1");
    process::until("the cable is short again", || ping("1") < Duration::from_millis(580));
}

#[test]
fn a_crashed_host_comes_back_with_its_home_and_another_boot_id() {
    let Some(rig) = Rig::up(2) else { return };
    let boot_id = "cat /proc/sys/kernel/random/boot_id; cat /etc/machine-id; ls -A /tmp";
    let before = ssh(&rig, "h1", boot_id).ok();
    ssh(&rig, "h1", "echo kept > kept; echo gone > /tmp/gone").ok();
    rig.crash("h1");
    ssh(&rig, "h1", "true").expect(255).says(&["timed out"]);
    ssh(&rig, "h2", "true").ok();
    rig.boot("h1");
    let after = ssh(&rig, "h1", boot_id).ok();
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    assert_ne!(before[0], after[0], "boot id");
    assert_eq!(before[1..], after[1..], "machine id, and an empty /tmp");
    assert_eq!(ssh(&rig, "h1", "cat kept").ok(), "kept");
}

#[test]
fn a_frozen_host_is_silent_and_goes_on() {
    let Some(rig) = Rig::up(1) else { return };
    let mut command = rig.at("head").command("ssh");
    let child = command.args(["h1", "echo $$; read x; echo done"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    process::until("the session runs", || rig.processes("h1").iter().any(|(_, line)| line.contains("read x")));
    rig.freeze("h1");
    drop(child.stdin.take());
    ssh(&rig, "h1", "true").expect(255).says(&["timed out"]);
    rig.thaw("h1");
    assert!(process::finish(child, "ssh".to_owned()).ok().ends_with("\ndone"));
    ssh(&rig, "h1", "true").ok();
}

#[test]
fn sshd_breaks_as_ordered() {
    let Some(rig) = Rig::up(1) else { return };
    // Each sleeps a time of its own, by which it is known from the one before.
    let session = |sleep: &str| {
        let script = format!("echo in; exec {sleep}");
        let child = rig.at("head").command("ssh").args(["h1", &script]).stderr(Stdio::piped()).spawn();
        process::until("the session runs", || rig.processes("h1").iter().any(|(_, line)| line.starts_with(sleep)));
        child.unwrap()
    };
    let first = session("sleep 1001");
    rig.kill_sshd("h1", Killed::Listener);
    ssh(&rig, "h1", "true").expect(255).says(&["Connection refused"]);
    rig.kill_sshd("h1", Killed::Sessions);
    process::finish(first, "ssh".to_owned()).expect(255);
    rig.shoot("h1", "sleep 1001");
    rig.start_sshd("h1", &["MaxStartups 1:100:1"]);
    ssh(&rig, "h1", "true").ok();
    let second = session("sleep 1002");
    rig.kill_sshd("h1", Killed::All);
    process::finish(second, "ssh".to_owned()).expect(255);
    rig.start_sshd("h1", &[]);
    rig.new_host_key("h1");
    ssh(&rig, "h1", "true").expect(255).says(&["IDENTIFICATION HAS CHANGED"]);
}

#[test]
fn shells_and_homes_are_as_ordered() {
    let Some(rig) = Plan::of(3).one_home(&["h1", "h2"]).with_grid(&["h3"]).up() else { return };
    ssh(&rig, "h1", "echo from h1 > here").ok();
    assert_eq!(ssh(&rig, "h2", "cat here").ok(), "from h1");
    assert_eq!(ssh(&rig, "h3", "cat here; command -v grid").out(), "/usr/local/bin/grid\n");
    rig.load("h3", Some(7.5));
    rig.load("h3", Some(8.5));
    assert!(ssh(&rig, "h3", "cat /proc/loadavg").ok().starts_with("8.50 "));
    assert!(!ssh(&rig, "h1", "cat /proc/loadavg").ok().starts_with("8.50 "));
    rig.load("h3", None);
    assert!(!ssh(&rig, "h3", "cat /proc/loadavg").ok().starts_with("8.50 "));
    rig.put("h1", ".bashrc", "echo noise\n");
    assert_eq!(ssh(&rig, "h2", "echo word").ok(), "noise\nword");
    rig.shell("h3", "/no/shell");
    ssh(&rig, "h3", "true").expect(255).says(&["Permission denied"]);
    rig.shell("h3", "/bin/bash");

    rig.small_home("h3", "size=1m,nr_inodes=200");
    assert_eq!(ssh(&rig, "h3", "ls .ssh/config").ok(), ".ssh/config", "the home moved with what it held");
    rig.fill("h3");
    ssh(&rig, "h3", "echo word > new").expect(1).says(&["No space left"]);
    rig.make_room("h3");
    ssh(&rig, "h3", "echo word > new").ok();
    rig.use_up_inodes("h3");
    ssh(&rig, "h3", "echo word > newer").expect(1).says(&["No space left"]);
    ssh(&rig, "h3", "echo word > new").ok();
    rig.make_room("h3");
    rig.read_only("h3", true);
    ssh(&rig, "h3", "echo word > new").expect(1).says(&["Read-only"]);
    rig.read_only("h3", false);
    ssh(&rig, "h3", "echo word > new").ok();
}

#[test]
fn two_rigs_at_once_do_not_see_each_other_and_leave_nothing() {
    let (Some(one), Some(two)) = (Rig::up(1), Rig::up(1)) else { return };
    ssh(&one, "h1", "echo one > which").ok();
    ssh(&two, "h1", "echo two > which").ok();
    assert_eq!(ssh(&one, "h1", "cat which").ok(), "one");
    let pids: Vec<i32> = ["head", "h1"].iter().flat_map(|h| one.processes(h)).map(|(pid, _)| pid).collect();
    assert!(pids.len() >= 4, "{pids:?}");
    let home = one.home("h1");
    drop(one);
    assert!(!pids.into_iter().any(process::lives), "processes are left");
    assert!(!home.exists(), "files are left");
    ssh(&two, "h1", "true").ok();
}

#[test]
fn a_test_that_is_shot_takes_its_hosts_along() {
    const ASKED: &str = "GRID_TEST_RIG_TO_SHOOT";
    if std::env::var_os(ASKED).is_some() {
        let Some(rig) = Rig::up(1) else { return };
        println!("up {}", rig.home("h1").display());
        loop {
            std::thread::park();
        }
    }
    if crate::support::rig::possible().is_err() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hosts::a_test_that_is_shot_takes_its_hosts_along", "--nocapture"]).env(ASKED, "1");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let home = lines.map_while(Result::ok).find_map(|l| Some(l.split_once("up ")?.1.to_owned())).expect("a rig");
    let home = std::path::PathBuf::from(home);
    assert!(home.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    process::until("its rig is gone", || !home.exists());
}

#[test]
fn twenty_hosts_are_up_in_seconds() {
    let begun = Instant::now();
    let Some(rig) = Rig::up(20) else { return };
    crate::support::said::tell(&format!("20 hosts and a head are up after {:?}", begun.elapsed()));
    let script = "for k in $(seq 20); do ssh h$k uname -n & done; wait";
    let said = process::run(rig.at("head").command("bash").args(["-c", script])).ok();
    assert_eq!(said.lines().count(), 20);
}

/// Hosts to try things on by hand: `cargo test --test ssh by_hand -- --ignored --nocapture`, until its stdin ends.
#[test]
#[ignore = "for a person at a terminal"]
fn by_hand() {
    let count = std::env::var("GRID_TEST_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let Some(rig) = Rig::up(count) else { return };
    for host in rig.hosts() {
        println!("{host}: {} bash", process::line_of(&rig.at(host.as_str()).command("env")));
    }
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}
