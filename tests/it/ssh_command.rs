//! Which ssh is called, and which never is. The programs are stand-ins that leave a mark and let nobody in.

use crate::support::Grid;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// A home at whose PATH stands an `ssh` that nobody named.
fn home() -> Grid {
    let mut grid = Grid::new();
    std::fs::create_dir(grid.file("bin")).expect("a directory");
    stand_in(&grid, "bin/ssh", "plain", "echo 'plain: No route to host' >&2");
    let path = std::env::var("PATH").unwrap_or_default();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_grid"));
    let program = program.parent().expect("a directory").display();
    grid.set_env("PATH", &format!("{}:{program}:{path}", grid.file("bin").display()));
    grid
}

/// A program that notes by which name it was called, and ends as ssh does that gets nowhere.
fn stand_in(grid: &Grid, file: &str, name: &str, says: &str) {
    let path = grid.file(file);
    let log = grid.file("called");
    std::fs::write(&path, format!("#!/bin/sh\necho {name} \"$*\" >> {}\n{says}\nexit 255\n", log.display()))
        .expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
}

/// Names by which programs were called since the last look.
fn called(grid: &Grid) -> Vec<String> {
    called_where(grid, |_| true)
}

/// Names by which programs were called for one host since the last look.
fn called_for(grid: &Grid, host: &str) -> Vec<String> {
    called_where(grid, |words| words.split(' ').any(|word| word == host))
}

/// Names by which programs were called with such words since the last look.
fn called_where(grid: &Grid, are_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = grid.lines("called");
    let _ = std::fs::remove_file(grid.file("called"));
    let calls = lines.iter().filter_map(|line| line.split_once(' '));
    let mut names: Vec<_> = calls.filter(|(_, words)| are_meant(words)).map(|(name, _)| name.to_owned()).collect();
    names.dedup();
    names
}

/// Names of those who are called when a server is read.
fn reaches(grid: &Grid, server: &str) -> Vec<String> {
    called(grid);
    grid.grid(["server", "refresh", server]).expect(1);
    called(grid)
}

fn reason(grid: &Grid, server: &str) -> String {
    let shown = grid.grid(["server", "show", server, "--json"]).json();
    assert_eq!(shown["state"], "DOWN", "{shown}");
    shown["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn named_command_that_fails_is_never_replaced_by_plain_ssh() {
    let mut grid = home();
    stand_in(&grid, "refused", "refused", "echo 'me@h1: Permission denied (publickey).' >&2");
    stand_in(&grid, "odd", "odd", "echo \"Can't open user config file ./gone: No such file or directory\" >&2");
    for (command, name, why) in [
        ("./missing/ssh", None, "missing/ssh"),
        ("./odd -F ./gone", Some("odd"), "Can't open user config file"),
        ("./refused", Some("refused"), "login refused (publickey)"),
        ("ssh -F 'open", None, "a quote is left open"),
    ] {
        let server = format!("s{}", command.len());
        grid.set_env("GRID_SSH_COMMAND", command);
        grid.grid(["server", "add", &server, "--ssh", "h1"]).expect(0).says(&["can't be probed"]);
        assert!(reason(&grid, &server).contains(why), "{command}: {}", reason(&grid, &server));
        let mut all = called(&grid);
        // By a dispatcher that knows of nobody's session.
        grid.unset_env("GRID_SSH_COMMAND");
        grid.grid(["dispatcher", "stop"]).ok();
        all.extend(reaches(&grid, &server));
        assert!(reason(&grid, &server).contains(why), "{command}: {}", reason(&grid, &server));
        all.dedup();
        assert_eq!(all, Vec::from_iter(name), "{command}");
        grid.grid(["dispatcher", "stop"]).ok();
    }
}

#[test]
fn server_keeps_the_command_that_it_was_named_with() {
    let mut grid = home();
    for name in ["one", "two"] {
        stand_in(&grid, name, name, "");
    }
    grid.set_env("GRID_SSH_COMMAND", "./one -F x");
    grid.grid(["server", "add", "s1", "--ssh", "h1"]).ok();
    let one = grid.file("one").display().to_string();
    assert_eq!(grid.attribute("s1", "ssh_command"), format!("{one} -F x"));
    // Neither another caller's nor the home's takes its place.
    grid.set_env("GRID_SSH_COMMAND", "./two");
    assert_eq!(reaches(&grid, "s1"), ["one"]);
    grid.unset_env("GRID_SSH_COMMAND");
    grid.grid(["config", "set", "ssh.command", "./two"]).ok();
    assert_eq!(reaches(&grid, "s1"), ["one"]);
    let two = grid.file("two").display().to_string();
    assert_eq!(grid.grid(["config", "get", "ssh.command"]).ok(), two);
    // Until somebody says so.
    grid.grid(["server", "set", "s1", "--ssh-command", "./two -v"]).ok();
    assert_eq!(grid.attribute("s1", "ssh_command"), format!("{two} -v"));
    assert_eq!(reaches(&grid, "s1"), ["two"]);
    grid.grid(["config", "set", "ssh.command", "./one"]).ok();
    grid.grid(["server", "unset", "s1", "ssh-command"]).ok();
    assert_eq!(grid.attribute("s1", "ssh_command"), serde_json::Value::Null);
    assert_eq!(reaches(&grid, "s1"), ["one"], "the home's");
    grid.grid(["server", "set", "s1", "--ssh-command", "ssh 'open"]).expect(2).says(&["--ssh-command", "a quote"]);
    // A host that is named anew is one of the command that names it.
    grid.set_env("GRID_SSH_COMMAND", "./two");
    grid.grid(["server", "set", "s1", "--ssh", "h2"]).ok();
    assert_eq!(grid.attribute("s1", "ssh_command"), two);
}

#[test]
fn server_without_a_command_is_reached_by_the_homes() {
    let mut grid = home();
    for name in ["one", "two", "setting"] {
        stand_in(&grid, name, name, "");
    }
    grid.grid(["server", "add", "s1", "--ssh", "h1"]).ok();
    assert_eq!(reaches(&grid, "s1"), ["plain"], "nobody named another");
    // The caller that named one last, also for a dispatcher that somebody else starts.
    grid.set_env("GRID_SSH_COMMAND", "./one");
    assert_eq!(reaches(&grid, "s1"), ["one"]);
    grid.unset_env("GRID_SSH_COMMAND");
    assert_eq!(reaches(&grid, "s1"), ["one"]);
    grid.grid(["dispatcher", "stop"]).ok();
    assert_eq!(reaches(&grid, "s1"), ["one"]);
    grid.grid(["dispatcher", "stop"]).ok();
    grid.set_env("GRID_SSH_COMMAND", "./two");
    assert_eq!(reaches(&grid, "s1"), ["two"], "from the first link on");
    // The owner's word, also for a dispatcher that runs.
    grid.grid(["config", "set", "ssh.command", "./setting"]).ok();
    assert_eq!(reaches(&grid, "s1"), ["setting"]);
    grid.unset_env("GRID_SSH_COMMAND");
    grid.grid(["config", "unset", "ssh.command"]).ok();
    assert_eq!(reaches(&grid, "s1"), ["plain"], "and nobody has named another since");
}

#[test]
fn endpoint_keeps_the_command_that_it_was_named_with() {
    let mut grid = home();
    for name in ["one", "two"] {
        stand_in(&grid, name, name, "");
    }
    grid.set_env("GRID_SSH_COMMAND", "./one");
    grid.grid(["distributor", "add", "front", "--tier", "1", "--endpoint", "ssh:h1"])
        .expect(0)
        .says(&["does not answer yet"]);
    let command = || grid.grid(["distributor", "show", "front", "--json"]).json()["attributes"]["ssh_command"].clone();
    assert_eq!(command()["value"], grid.file("one").display().to_string());
    assert_eq!(called(&grid), ["one"]);
    for caller in [None, Some("./two")] {
        grid.unset_env("GRID_SSH_COMMAND");
        if let Some(caller) = caller {
            grid.set_env("GRID_SSH_COMMAND", caller);
        }
        grid.grid(["dispatcher", "stop"]).ok();
        grid.grid(["distributor", "add", "again", "--tier", "1", "--endpoint", "ssh:h2"]).ok();
        let of_h2 = called_for(&grid, "h2");
        grid.grid(["distributor", "remove", "again"]).ok();
        assert_eq!(of_h2, [if caller.is_some() { "two" } else { "one" }], "the home's, else the caller's");
        let line = ["distributor", "register", "--as", "lab", "--with", "ssh:h1", "--endpoint", "ssh:here"];
        grid.unset_env("GRID_SSH_COMMAND");
        grid.grid(line);
        assert_eq!(called_for(&grid, "h1"), ["one"], "{caller:?}");
    }
}

#[test]
fn login_error_shown_is_that_of_the_newest_session() {
    let mut grid = home();
    stand_in(&grid, "named", "named", "echo \"me@h1: Permission denied (${SSH_AUTH_SOCK##*/}).\" >&2");
    grid.set_env("GRID_SSH_COMMAND", "./named");
    let _agents = ["older", "newer"].map(|name| UnixListener::bind(grid.file(name)).expect("a socket"));
    let sock = |name: &str| grid.file(name).display().to_string();
    let (older, newer) = (sock("older"), sock("newer"));
    grid.set_env("SSH_AUTH_SOCK", &older);
    grid.grid(["server", "add", "s1", "--ssh", "h1"]).ok();
    assert!(reason(&grid, "s1").contains("login refused (older)"), "{}", reason(&grid, "s1"));
    grid.set_env("SSH_AUTH_SOCK", &newer);
    grid.grid(["server", "refresh", "s1"]).expect(1);
    assert!(reason(&grid, "s1").contains("login refused (newer)"), "{}", reason(&grid, "s1"));
}
