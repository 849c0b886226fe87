//! Where fetched files land, and what is never overwritten.

use crate::support::{Grid, process};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_file_that_was_changed_here_is_not_overwritten() {
    let grid = Grid::new();
    fs::write(grid.file("kept"), "as sent").unwrap();
    fs::write(grid.file("edited"), "as sent").unwrap();
    fs::write(grid.file("old"), "from before").unwrap();
    let make = "for f in kept edited old new; do echo task > $f; done";
    let id = grid.submit(["--hold", "--send", "kept", "--send", "edited", "--fetch", "*", "--", "sh", "-c", make]);
    fs::write(grid.file("edited"), "mine").unwrap();
    fs::write(grid.file("new"), "mine too").unwrap();
    grid.grid(["release", &id]).ok();
    let said = grid.grid(["wait", &id]).expect(0);
    said.says(&["edited: changed here since the submit", "new: changed here"]);
    let read = |name: &str| fs::read_to_string(grid.file(name)).unwrap();
    assert_eq!((read("kept"), read("old")), ("task\n".into(), "task\n".into()));
    assert_eq!((read("edited"), read("new")), ("mine".into(), "mine too".into()));
    assert_eq!(read(&format!("edited.grid-{id}")), "task\n");
    assert_eq!(read(&format!("new.grid-{id}")), "task\n");
    // Again is no harm, and makes no more of them.
    let before = fs::read_dir(grid.work()).unwrap().count();
    grid.grid(["fetch", &id]).expect(0);
    assert_eq!(fs::read_dir(grid.work()).unwrap().count(), before);
    assert_eq!(read("edited"), "mine");
}

#[test]
fn a_file_with_the_time_and_the_length_of_what_was_sent_is_compared() {
    let grid = Grid::new();
    fs::write(grid.file("edited"), "as sent").unwrap();
    fs::write(grid.file("touched"), "as sent").unwrap();
    let time = fs::metadata(grid.file("edited")).unwrap().modified().unwrap();
    let make = "for f in edited touched; do echo task > $f; done";
    let id = grid.submit(["--hold", "--send", "edited", "--send", "touched", "--fetch", "*", "--", "sh", "-c", make]);
    fs::write(grid.file("edited"), "is mine").unwrap();
    fs::File::options().write(true).open(grid.file("edited")).unwrap().set_modified(time).unwrap();
    fs::write(grid.file("touched"), "as sent").unwrap();
    grid.grid(["release", &id]).ok();
    grid.grid(["wait", &id]).expect(0).says(&["edited: changed here since the submit"]);
    let read = |name: &str| fs::read_to_string(grid.file(name)).unwrap();
    assert_eq!((read("edited"), read("touched")), ("is mine".into(), "task\n".into()));
    assert_eq!(read(&format!("edited.grid-{id}")), "task\n");
}

#[test]
fn a_link_here_is_not_followed_out_of_the_directory() {
    let grid = Grid::new();
    fs::create_dir_all(grid.file("inside")).unwrap();
    fs::create_dir_all(grid.file("outside")).unwrap();
    symlink("../outside", grid.file("inside/dir")).unwrap();
    symlink("../outside/file", grid.file("inside/file")).unwrap();
    fs::write(grid.file("outside/file"), "mine").unwrap();
    let make = "rm -rf dir file; mkdir dir; echo task > dir/x; echo task > file; ln -s .. up; ln -s dir/x within";
    let mut run = grid.typed(["submit", "--parsable", "--send", "/etc/hostname", "--fetch", "dir", "--fetch", "file"]);
    run.args(["--", "sh", "-c", make]).current_dir(grid.file("inside"));
    let id = process::run(&mut run).ok();
    grid.grid(["wait", &id]).expect(125).says(&["dir/x: not unpacked", "link is not followed"]);
    assert_eq!(fs::read_to_string(grid.file("outside/file")).unwrap(), "mine");
    assert!(!grid.file("outside/x").exists());
    // A link out of the directory is left out and named; the rest lands.
    let mut run = grid.typed(["run", "--send", "/etc/hostname", "--fetch", "*"]);
    run.args(["--", "sh", "-c", make]).current_dir(grid.file("inside"));
    process::run(&mut run).expect(125).says(&["up: a link to .., which leads out", "dir/x: not unpacked"]);
    assert!(!grid.file("inside/up").is_symlink() && !grid.file("outside/x").exists());
    assert_eq!(fs::read_link(grid.file("inside/within")).unwrap(), std::path::Path::new("dir/x"));
}

#[test]
fn results_are_kept_if_the_directory_is_gone() {
    let grid = Grid::new();
    fs::create_dir(grid.file("gone")).unwrap();
    let mut run = grid.typed(["submit", "--parsable", "--send", "/etc/hostname", "--fetch", "out"]);
    run.args(["--", "sh", "-c", "echo text > out"]).current_dir(grid.file("gone"));
    let id = process::run(&mut run).ok();
    fs::remove_dir(grid.file("gone")).unwrap();
    grid.grid(["wait", &id]).expect(125).says(&["gone", "--to"]);
    grid.grid(["fetch", &id, "--to", "there"]).ok();
    assert_eq!(fs::read_to_string(grid.file("there/out")).unwrap(), "text\n");
    let json = grid.grid(["fetch", &id, "--to", "there", "--json"]).json();
    assert_eq!(json[0]["files"][0]["landing"], "same", "{json}");
}

#[test]
fn link_among_the_results_blocks_no_file_and_is_named_until_it_is_fetched() {
    let grid = Grid::new();
    fs::write(grid.file("in.txt"), "in").unwrap();
    let make = "echo r > out1; ln -s $PWD/out1 outlatest; ln -s outlatest outagain; ln -s /etc/hosts outhosts; ln -s outloop outloop";
    grid.grid(["run", "--send", "in.txt", "--fetch", "out*", "--", "sh", "-c", make]).expect(0).says(&["outhosts"]);
    assert_eq!(fs::read_to_string(grid.file("outagain")).unwrap(), "r\n");
    assert_eq!(fs::read_link(grid.file("outlatest")).unwrap(), std::path::Path::new("out1"));
    assert!(grid.file("outloop").is_symlink() && !grid.file("outhosts").is_symlink());
    // Whoever asks later is told the same.
    let said = "outhosts: a link to /etc/hosts, which leads out";
    grid.grid(["wait", "1"]).expect(0).says(&[said]);
    assert!(grid.grid(["status"]).ok().contains(said) && grid.grid(["show", "1"]).ok().matches(said).count() == 1);
    let brought = grid.show("1")["files"]["fetched"][0].clone();
    assert!(brought["remarks"][0].as_str().unwrap().contains(said) && brought["unpacked_at"].is_string(), "{brought}");
}

#[test]
fn files_that_did_not_land_are_reported_by_all_commands_until_they_have() {
    let grid = Grid::new();
    fs::write(grid.file("in.txt"), "in").unwrap();
    symlink("nowhere", grid.file("d")).unwrap();
    let make = "mkdir d; echo x > d/x; echo y > y";
    grid.grid(["run", "--send", "in.txt", "--fetch", "*", "--", "sh", "-c", make])
        .expect(125)
        .says(&["d/x: not unpacked"]);
    assert_eq!(fs::read_to_string(grid.file("y")).unwrap(), "y\n");
    for _ in 0..2 {
        grid.grid(["wait", "1"]).expect(125).says(&["d/x: not unpacked"]);
        let json = grid.grid(["wait", "1", "--json"]).expect(125).out();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["code"], &json["tasks"][0]["exit_code"]), (&125.into(), &0.into()), "{json}");
        assert_eq!(json["files"][0]["files"][1]["landing"], "refused", "{json}");
    }
    let brought = || grid.show("1")["files"]["fetched"][0].clone();
    assert!(brought()["unpacked_at"].is_null());
    assert!(brought()["not_unpacked"].as_str().unwrap().contains("d/x: "), "{}", brought());
    assert!(grid.grid(["status"]).ok().contains("its files are not all here: d: "));
    assert!(grid.grid(["show", "1"]).ok().contains("not all of it unpacked"));
    fs::remove_file(grid.file("d")).unwrap();
    grid.grid(["fetch", "1"]).expect(0);
    assert_eq!(fs::read_to_string(grid.file("d/x")).unwrap(), "x\n");
    assert!(brought()["unpacked_at"].is_string() && brought()["not_unpacked"].is_null());
    grid.grid(["wait", "1"]).expect(0);
    assert!(!grid.grid(["status"]).ok().contains("not all here"));
}

#[test]
fn sent_link_that_leads_out_is_named_and_one_inside_is_rewritten() {
    let grid = Grid::new();
    fs::create_dir_all(grid.file("venv/bin")).unwrap();
    fs::write(grid.file("venv/lib"), "lib").unwrap();
    symlink("/bin/sh", grid.file("venv/bin/python")).unwrap();
    symlink(grid.file("venv/lib"), grid.file("venv/bin/lib")).unwrap();
    let make = "readlink venv/bin/*; echo new > venv/made";
    let mut run = grid.typed(["run", "--send", "venv", "--fetch", "venv", "--", "sh", "-c", make]);
    let done = process::run(&mut run);
    let said: Vec<String> = done.err().lines().map(str::to_owned).collect();
    assert_eq!(done.ok(), "../lib\n/bin/sh");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("venv/bin/python -> /bin/sh") && !said[0].contains("lib"), "{said:?}");
    // It came as it was sent, so nothing is missing; the one here is as it was.
    assert_eq!(fs::read_link(grid.file("venv/bin/python")).unwrap(), std::path::Path::new("/bin/sh"));
    assert_eq!(fs::read_link(grid.file("venv/bin/lib")).unwrap(), grid.file("venv/lib"));
    assert_eq!(fs::read_to_string(grid.file("venv/made")).unwrap(), "new\n");
}
