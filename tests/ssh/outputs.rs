//! Long outputs on hosts: they go there by the same rules as here, also where the host is down when their time comes.

use crate::support::rig::Plan;
use crate::support::{Rig, process};

/// Bytes on the disk behind what grid keeps on a host.
fn taken(rig: &Rig, host: &str) -> u64 {
    let said = rig.root(host, "du -s --block-size=1 /home/grid/.local/state/grid 2>/dev/null | cut -f1").ok();
    said.trim().parse().unwrap_or(0)
}

/// Everything that grid has in a host's $HOME.
fn traces(rig: &Rig, host: &str) -> u64 {
    let script = "cd /home/grid; du -cs --block-size=1 .local/state/grid .cache/grid 2>/dev/null | tail -1 | cut -f1";
    rig.root(host, script).ok().trim().parse().unwrap_or(0)
}

#[test]
fn removing_a_server_clears_its_host_of_this_home_alone() {
    let Some(rig) = Plan::of(1).up() else { return };
    let head = rig.at("head");
    for name in ["s1", "s2"] {
        head.grid(["server", "add", name, "--ssh", "h1", "--slots", "2"]).ok();
    }
    head.grid(["config", "set", "output_limit", "1M"]).ok();
    head.grid(["run", "-w", "s1", "--", "sh", "-c", LONG]).expect(0);
    let all = traces(&rig, "h1");
    assert!(all > 35_000_000, "an agent and an output: {all}");
    head.grid(["server", "remove", "s2", "--clear"]).ok();
    assert!(traces(&rig, "h1") > 35_000_000, "another server leads there");

    let id = head.submit(["-w", "s1", "--", "sleep", "600"]);
    head.until_state(&id, "RUNNING");
    head.grid(["server", "remove", "s1", "--clear"]).expect(1).says(&["1 running"]);
    head.grid(["cancel", "--wait", &id]).ok();
    rig.cut("h1");
    head.grid(["config", "set", "probe_timeout", "1s"]).ok();
    head.grid(["dispatcher", "stop"]).ok();
    head.grid(["server", "remove", "s1", "--clear"]).expect(1).says(&["its host was not cleared", "--keep"]);
    assert_ne!(head.grid(["server", "show", "s1", "--json"]).json()["state"], "DRAINED");
    rig.heal("h1");
    let said = head.grid(["server", "remove", "s1", "--clear"]).expect(0);
    assert!(said.err().contains("removed from its host"), "{}", said.err());
    process::until("nothing is left", || traces(&rig, "h1") < 100_000);

    // Kept where nobody can be asked, and said where.
    head.grid(["server", "add", "s1", "--ssh", "h1"]).ok();
    head.grid(["server", "remove", "s1"]).expect(0).says(&["~/.local/state/grid", "on h1", "is kept"]);
    assert!(traces(&rig, "h1") > 1_000_000);
}

const LONG: &str = "head -c 30000000 /dev/zero | tr '\\0' x";

#[test]
fn gc_frees_long_outputs_on_hosts_also_on_one_that_was_down() {
    let Some(rig) = Plan::of(1).up() else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "s1", "--ssh", "h1", "--slots", "2"]).ok();
    head.grid(["config", "set", "output_limit", "1M"]).ok();
    head.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    let write = || {
        let done = head.grid(["run", "-w", "s1", "--", "sh", "-c", LONG]).expect(0);
        assert_eq!(done.out().len(), 30_000_000);
        assert!(taken(&rig, "h1") > 30_000_000, "{}", taken(&rig, "h1"));
    };
    write();
    let said = head.grid(["gc"]).ok();
    assert!(said.contains("removed on s1: 1 long output (28.6M)"), "{said}");
    process::until("it is gone on h1", || taken(&rig, "h1") < 1_000_000);

    write();
    head.grid(["dispatcher", "stop"]).ok();
    rig.cut("h1");
    head.grid(["config", "set", "probe_timeout", "1s"]).ok();
    let said = head.grid(["gc"]).ok();
    assert!(said.contains("not yet removed on s1"), "{said}");
    assert!(taken(&rig, "h1") > 30_000_000);
    // Whoever knew of it is gone; the database remembers.
    head.grid(["dispatcher", "stop"]).ok();
    rig.heal("h1");
    head.grid(["server", "refresh", "s1"]).ok();
    process::until("it is gone on h1", || taken(&rig, "h1") < 1_000_000);
    process::until("and that is noted", || head.number("SELECT count(*) FROM discard") == 0);
}

#[test]
fn removing_a_server_at_a_terminal_asks_whether_what_lies_on_its_host_goes_too() {
    let Some(rig) = Plan::of(1).up() else { return };
    let mut head = rig.at("head");
    head.set_env("TERM", "xterm");
    head.grid(["config", "set", "output_limit", "1M"]).ok();
    let remove = |answer: &str| {
        let options = rexpect::reader::Options::new().timeout_ms(Some(60_000)).strip_ansi_escape_codes(true);
        let mut shell = head.command("sh");
        shell.args(["-c", "stty cols 250 rows 30; grid server remove s1; echo code=$?"]);
        let mut terminal = rexpect::session::spawn_with_options(shell, options).expect("a pty");
        let asked = terminal.exp_string("too? [y/N] ").expect("the question");
        terminal.send_line(answer).expect("an answer");
        let rest = terminal.exp_eof().expect("its end");
        assert!(rest.trim_end().ends_with("code=0"), "{answer:?}: {rest}");
        (asked, rest)
    };
    let servers = || head.number("SELECT count(*) FROM server WHERE name = 's1'");
    let what = "what grid has in ~/.local/state/grid and ~/.cache/grid/bin on h1, with outputs or files of 1 task that are nowhere else";
    for (answer, is_cleared) in [("", false), ("n", false), ("what?", false), ("y", true)] {
        head.grid(["server", "add", "s1", "--ssh", "h1"]).ok();
        head.grid(["run", "-w", "s1", "--", "sh", "-c", LONG]).expect(0);
        let (asked, rest) = remove(answer);
        assert!(asked.contains(&format!("Remove {what} ")), "{asked}");
        assert_eq!(servers(), 0, "{answer:?}");
        if is_cleared {
            assert!(rest.contains("removed from its host"), "{rest}");
            process::until("nothing is left", || traces(&rig, "h1") < 100_000);
        } else {
            assert!(rest.contains(&format!("{what} is kept")), "{answer:?}: {rest}");
            assert!(taken(&rig, "h1") > 30_000_000, "{answer:?}");
        }
    }
}
