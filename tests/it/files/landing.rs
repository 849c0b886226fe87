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
    // A link out of the directory is refused, and with it all.
    let mut run = grid.typed(["run", "--send", "/etc/hostname", "--fetch", "*"]);
    run.args(["--", "sh", "-c", make]).current_dir(grid.file("inside"));
    process::run(&mut run).expect(125).says(&["up: a link that leads out of its directory"]);
    assert!(!grid.file("inside/up").exists() && !grid.file("inside/within").exists());
}

#[test]
fn where_the_directory_is_gone_nothing_is_lost() {
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
