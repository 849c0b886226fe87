//! `grid uninstall` on hosts: they are cleared of this home alone, and one that is off is named with the command to run there.

use crate::support::{Rig, process};

/// Files of grid's agents on a host, without the agents themselves.
fn records(rig: &Rig, host: &str) -> usize {
    let script = "find /home/grid/.local/state/grid -type f 2>/dev/null | wc -l";
    rig.root(host, script).ok().trim().parse().unwrap_or(0)
}

#[test]
fn hosts_are_cleared_of_this_home_and_one_that_is_off_is_named_with_its_command() {
    let Some(rig) = Rig::up(2) else { return };
    let (head, mut other) = (rig.at("head"), rig.at("head"));
    other.set_env("GRID_HOME", "/home/ann/other");
    for (grid, host) in [(&head, "h1"), (&head, "h2"), (&other, "h1")] {
        grid.grid(["server", "add", host, "--ssh", host, "--slots", "2"]).ok();
        grid.grid(["run", "-w", host, "--", "true"]).ok();
    }
    head.grid(["uninstall", "-n"]).shows(&["~/.local/state/grid and ~/.cache/grid/bin on h1", "on h2"]);
    rig.cut("h2");
    head.grid(["config", "set", "probe_timeout", "1s"]).ok();
    head.grid(["dispatcher", "stop"]).ok();
    let command = "run there: rm -rf ~/.local/state/grid/spool/*/";
    let refused = head.grid(["uninstall", "--yes"]).expect(1);
    refused.says(&["h2 was not cleared: ", command, "so the home stays", "--leave-unreachable"]);
    for server in ["h1", "h2", "local"] {
        assert_ne!(head.grid(["server", "show", server, "--json"]).json()["state"], "DRAINED", "{server}");
    }
    // It works as before, also on the host that was cleared.
    head.grid(["run", "-w", "h1", "--", "echo", "again"]).expect(0).shows(&["again"]);

    let report = head.grid(["uninstall", "--yes", "--leave-unreachable", "--json"]).json();
    assert!(!head.home().exists());
    let host = |name: &str| report["hosts"].as_array().unwrap().iter().find(|host| host["host"] == name).unwrap();
    assert_eq!((&host("h1")["cleared"], &host("h2")["cleared"]), (&true.into(), &false.into()), "{report}");
    // The other home goes on there.
    assert!(records(&rig, "h1") > 0);
    other.grid(["run", "-w", "h1", "--", "echo", "there"]).expect(0).shows(&["there"]);
    rig.heal("h2");
    assert!(records(&rig, "h2") > 0);
    let command = host("h2")["command"].as_str().unwrap().to_owned();
    process::run(rig.at("h2").command("sh").args(["-c", &command])).ok();
    assert_eq!(records(&rig, "h2"), 0, "{command}");
    other.grid(["uninstall", "--yes"]).expect(0);
    assert_eq!(records(&rig, "h1"), 0);
    let left = rig.root("h1", "find /home/grid/.local /home/grid/.cache -name '*grid*' 2>/dev/null; true").ok();
    assert_eq!(left, "", "no directory either");
}
