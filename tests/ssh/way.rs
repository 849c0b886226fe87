//! A task on another host, the whole way: nothing is installed there, everything is as at home.

use crate::support::Rig;
use crate::support::process;
use std::io::{BufRead, BufReader};

#[test]
fn a_host_is_added_and_runs_a_task() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--set", "site=brno", "--slots", "2"]).ok();
    let shown = head.grid(["server", "show", "one", "--json"]).json();
    assert_eq!((shown["state"].as_str(), shown["engine"].as_str()), (Some("UP"), Some("ssh")));
    assert_eq!(shown["attributes"]["hostname"]["value"], "h1");
    // Streams apart, the exit code, the server's own login, the client's name for the server.
    let script = "uname -n; echo $USER $HOME $PWD $GRID_SERVER $GRID_SUBMIT_HOST; echo loud >&2; exit 7";
    let done = head.grid(["run", "-w", "one", "--", "sh", "-c", script]).expect(7);
    assert_eq!(done.out(), "h1\ngrid /home/grid /home/grid one head\n");
    assert_eq!(done.err(), "loud\n");
    head.grid(["run", "-w", "one", "--", "no-such-program"]).expect(127);
    // Agent and spool lie where they should, closed to others.
    let lies =
        rig.root("h1", "cd /home/grid && stat -c %a .cache/grid/bin .local/state/grid .cache/grid/bin/*/grid").ok();
    assert_eq!(lies, "700\n700\n700");
    let status = head.grid(["dispatcher", "status", "--json"]).json();
    assert_eq!(status["ssh"], "ssh, no key agent");
}

#[test]
fn servers_of_one_target_share_a_link_and_aliases_do_not_fight() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    for name in ["a", "b"] {
        head.grid(["server", "add", name, "--ssh", "h1"]).ok();
    }
    // Another way to the same account: a link and a spool of its own.
    head.grid(["server", "add", "c", "--ssh", "grid@h1"]).ok();
    head.grid(["run", "-w", "a", "--", "true"]).ok();
    head.grid(["run", "-w", "b", "--", "true"]).ok();
    head.grid(["run", "-w", "c", "--", "true"]).ok();
    let agents = rig.processes("h1").into_iter().filter(|(_, line)| line.contains("grid agent --link")).count();
    assert_eq!(agents, 2);
    let hosts = head.number("select count(distinct host_id) n from server where engine = 'ssh'");
    assert_eq!(hosts, 1, "one machine, one pool");
}

#[test]
fn output_is_followed_and_a_cancel_ends_the_tree_over_there() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    let script = "echo begun; sleep 4321 & echo $! ; wait";
    let id = head.submit(["-w", "one", "--", "sh", "-c", script]);
    let mut logs = head.beside(["logs", "-f", &id]);
    let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("begun"));
    assert!(lines.next().is_some());
    head.grid(["cancel", &id]).ok();
    head.grid(["wait", &id]).expect(130);
    assert_eq!(lines.next(), None);
    process::wait_for(&mut logs, process::HANG).expect("logs -f ends with its task");
    assert!(!rig.processes("h1").iter().any(|(_, line)| line.contains("sleep 4321")), "{:?}", rig.processes("h1"));
}

#[test]
fn a_prologue_makes_the_environment_and_one_that_fails_says_so() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--prologue", "export TOOLS=/opt/t\nPATH=$HOME:$PATH"]).ok();
    rig.put("h1", "hello", "#!/bin/sh\necho hello $TOOLS\n");
    rig.root("h1", "chmod 755 /home/grid/hello").ok();
    assert_eq!(head.grid(["run", "-w", "one", "--", "hello"]).ok(), "hello /opt/t");
    head.grid(["server", "set", "one", "--prologue", ". /no/such/setup"]).ok();
    head.grid(["run", "-w", "one", "--", "hello"]).expect(125).says(&["prologue", "/no/such/setup", "one"]);
    head.grid(["server", "unset", "one", "prologue"]).ok();
    head.grid(["run", "-w", "one", "--", "hello"]).expect(127);
}
