//! What a task gets on a host over ssh: the login's environment, with the language, the zone and the venv of its submit.

use crate::support::rig::Plan;
use crate::support::{Rig, process};

/// A program on a host that prints a word.
fn program(rig: &Rig, host: &str, path: &str, word: &str) {
    let script = format!("mkdir -p $(dirname {path}); printf '#!/bin/sh\\necho {word}\\n' > {path}; chmod 755 {path}");
    rig.root(host, &script).ok();
}

#[test]
fn task_elsewhere_gets_the_login_with_the_language_the_zone_and_the_venv_of_its_submit() {
    let Some(rig) = Plan::of(1).up() else { return };
    let mut head = rig.at("head");
    for (name, value) in [
        ("WANTED", "a"),
        ("TZ", "Asia/Tokyo"),
        ("LANG", "de_DE.UTF-8"),
        ("LC_NUMERIC", "fr_FR.UTF-8"),
        ("VIRTUAL_ENV", "/home/grid/venv"),
        ("PATH", "/home/grid/tools:/usr/local/bin:/usr/bin:/bin"),
    ] {
        head.set_env(name, value);
    }
    program(&rig, "h1", "/home/grid/venv/bin/tool", "of-the-venv");
    program(&rig, "head", "/home/grid/tools/only-here", "never");
    head.grid(["server", "add", "s1", "--ssh", "h1", "--slots", "2"]).ok();
    let run = |options: &[&str], script: &str| {
        head.grid([&["run", "-w", "s1"], options, &["--", "sh", "-c", script]].concat())
    };
    let said = run(&[], "echo $WANTED,$TZ,$LANG,$LC_NUMERIC,$GRID_HOME,$VIRTUAL_ENV; tool; echo $PATH").ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], [",Asia/Tokyo,de_DE.UTF-8,fr_FR.UTF-8,,/home/grid/venv", "of-the-venv"], "{said}");
    assert!(lines[2].starts_with("/home/grid/venv/bin:") && !lines[2].contains("tools"), "{said}");

    // The whole environment goes where it is told to; its PATH too.
    let all = run(&["--env-all"], "echo $WANTED; echo $PATH").ok();
    assert_eq!(all, "a\n/home/grid/tools:/usr/local/bin:/usr/bin:/bin");
    // A program that is only here is not found there, and `show` says so.
    head.grid(["run", "-w", "s1", "--", "only-here"]).expect(127).says(&["--app only-here"]);
    head.grid(["show", "last"]).shows(&["only-here is in /home/grid/tools here", "--app only-here", "--env PATH"]);
    // A venv that is not there is none: the submit says that it may not be, and `show` that it is not.
    rig.root("h1", "rm -r /home/grid/venv").ok();
    assert_eq!(run(&[], "echo \"<$VIRTUAL_ENV>\"; echo $PATH | grep -c venv; true").ok(), "<>\n0");
    let absent = "/home/grid/venv (VIRTUAL_ENV) is not on s1: the task runs without it";
    head.grid(["show", "last"]).shows(&[absent]);
    let asked = head
        .grid(["submit", "-w", "s1", "--parsable", "--", "sleep", "600"])
        .says(&["grid: /home/grid/venv (VIRTUAL_ENV) is used on s1 only if it is there; if not, `grid show"]);
    let id = asked.ok();
    process::until("a running task has the note", || head.grid(["show", &id, "--json"]).ok().contains(absent));
    head.grid(["cancel", &id]).ok();
    // A grid there makes no home unasked.
    let nested = run(&[], "$(find ~/.cache/grid/bin -type f -perm -u+x | head -1) submit -- true");
    nested.expect(1).says(&["there is no home here", "GRID_HOME"]);
}

#[test]
fn directory_that_is_reached_by_a_link_into_the_home_is_the_same_one_below_the_home_there() {
    let Some(rig) = Plan::of(1).up() else { return };
    let head = rig.at("head");
    rig.root("head", "mkdir -p /home/ann/work/x && chown -R ann /home/ann/work && ln -s /home/ann/work /tmp/proj").ok();
    rig.root("h1", "mkdir -p /home/grid/work/x && chown -R grid /home/grid/work").ok();
    head.grid(["server", "add", "s1", "--ssh", "h1", "--slots", "2"]).ok();
    assert_eq!(head.sh("cd /tmp/proj/x && grid run -w s1 -- pwd").ok(), "/home/grid/work/x");
}

#[test]
fn power_of_two_hosts_of_one_kind_agrees_within_10_percent() {
    let Some(rig) = Plan::of(2).up() else { return };
    let head = rig.at("head");
    for (server, host) in [("s1", "h1"), ("s2", "h2")] {
        head.grid(["server", "add", server, "--ssh", host, "--slots", "1"]).ok();
    }
    // The best that was seen: beside busy neighbours it may take some readings.
    process::until("both are told alike", || {
        head.grid(["refresh"]).ok();
        let (one, other) = (head.measured("s1", "power"), head.measured("s2", "power"));
        assert!(one > 0.0 && other > 0.0);
        (one - other).abs() <= 0.1 * one.max(other)
    });
}
