//! What is known of other hosts, how old it may be, and what is said while one can't be reached.

use crate::support::{Rig, process};
use std::time::{Duration, Instant};

/// The reasons that a server is given in `explain`.
fn reasons(explained: &serde_json::Value, server: &str) -> String {
    let servers = explained["servers"].as_array().cloned().unwrap_or_default();
    let of = servers.iter().find(|s| s["server"].as_str().is_some_and(|name| name == server));
    of.map(|s| s["reasons"].to_string()).unwrap_or_default()
}

#[test]
fn a_stale_server_is_read_before_it_is_trusted() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    head.grid(["dispatcher", "stop"]).ok();
    head.grid(["config", "set", "stale_after", "1ms"]).ok();
    // Nobody reads it while it can't be reached: the task waits, and says for what.
    rig.cut("h1");
    let id = head.submit(["-w", "one", "--", "uname", "-n"]);
    let explained = head.explain(&id);
    assert!(reasons(&explained, "one").contains("too stale to trust: read"), "{explained}");
    rig.heal("h1");
    head.grid(["config", "unset", "stale_after"]).ok();
    head.grid(["wait", &id]).ok();
    assert_eq!(head.grid(["logs", &id]).ok(), "h1");
}

#[test]
fn a_host_that_is_gone_delays_no_task_and_is_told() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    for host in ["h1", "h2"] {
        head.grid(["server", "add", host, "--ssh", host]).ok();
    }
    head.grid(["server", "drain", "local"]).ok();
    head.grid(["dispatcher", "stop"]).ok();
    rig.crash("h1");
    rig.crash("h2");
    rig.boot("h2");
    head.grid(["config", "set", "probe_timeout", "2s"]).ok();
    // The record says that both are up. Whatever was given to the dead one and never sent goes elsewhere.
    let ids: Vec<String> = (0..4).map(|_| head.submit(["--", "uname", "-n"])).collect();
    for id in &ids {
        head.grid(["wait", id]).ok();
        let shown = head.show(id);
        assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(1), "no attempt was used up: {shown}");
        assert_eq!(head.grid(["logs", id]).ok(), "h2");
    }
    let id = head.submit(["-w", "h1", "--", "uname", "-n"]);
    process::until("h1 is said to be down", || head.grid(["server", "show", "h1", "--json"]).json()["state"] == "DOWN");
    let explained = head.explain(&id);
    assert!(reasons(&explained, "h1").contains("down since"), "{explained}");
    rig.boot("h1");
    head.grid(["wait", &id]).ok();
}

#[test]
fn a_running_task_stays_running_while_its_host_is_out_of_reach() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--ssh-option", "ServerAliveInterval=1"]).ok();
    head.grid(["config", "set", "probe_timeout", "2s"]).ok();
    rig.root("h1", "mkfifo -m 666 /home/grid/go").ok();
    let script = "echo begun; read x < go; echo ended; exit 3";
    let id = head.submit(["-w", "one", "--", "sh", "-c", script]);
    head.until_state(&id, "RUNNING");
    rig.cut("h1");
    process::until("it is told", || head.show(&id)["reason"].as_str().is_some_and(|r| r.contains("last contact")));
    assert_eq!(head.state(&id), "RUNNING");
    // A cancel of another one that waits there is recorded, and carried out when there is somebody to ask.
    let other = head.submit(["-w", "one", "--", "sleep", "4321"]);
    head.grid(["cancel", &other]).ok();
    rig.root("h1", "timeout 60 sh -c 'echo > /home/grid/go'").ok();
    rig.heal("h1");
    head.grid(["wait", &id]).expect(3);
    head.grid(["wait", &other]).expect(130);
    assert_eq!(head.grid(["logs", &id]).ok(), "begun\nended");
}

#[test]
fn dead_hosts_delay_no_other() {
    let Some(rig) = Rig::up(5) else { return };
    let head = rig.at("head");
    head.grid(["config", "set", "probe_timeout", "3s"]).ok();
    for host in ["h1", "h2", "h3", "h4", "h5"] {
        head.grid(["server", "add", host, "--ssh", host]).ok();
    }
    head.grid(["dispatcher", "stop"]).ok();
    rig.cut("h2");
    rig.freeze("h4");
    let begun = Instant::now();
    let done = head.grid(["refresh", "--json"]).expect(1);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {done:?}", begun.elapsed());
    let read: Vec<serde_json::Value> = serde_json::from_slice(&done.out).expect("JSON");
    let down: Vec<&str> = read.iter().filter(|s| s["state"] == "DOWN").filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(down, ["h2", "h4"]);
}

#[test]
fn lost_after_gives_a_silent_host_up_and_ends_what_is_left_there() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    for host in ["h1", "h2"] {
        head.grid(["server", "add", host, "--ssh", host, "--ssh-option", "ServerAliveInterval=1"]).ok();
    }
    head.grid(["config", "set", "probe_timeout", "2s"]).ok();
    let patient = head.submit(["-w", "h1", "--", "sleep", "4321"]);
    let prefer = r#"server.name == "h1""#;
    let options = ["--prefer", prefer, "--lost-after", "1s", "--retry-lost"];
    let id = head.submit(options.iter().chain(&[
        "-x",
        "local",
        "--",
        "sh",
        "-c",
        "uname -n; test $GRID_SERVER = h2 || sleep 4321",
    ]));
    head.until_state(&id, "RUNNING");
    head.until_state(&patient, "RUNNING");
    rig.cut("h1");
    head.grid(["wait", &id]).ok();
    let attempts = head.show(&id)["attempts"].clone();
    assert_eq!(
        (attempts[0]["state"].as_str(), attempts[1]["server"].as_str()),
        (Some("LOST"), Some("h2")),
        "{attempts}"
    );
    assert_eq!(head.state(&patient), "RUNNING", "nobody said that this one is to be given up");
    rig.heal("h1");
    process::until("what nobody asks for any more has ended", || {
        rig.processes("h1").iter().filter(|(_, line)| line.starts_with("sleep 4321")).count() == 1
    });
    head.grid(["cancel", "--wait", &patient]).ok();
    assert_eq!(head.state(&patient), "CANCELLED");
}

#[test]
fn a_refresh_over_a_cut_link_ends_in_time() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    for host in ["h1", "h2"] {
        head.grid(["server", "add", host, "--ssh", host]).ok();
    }
    head.grid(["config", "set", "probe_timeout", "2s"]).ok();
    head.grid(["refresh"]).ok();
    // The dispatcher's links stand, and one is cut; ssh itself notices after 45 s. Of the other host the agent stands still: the
    // next one can't have its spool.
    rig.cut("h1");
    let agent = rig.processes("h2").into_iter().find(|(_, line)| line.contains(" agent --link ")).expect("an agent");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(agent.0).expect("a pid"),
        rustix::process::Signal::STOP,
    )
    .expect("a signal");
    rig.kill_sshd("h2", crate::support::rig::Killed::Sessions);
    for round in 0..2 {
        let begun = Instant::now();
        let done = head.grid(["refresh", "--json"]).expect(1);
        assert!(begun.elapsed() < Duration::from_secs(5), "{round}: {:?}: {done:?}", begun.elapsed());
        let read: Vec<serde_json::Value> = serde_json::from_slice(&done.out).expect("JSON");
        let errors: Vec<&str> = read.iter().filter_map(|s| s["error"].as_str()).collect();
        assert_eq!(errors.len(), 2, "{round}: {done:?}");
    }
}
