//! Logins that fail or are odd: keys, names, ports, limits of sshd, shells that talk or leave.

use crate::lab::Lab;
use crate::support::rig::{Killed, find};
use crate::support::{process, said};
use std::time::Duration;

/// What a server that can't be reached is told to be; it is added all the same.
#[test]
fn what_is_wrong_with_a_login_is_said_with_a_remedy() {
    let Some(lab) = Lab::of(4) else { return };
    lab.rig.new_host_key("h1");
    lab.rig.root("h2", "echo > /etc/ssh/authorized_keys; echo > /home/grid/.ssh/authorized_keys").ok();
    lab.rig.kill_sshd("h3", Killed::All);
    let known = std::fs::read_to_string(lab.rig.home("head").join(".ssh/known_hosts")).unwrap();
    let without: String = known.lines().filter(|l| !l.starts_with("h4 ")).map(|l| format!("{l}\n")).collect();
    lab.rig.put("head", ".ssh/known_hosts", &without);
    for (name, host, words) in [
        ("changed", "h1", ["host key has changed", "ssh-keygen -R h1"]),
        ("denied", "h2", ["login refused", "ssh-copy-id h2"]),
        ("refused", "h3", ["connection refused", "sshd"]),
        ("unknown", "h4", ["host key is not known", "fingerprint"]),
        ("nameless", "nosuch", ["name is not known", "spelling"]),
        ("elsewhere", "10.99.0.1", ["no route", "VPN"]),
        ("silent", "10.77.0.99", ["no", "on"]),
    ] {
        let done = lab.grid.grid(["server", "add", name, "--ssh", host, "--ssh-option", "ConnectTimeout=2"]);
        assert_eq!(done.code(), 0, "added all the same: {done:?}");
        let text = done.err();
        assert!(words.iter().all(|w| text.contains(w)), "{name}: {done:?}");
        assert!(text.contains("no task starts there") && text.contains("`grid server remove"), "{text}");
        assert_ne!(lab.server_state(name), "UP");
        let checked = format!("{name}-checked");
        let way = ["server", "add", &checked, "--ssh", host, "--ssh-option", "ConnectTimeout=2", "--check"];
        lab.grid.grid(way).expect(1).says(&["is not added", words[0]]);
        lab.grid.grid(["server", "show", &checked]).expect(1);
        said::tell(&format!("| {name} | {} |", text.trim().replace('\n', "; ")));
    }
}

/// Nobody gets in any more while tasks run; each reason on a host of its own.
fn nobody_gets_in(shot: bool) {
    let Some(lab) = Lab::of(4) else { return };
    let tasks: Vec<String> = lab.servers().map(|host| lab.running(host)).collect();
    lab.rig.new_host_key("h1");
    let keys = lab.rig.home("h2").join(".ssh/authorized_keys");
    let allowed = std::fs::read_to_string(&keys).expect("authorized_keys");
    lab.rig.put("h2", ".ssh/authorized_keys", "");
    lab.rig.kill_sshd("h3", Killed::All);
    lab.rig.put("h4", ".bashrc", "exit 7\n");
    for host in ["h1", "h2", "h4"] {
        lab.rig.kill_sshd(host, Killed::Sessions);
    }
    if shot {
        lab.shoot_dispatcher();
    }
    let reasons = ["host key has changed", "login refused", "connection refused", "code 7"];
    for ((host, id), why) in lab.servers().zip(&tasks).zip(reasons) {
        lab.until_silent(id, "RUNNING");
        process::until(why, || lab.grid.grid(["server", "show", host]).ok().contains(why));
        lab.let_go(id);
    }
    if shot {
        lab.shoot_dispatcher();
    }
    let key = lab.rig.root("h1", "cut -d' ' -f1,2 /etc/ssh/hostkey.pub").ok();
    let known = std::fs::read_to_string(lab.rig.home("head").join(".ssh/known_hosts")).expect("known_hosts");
    let others: String = known.lines().filter(|l| !l.starts_with("h1 ")).map(|l| format!("{l}\n")).collect();
    lab.rig.put("head", ".ssh/known_hosts", &format!("{others}h1 {key}\n"));
    lab.rig.put("h2", ".ssh/authorized_keys", &allowed);
    lab.rig.start_sshd("h3", &[]);
    lab.rig.put("h4", ".bashrc", "");
    // Where somebody had to do something, somebody says that it is done.
    lab.grid.grid(["refresh"]).ok();
    for (id, why) in tasks.iter().zip(reasons) {
        let took = lab.ends(id, 7);
        said::tell(&format!(
            "| {why} | dispatcher shot: {shot} | RUNNING, last contact .. | {took:.1?} after refresh |"
        ));
    }
}

#[test]
fn nobody_gets_in_while_tasks_run() {
    nobody_gets_in(false);
}

#[test]
fn nobody_gets_in_while_tasks_run_and_the_dispatcher_is_shot() {
    nobody_gets_in(true);
}

#[test]
fn few_logins_and_few_sessions_are_enough() {
    let Some(lab) = Lab::of(2) else { return };
    lab.rig.start_sshd("h1", &["MaxStartups=1:100:1"]);
    lab.rig.start_sshd("h2", &["MaxSessions=1"]);
    lab.rig.kill_sshd("h1", Killed::Sessions);
    lab.rig.kill_sshd("h2", Killed::Sessions);
    for host in ["h1", "h2"] {
        let ids: Vec<String> = (0..6).map(|_| lab.grid.submit(["-w", host, "--", "true"])).collect();
        for id in ids {
            lab.grid.grid(["wait", &id]).ok();
        }
    }
}

#[test]
fn odd_shells_and_their_startup_files() {
    let Some(lab) = Lab::of(3) else { return };
    let hosts = ["h1", "h2", "h3"];
    match find("fish") {
        Some(fish) => lab.rig.shell("h1", &fish.display().to_string()),
        None => said::skipped("odd shells: fish", "no fish; .ci/setup installs it"),
    }
    lab.rig.put("h2", ".bashrc", "echo Welcome to h2; echo have a nice day >&2; seq 2000\n");
    lab.rig.put("h3", ".bashrc", "exit 7\n");
    for host in hosts {
        lab.rig.kill_sshd(host, Killed::Sessions);
    }
    for host in ["h1", "h2"] {
        let id = lab.grid.submit(["-w", host, "--", "echo", "$HOME 'as is' \\"]);
        lab.grid.grid(["wait", &id]).ok();
        assert_eq!(lab.grid.grid(["logs", &id]).ok(), "$HOME 'as is' \\", "{host}");
    }
    let id = lab.grid.submit(["-w", "h3", "--", "true"]);
    process::until("it is told what is wrong", || {
        let text = lab.grid.grid(["server", "show", "h3"]).ok();
        text.contains("code 7") && text.contains(".bashrc")
    });
    assert_eq!(lab.grid.state(&id), "PENDING");
    lab.rig.put("h3", ".bashrc", "");
    lab.grid.grid(["server", "refresh", "h3"]).ok();
    lab.grid.grid(["wait", &id]).ok();
}

#[test]
fn a_slow_and_lossy_link_carries() {
    let Some(lab) = Lab::of(1) else { return };
    lab.rig.slow("h1", Duration::from_millis(300), 5.0);
    let ids: Vec<String> = (0..3).map(|_| lab.submit("h1", &[])).collect();
    for id in ids {
        lab.let_go(&id);
        let took = lab.ends(&id, 7);
        said::tell(&format!("| slow link | {took:?} |"));
    }
    let id = lab.grid.submit(["-w", "h1", "--", "seq", "100000"]);
    lab.grid.grid(["wait", &id]).ok();
    assert_eq!(lab.grid.grid(["logs", &id]).ok().lines().count(), 100_000);
}

#[test]
fn configuration_of_an_account_that_opens_no_session_does_not_hinder() {
    let Some(lab) = Lab::of(1) else { return };
    let config = std::fs::read_to_string(lab.rig.home("head").join(".ssh/config")).unwrap();
    let odd = "Host *\n  SessionType none\n  StdinNull yes\n  ForkAfterAuthentication yes\n  RequestTTY force\n";
    lab.rig.put("head", ".ssh/config", &format!("{config}\n{odd}"));
    lab.rig.kill_sshd("h1", Killed::Sessions);
    let id = lab.grid.submit(["-w", "h1", "--", "echo", "there"]);
    lab.grid.grid(["wait", &id]).ok();
    assert_eq!(lab.grid.grid(["logs", &id]).ok(), "there");
    lab.grid.grid(["server", "add", "again", "--ssh", "h1", "--check"]).expect(0).says(&["its machine is h1 already"]);
    assert_eq!(lab.server_state("again"), "UP");
    lab.grid.grid(["doctor", "h1"]).ok();
}

#[test]
fn banner_of_a_host_is_not_told_as_the_reason() {
    let Some(lab) = Lab::of(3) else { return };
    for host in ["h1", "h2", "h3"] {
        lab.rig.root(host, "printf 'All is recorded.\\nAuthorised use only.\\n' > /etc/ssh/banner").ok();
        lab.rig.start_sshd(host, &["Banner=/etc/ssh/banner"]);
        lab.rig.kill_sshd(host, Killed::Sessions);
    }
    lab.rig.put("h1", ".bashrc", "exit 7\n");
    lab.rig.shell("h2", &find("nologin").map_or_else(|| "/usr/sbin/nologin".into(), |path| path.display().to_string()));
    lab.rig.shell("h3", "/bin/false");
    let reasons = [("h1", "ended with code 7"), ("h2", "may not log in"), ("h3", "ended with code 1")];
    for (host, why) in reasons {
        let told = lab.grid.grid(["server", "add", &format!("{host}x"), "--ssh", host]).err();
        assert!(told.contains(why), "{host}: {told}");
        let found = lab.grid.grid(["doctor", host, "--json"]).expect(1).out();
        assert!(found.contains(why), "{host}: {found}");
    }
}
