//! What is sent arrives as it is, runs as it was, and comes back.

use crate::support::{Grid, process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

fn script(grid: &Grid, name: &str, text: &str) {
    fs::write(grid.file(name), format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(grid.file(name), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_script_and_its_input_travel_together() {
    let grid = Grid::new();
    script(&grid, "encode.sh", "tr a-z A-Z < $1 > out.txt; pwd");
    fs::create_dir(grid.file("in")).unwrap();
    fs::write(grid.file("in/a.wav"), "some sound").unwrap();
    let send = ["--send", "encode.sh", "--send", "in/a.wav", "--fetch", "out.txt"];
    let done = grid.grid(["run"].iter().chain(&send).chain(&["--", "./encode.sh", "in/a.wav"]));
    let place = done.ok();
    assert!(place.contains("/spool/agent/"), "it runs in a directory of its own: {place}");
    assert_eq!(fs::read_to_string(grid.file("out.txt")).unwrap(), "SOME SOUND");
    // And leaves nothing behind.
    process::until("the directory is gone", || !std::path::Path::new(&place).exists());
}

#[test]
fn task_runs_the_files_of_its_submit_not_a_later_edit() {
    let grid = Grid::new();
    fs::write(grid.file("f"), "as submitted").unwrap();
    let held = grid.submit(["--hold", "--send", "f", "--", "cat", "f"]);
    fs::write(grid.file("f"), "edited").unwrap();
    grid.grid(["release", &held]).ok();
    grid.grid(["wait", &held]).ok();
    assert_eq!(grid.grid(["logs", &held]).ok(), "as submitted");
}

#[test]
fn the_same_content_is_kept_and_sent_once() {
    let grid = Grid::new();
    fs::write(grid.file("f"), "x".repeat(1000)).unwrap();
    let ids: Vec<String> = (0..5).map(|_| grid.submit(["--send", "f", "--", "cat", "f"])).collect();
    for id in &ids {
        grid.grid(["wait", id]).ok();
    }
    assert_eq!(fs::read_dir(grid.home().join("spool/sent")).unwrap().count(), 1);
    assert_eq!(grid.number("select count(*) from bundle"), 1);
    let spool = grid.home().join("spool/agent");
    let bundles = fs::read_dir(spool).unwrap().flatten().map(|home| home.path().join("bundles"));
    let all: usize = bundles.map(|dir| fs::read_dir(dir).unwrap().count()).sum();
    assert_eq!(all, 1);
    let mode =
        fs::read_dir(grid.home().join("spool/sent")).unwrap().next().unwrap().unwrap().metadata().unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_task_can_not_change_what_the_next_one_gets() {
    let grid = Grid::new();
    fs::write(grid.file("f"), "whole").unwrap();
    for _ in 0..2 {
        let done = grid.grid(["run", "--send", "f", "--", "sh", "-c", "cat f; echo spoilt > f; chmod 000 f"]);
        assert_eq!(done.ok(), "whole");
    }
}

#[test]
fn a_whole_directory_travels_as_it_is() {
    let grid = Grid::new();
    let work = grid.work();
    let odd = OsStr::from_bytes(b"odd \xff\n\x01 name");
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(200));
    fs::create_dir_all(work.join("sub/empty")).unwrap();
    fs::create_dir_all(work.join(&long).parent().unwrap()).unwrap();
    fs::write(work.join(&long), "long").unwrap();
    fs::write(work.join(odd), "odd").unwrap();
    fs::write(work.join("sub/plain"), "plain").unwrap();
    fs::set_permissions(work.join("sub/plain"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("sub/plain", work.join("link")).unwrap();
    symlink(format!("/nowhere/{}", "l".repeat(150)), work.join("dangling")).unwrap();
    script(&grid, "tool", "true");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    fs::File::options().append(true).open(work.join("sub/plain")).unwrap().set_modified(time).unwrap();
    let look = "find . -mindepth 1 -printf '%P %y %l %M %s\\n' | sort; find sub/plain -printf '%T+\\n'";
    let here = grid.sh(look).ok();
    let there = grid.grid(["run", "--dir", "--", "sh", "-c", look]).ok();
    let plain = |text: &str| text.lines().filter(|l| !l.contains(" d ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(plain(&there), plain(&here));
    assert!(there.contains("sub/empty d") && there.contains("2009-02-13+"), "{there}");
    // Nothing was changed, so nothing came back.
    assert_eq!(grid.sql("select files from fetched").len(), 1);
    assert_eq!(grid.number("select files from fetched"), 0);
}

#[test]
fn gitignored_files_are_neither_sent_nor_fetched() {
    let grid = Grid::new();
    fs::create_dir_all(grid.file("target")).unwrap();
    fs::create_dir_all(grid.file(".git")).unwrap();
    for (name, text) in
        [(".gitignore", "target/\n*.o\n"), ("target/big", ""), ("a.o", ""), ("a.c", ""), (".git/config", "")]
    {
        fs::write(grid.file(name), text).unwrap();
    }
    let make = "ls -A; echo built > a.out; echo obj > b.o; mkdir -p target new/deep; echo t > target/t; echo n > new/deep/n; rm a.c";
    let done = grid.grid(["run", "--dir", "--", "sh", "-c", make]);
    assert_eq!(done.ok(), ".gitignore\na.c");
    assert_eq!(fs::read_to_string(grid.file("a.out")).unwrap(), "built\n");
    assert_eq!(fs::read_to_string(grid.file("new/deep/n")).unwrap(), "n\n");
    assert!(!grid.file("b.o").exists() && !grid.file("target/t").exists(), "ignored files are not brought back");
    assert!(grid.file("a.c").exists(), "a deletion is not brought back");
    // Unless they are asked for.
    grid.grid(["run", "--dir", "--fetch", "target", "--", "sh", "-c", make]).ok();
    assert_eq!(fs::read_to_string(grid.file("target/t")).unwrap(), "t\n");
}

#[test]
fn the_task_runs_in_the_same_place_of_the_directory() {
    let grid = Grid::new();
    fs::create_dir_all(grid.file("top/sub")).unwrap();
    fs::write(grid.file("top/shared"), "shared").unwrap();
    fs::write(grid.file("top/sub/own"), "own").unwrap();
    let mut run = grid.typed(["run", "--dir", "..", "--fetch", "own2", "--", "sh", "-c"]);
    run.arg("basename $PWD; cat ../shared own; echo x > own2; echo y > ../beside").current_dir(grid.file("top/sub"));
    assert_eq!(process::run(&mut run).ok(), "sub\nsharedown");
    assert_eq!(fs::read_to_string(grid.file("top/sub/own2")).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(grid.file("top/beside")).unwrap(), "y\n");
}

#[test]
fn a_failed_task_brings_its_files_all_the_same() {
    let grid = Grid::new();
    let make = "echo half > out; mkfifo pipe; exit 7";
    grid.grid(["run", "--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", make]).expect(7);
    assert_eq!(fs::read_to_string(grid.file("out")).unwrap(), "half\n");
    // With another attempt to come only the last one's count.
    let make = "echo $GRID_ATTEMPT > out; test $GRID_ATTEMPT = 2";
    grid.grid(["run", "--retries", "1", "--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", make]).ok();
    assert_eq!(grid.number("select number from fetched where task_id = 2"), 2);
}

#[test]
fn a_cancelled_task_brings_what_it_has() {
    let grid = Grid::new();
    let go = grid.fifo("go");
    let make = format!("echo some > out; echo > {}; sleep 100", go.display());
    let id = grid.submit(["--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", &make]);
    fs::read(&go).unwrap();
    grid.grid(["cancel", &id]).ok();
    grid.grid(["wait", &id]).expect(130);
    assert_eq!(fs::read_to_string(grid.file("out")).unwrap(), "some\n");
}

#[test]
fn a_long_output_that_stays_on_its_server_keeps_no_files_there() {
    let grid = Grid::new();
    grid.grid(["config", "set", "output_limit", "20K"]).ok();
    let make = "head -c 100000 /dev/zero | tr '\\0' x; echo made > out";
    let id = grid.submit(["--send", "/etc/hostname", "--fetch", "out", "--", "sh", "-c", make]);
    grid.grid(["wait", &id]).ok();
    assert_eq!(fs::read_to_string(grid.file("out")).unwrap(), "made\n");
    assert_eq!(grid.grid(["logs", &id]).ok().len(), 100_000);
    let left = format!("find {} -path '*/work/*'", grid.home().join("spool/agent").display());
    process::until("its directory is gone", || grid.sh(&left).ok().is_empty());
}

#[test]
fn globs_bring_what_they_match_and_say_what_they_do_not() {
    let grid = Grid::new();
    let make = "mkdir -p a/b; touch a/1.png a/b/2.png a/b/3.txt 4.png; mkfifo a/5.png";
    let fetch = ["--fetch", "**/*.png", "--fetch", "no*thing", "--fetch", "a/b/3.txt"];
    let done = grid.grid(["run", "--send", "/etc/hostname"].iter().chain(&fetch).chain(&["--", "sh", "-c", make]));
    done.expect(0).says(&["no*thing: nothing there", "a/5.png: a FIFO"]);
    for name in ["a/1.png", "a/b/2.png", "a/b/3.txt", "4.png"] {
        assert!(grid.file(name).exists(), "{name}");
    }
    assert!(!grid.file("a/5.png").exists());
    // Without anything sent the task's directory is the working directory.
    grid.grid(["run", "--fetch", "late", "--", "sh", "-c", "echo late > late"]).ok();
    grid.grid(["fetch", "last", "--to", "elsewhere"]).ok();
    assert_eq!(fs::read_to_string(grid.file("elsewhere/late")).unwrap(), "late\n");
}

#[test]
fn files_that_can_not_be_sent_are_refused_before_anything_is_queued() {
    let grid = Grid::new();
    let _socket = std::os::unix::net::UnixListener::bind(grid.file("socket")).unwrap();
    let refused = |arguments: &[&str], words: &[&str]| {
        let done = grid.grid(["submit"].iter().chain(arguments).chain(&["--", "true"]));
        done.expect(2).says(words);
    };
    refused(&["--send", "nothing"], &["nothing", "No such file"]);
    refused(&["--send", "socket"], &["socket", "a socket can't be packed"]);
    refused(&["--dir"], &["a socket can't be packed"]);
    refused(&["--dir", "/nowhere"], &["/nowhere"]);
    refused(&["--fetch", "/etc/passwd"], &["absolute"]);
    refused(&["--fetch", "../x"], &["upwards"]);
    refused(&["--fetch", "a[b"], &["--fetch"]);
    refused(&["--dir", "..", "--cwd", "/"], &["--cwd"]);
    fs::remove_file(grid.file("socket")).unwrap();
    refused(&["--dir", ".."], &["home"]);
    assert_eq!(grid.tasks(), 0);
    assert_eq!(fs::read_dir(grid.home().join("spool/sent")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn each_member_has_a_directory_of_its_own() {
    let grid = Grid::new();
    fs::write(grid.file("in"), "x").unwrap();
    let make = "test -e own && exit 9; touch own; echo $GRID_ARRAY_INDEX > same; cp same only-$GRID_ARRAY_INDEX";
    let fetch = ["--fetch", "same", "--fetch", "only-*"];
    let id = grid.submit(["--send", "in", "-a", "1-8"].iter().chain(&fetch).chain(&["--", "sh", "-c", make]));
    grid.grid(["wait", &id]).expect(0);
    for index in 1..=8 {
        assert_eq!(fs::read_to_string(grid.file(&format!("only-{index}"))).unwrap(), format!("{index}\n"));
    }
    // The first keeps the name, the others lie beside it.
    assert_eq!(fs::read_to_string(grid.file("same")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(grid.file(&format!("same.grid-{id}.5"))).unwrap(), "5\n");
    grid.grid(["fetch", &format!("{id}.3"), "--to", "three"]).ok();
    assert_eq!(fs::read_to_string(grid.file("three/same")).unwrap(), "3\n");
}

#[test]
fn sent_and_fetched_files_are_shown() {
    let grid = Grid::new();
    fs::write(grid.file("f"), "text").unwrap();
    grid.grid(["run", "--send", "f", "--fetch", "f", "--", "true"]).ok();
    let files = grid.show("last")["files"].clone();
    assert_eq!(files["sent"]["files"], 1, "{files}");
    assert_eq!(files["fetch"][0], "f");
    assert_eq!(files["fetched"][0]["files"], 1);
    grid.grid(["run", "--", "true"]).ok();
    assert!(grid.show("last")["files"].is_null());
    grid.grid(["fetch", "last"]).expect(1).says(&["brings nothing back"]);
}
