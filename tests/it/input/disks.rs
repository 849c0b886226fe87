//! A full disk, a home that can't be written, a database that is none, a network file system.

use crate::support::small::Small;
use crate::support::{Grid, process, skipped};
use grid::store::{Home, StoreError};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::Command;

/// A grid whose home lies on a file system of its own.
fn on_small(test: &str, size: &str) -> Option<(Grid, Small)> {
    let grid = Grid::bare();
    let place = grid.file("small");
    let Some(small) = Small::mount(&place, size) else {
        skipped(test, "this account may not mount a small file system");
        return None;
    };
    Some((grid.at(place.join("h")), small))
}

#[test]
fn full_disk_is_reported_and_nothing_is_lost() {
    let Some((grid, small)) = on_small("a full disk", "1500k") else { return };
    grid.grid(["config", "set", "idle_exit", "2s"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "read x < go; exit 3"]);
    grid.until_state(&id, "RUNNING");
    let ballast = small.fill();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["grid.db: the disk is full", "nothing was changed"]);
    grid.grid(["run", "--", "true"]).expect(125).says(&["the disk is full"]);
    grid.grid(["user", "add", "alice"]).expect(1).says(&["the disk is full"]);
    // Whoever opens a database that nobody has open gives a few blocks back first and takes them again: another may be faster.
    process::until("what is there can be read", || grid.grid(["status"]).code() == 0);
    assert_eq!(grid.tasks(), 2);
    // Its end finds no room; it is written when there is some.
    std::fs::write(grid.file("go"), "\n").unwrap();
    process::until("the command has ended", || {
        grid.processes().into_iter().all(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            !line.starts_with(b"sh\0-c\0read x")
        })
    });
    std::fs::remove_file(ballast).unwrap();
    grid.grid(["wait", &id]).expect(3);
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!((grid.tasks(), grid.number("SELECT count(*) FROM member WHERE state = 'LOST'")), (3, 0));
}

#[test]
fn full_disk_is_reported_by_the_command_that_opens_the_home_first() {
    let Some((grid, small)) = on_small("a full disk, nobody at work", "1500k") else { return };
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    process::until("nobody has it open", || grid.processes().is_empty());
    // The log that was left behind has room for a submit.
    let database = Connection::open(grid.home().join("grid.db")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    let ballast = small.fill();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["the disk is full"]);
    // SQLite has other words for it, where it is not a write that fails.
    let failed = || {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
        StoreError::from(rusqlite::Error::SqliteFailure(code, None)).at(&Home::at(grid.home())).to_string()
    };
    assert!(failed().contains("the disk is full"), "{}", failed());
    std::fs::remove_file(ballast).unwrap();
    assert!(!failed().contains("the disk is full"), "{}", failed());
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(grid.tasks(), 2);
}

#[test]
fn a_home_without_room_is_not_left_half_made() {
    let Some((grid, small)) = on_small("a home without room", "40k") else { return };
    grid.grid(["run", "--", "true"]).expect(125).says(&["the disk is full"]);
    assert!(!grid.home().join("grid.db").exists());
    assert!(small.remount("size=8m"));
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(grid.tasks(), 1);
}

/// Its directories may be missing: an older home, or a database that was put there.
#[test]
fn older_home_that_cannot_be_upgraded_for_want_of_a_writable_disk_says_so() {
    let Some((grid, small)) = on_small("an older home on a read-only disk", "8m") else { return };
    let grid = crate::versions::home_in(grid, "3");
    grid.sh("sqlite3 $GRID_HOME/grid.db 'PRAGMA wal_checkpoint(TRUNCATE)' && rm -f $GRID_HOME/grid.db-*").expect(0);
    assert!(small.remount("ro"));
    let said = grid.grid(["status"]).expect(1).err();
    let words =
        ["upgrade of the database from version 3", "Read-only file system", "mounted read-only", "set GRID_HOME"];
    assert!(words.iter().all(|word| said.contains(word)) && !said.contains("No such file"), "{said}");
    assert!(small.remount("rw"));
    grid.grid(["status"]).expect(0).says(&["is upgraded from version 3"]);
}

/// Also root can't write there.
#[test]
fn read_only_home_is_reported() {
    let Some((grid, small)) = on_small("a read-only home", "8m") else { return };
    assert!(small.remount("ro"));
    grid.grid(["submit", "--", "true"]).expect(1).says(&["Read-only file system", "set GRID_HOME"]);
    assert!(small.remount("rw"));
    grid.grid(["run", "--", "echo", "hello"]).ok();
    grid.grid(["server", "drain", "local"]).ok();
    grid.submit(["--", "true"]);
    grid.grid(["dispatcher", "stop"]).ok();
    process::until("nobody writes there any more", || grid.processes().is_empty());
    assert!(small.remount("ro"));
    for line in [&["submit", "--", "true"][..], &["hold", "2"], &["user", "add", "alice"]] {
        grid.grid(line).expect(1).says(&["Read-only file system", "set GRID_HOME"]);
    }
    let done = grid.grid(["run", "--", "true"]).expect(125);
    let said = done.err();
    let words = [grid.home().to_str().unwrap(), "Read-only file system", "mounted read-only"];
    assert!(words.iter().all(|word| said.contains(word)) && !said.contains("permissions"), "{said}");
    // What it knows can be read.
    for line in [
        "status",
        "show 1",
        "explain 1",
        "wait 1",
        "logs -f 1",
        "server list",
        "user list",
        "config list",
        "sql 'SELECT 1'",
        "dispatcher status",
    ] {
        grid.sh(&format!("grid {line}")).expect(0);
    }
    assert_eq!(grid.grid(["logs", "1"]).ok(), "hello");
    assert_eq!(grid.state("2"), "PENDING");
    assert!(grid.grid(["doctor"]).expect(1).out().contains("can't be written"));
    // Also where nothing of the shared memory was left.
    assert!(small.remount("rw"));
    grid.sh("sqlite3 $GRID_HOME/grid.db 'PRAGMA wal_checkpoint(TRUNCATE)' && rm -f $GRID_HOME/grid.db-*").expect(0);
    assert!(small.remount("ro"));
    assert_eq!(grid.grid(["logs", "1"]).ok(), "hello");
    assert!(small.remount("rw"));
    assert_eq!(grid.tasks(), 2);
}

#[test]
fn home_at_an_impossible_path_is_reported() {
    let grid = Grid::bare();
    let file = grid.file("file");
    std::fs::write(&file, "mine").unwrap();
    let grid = grid.at(&file);
    grid.grid(["submit", "--", "true"]).expect(1).says(&["file: not a directory", "GRID_HOME"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let grid = grid.at(file.join("below"));
    grid.grid(["submit", "--", "true"]).expect(1).says(&["Not a directory"]);
    let grid = grid.at("/proc/no/such/place");
    grid.grid(["submit", "--", "true"]).expect(1).says(&["/proc/no/such/place", "No such file"]);
    let mut nowhere = grid.typed(["submit", "--", "true"]);
    nowhere.env_remove("GRID_HOME").env_remove("HOME");
    process::run(&mut nowhere).expect(1).says(&["no home"]);
}

#[test]
fn directory_of_another_account_is_reported() {
    let grid = Grid::new();
    let closed = grid.file("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    // Modes do not hold root back: as nobody then, if there is a way.
    let me = rustix::process::getuid().is_root();
    let line = format!(
        "exec {} env GRID_HOME={}/h grid submit -- true",
        if me { "setpriv --reuid 65534 --clear-groups" } else { "" },
        closed.display()
    );
    std::fs::set_permissions(grid.work().parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let done = grid.sh(&line);
    if [126, 127].contains(&done.code()) {
        return skipped("another account's directory", &format!("nobody can't execute grid here: {}", done.err()));
    }
    done.expect(1).says(&["Permission denied", "GRID_HOME"]);
}

#[test]
fn root_leaves_another_accounts_home_alone() {
    let grid = Grid::new();
    let id = grid.submit(["-H", "--", "id", "-u"]);
    grid.grid(["dispatcher", "stop"]).ok();
    let give =
        |uid| [grid.home(), &grid.home().join("grid.db")].map(|path| std::os::unix::fs::chown(path, Some(uid), None));
    if give(65_534).iter().any(Result::is_err) {
        return skipped("another account's home", "only root can give it away");
    }
    for line in ["status", "release all", "submit -- true", "server list", "dispatcher start"] {
        grid.grid(line.split(' ')).expect(1).says(&["belongs to another account", "sudo -u '#65534' grid"]);
    }
    let home = grid.home().to_str().unwrap();
    grid.grid(["dispatcher", "serve", "--home", home]).expect(1);
    assert_eq!(grid.dispatcher(), None);
    assert!(give(0).iter().all(Result::is_ok));
    assert_eq!(grid.state(&id), "HELD");
}

/// All of it in the one file, nobody at work.
fn at_rest(grid: &Grid) -> PathBuf {
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    let path = grid.home().join("grid.db");
    let database = Connection::open(&path).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    path
}

#[test]
fn damaged_database_is_reported_and_left_alone() {
    for (from, what) in [(0, "not a database"), (100, "malformed"), (8192, "malformed")] {
        let grid = Grid::new();
        let path = at_rest(&grid);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[from..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &damaged).unwrap();
        for line in [&["submit", "--", "true"][..], &["status"]] {
            let words = [path.to_str().unwrap(), what, "restore a backup"];
            grid.grid(line).expect(1).says(&words);
        }
        assert!(grid.grid(["doctor"]).expect(1).out().contains(what));
        assert!(std::fs::read(&path).unwrap() == damaged, "it was touched");
        std::fs::write(&path, whole).unwrap();
        grid.grid(["run", "--", "true"]).ok();
        assert_eq!(grid.tasks(), 2);
    }
}

#[test]
fn file_that_is_no_database_of_grid_is_reported_and_left_alone() {
    let grid = Grid::bare();
    std::fs::create_dir(grid.home()).unwrap();
    let path = grid.home().join("grid.db");
    std::fs::write(&path, "").unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["no database of grid"]);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["no database of grid"]);
    assert_eq!(other.query_row("SELECT a FROM mine", [], |row| row.get(0)), Ok(1));
    drop(other);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["grid.db"]);
}

/// A directory that is really another host's to the kernel: sshfs over a real sftp server, without the network between.
struct Far(PathBuf);

impl Far {
    fn mount(grid: &Grid) -> Option<Self> {
        let server = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
        let server = server.iter().find(|path| std::path::Path::new(path).exists())?;
        let ssh = grid.file("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\nexec {server}\n")).unwrap();
        std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (behind, at) = (grid.file("behind"), grid.file("far"));
        std::fs::create_dir(&behind).unwrap();
        std::fs::create_dir(&at).unwrap();
        let (command, from) = (format!("ssh_command={}", ssh.display()), format!("far:{}", behind.display()));
        let mounted = Command::new("sshfs").args(["-o", &command, &from]).arg(&at).output();
        mounted.is_ok_and(|o| o.status.success()).then_some(Self(at))
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_home_on_a_network_file_system_is_refused() {
    let grid = Grid::bare();
    let Some(far) = Far::mount(&grid) else {
        return skipped("a network file system", "sshfs, sftp-server or the right to mount is missing");
    };
    let place = far.0.clone();
    let grid = grid.at(place.join("h"));
    for line in [&["submit", "--", "true"][..], &["status"], &["server", "list"]] {
        grid.grid(line).expect(1).says(&["is on a network file system (sshfs)", "set GRID_HOME", "local disk"]);
    }
    grid.grid(["run", "--", "true"]).expect(125);
    assert!(!grid.home().exists(), "nothing was made there");
}

/// In a mount namespace, so that this machine's own /var/tmp is left alone.
#[test]
fn a_default_home_on_a_network_file_system_goes_to_a_local_disk() {
    let grid = Grid::bare();
    if grid.sh("unshare -rm true").code() != 0 {
        return skipped("the default home on a network file system", "no mount namespaces here");
    }
    let far = Far::mount(&grid);
    if far.is_none() {
        // What the kernel says of a file system is played then; where the home goes is real.
        skipped(
            "the default home on sshfs",
            "sshfs, sftp-server or the right to mount is missing; a stand-in plays it",
        );
    }
    let home = far.as_ref().map_or_else(|| grid.file("far"), |far| far.0.clone());
    std::fs::create_dir_all(&home).unwrap();
    let stand_in =
        if far.is_some() { String::new() } else { format!("export GRID_TEST_NETWORK_FS={}", home.display()) };
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /var/tmp; unset GRID_HOME; export HOME={}; {stand_in}
         grid run -- echo one 2> first; grid run -- echo two 2> second
         stat -c '%a' /var/tmp/grid-*; ls /var/tmp/grid-*/grid.db; cat $HOME/.config/grid/home@*
         grid dispatcher stop; chmod 755 /var/tmp/grid-*; ! grid status 2> open",
        home.display()
    );
    let done = grid.sh(&format!("unshare -rm sh -c '{}'", script.replace('\'', r"'\''"))).expect(0);
    let uid = rustix::process::getuid().as_raw();
    let uid = if done.out().contains(&format!("grid-{uid}/")) { uid } else { 0 };
    let dir = format!("/var/tmp/grid-{uid}");
    assert_eq!(done.out(), format!("one\ntwo\n700\n{dir}/grid.db\n{dir}\n"), "{done:?}");
    let first = grid.lines("first").join("\n");
    assert!(first.contains("network file system") && first.contains(&dir), "it is said once: {first}");
    assert_eq!(grid.lines("second"), Vec::<String>::new(), "and not again");
    assert!(grid.lines("open").join("\n").contains("yours alone"), "a directory open to others is not used");
}

/// Bytes that are free on the file system of a small home.
fn free(grid: &Grid) -> u64 {
    rustix::fs::statvfs(grid.home()).map(|stat| stat.f_bavail * stat.f_frsize).unwrap()
}

/// Cancels it, whether or not there is room to record that at once; it ends.
fn cancel_on_full_disk(grid: &Grid, id: &str) {
    let asked = grid.grid(["cancel", "--grace", "1s", id]);
    assert!(matches!(asked.code(), 0 | 1));
    asked.says(&["cancel asked"]);
    grid.grid(["wait", id]).expect(130);
}

#[test]
fn runaway_writer_on_a_full_disk_is_cancelled_and_its_end_recorded() {
    let Some((grid, _small)) = on_small("a runaway writer", "100m") else { return };
    grid.grid(["config", "set", "idle_exit", "5s"]).ok();
    grid.grid(["run", "--", "true"]).ok();
    let id = grid.submit(["--", "sh", "-c", "while :; do head -c 1000000 /dev/zero; done 2>/dev/null"]);
    grid.until_state(&id, "RUNNING");
    process::until("the disk is full", || free(&grid) == 0);
    let dispatcher = grid.dispatcher();
    assert!(dispatcher.is_some());
    grid.grid(["submit", "--", "true"]).expect(1).says(&["the disk is full"]);
    assert!(grid.grid(["status"]).expect(0).out().contains("the home's disk is full"));
    cancel_on_full_disk(&grid, &id);
    let shown = grid.show(&id);
    assert_eq!((shown["state"].as_str(), shown["cut"].as_str()), (Some("CANCELLED"), Some("disk_full")), "{shown}");
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher stays");
    // It lies where it was written, once, and can be read.
    let out = grid.grid(["logs", &id]).expect(0).says(&["its output was cut: the disk was full"]);
    assert!(out.out.len() as u64 > 50 << 20, "{}", out.out.len());
    assert_eq!(std::fs::read_dir(grid.home().join("spool/out")).unwrap().count(), 0);
}

#[test]
fn cancel_reaches_a_runaway_writer_whose_agent_died_on_the_full_disk() {
    let Some((grid, _small)) = on_small("a runaway writer without its agent", "100m") else { return };
    let id = grid.submit(["--", "sh", "-c", "while :; do head -c 1000000 /dev/zero; done 2>/dev/null"]);
    grid.until_state(&id, "RUNNING");
    process::until("the disk is full", || free(&grid) == 0);
    let agents = || {
        let is_agent = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"grid\0agent\0"))
        };
        grid.processes().into_iter().filter(is_agent).collect::<Vec<i32>>()
    };
    for pid in agents().into_iter().filter_map(Pid::from_raw) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    cancel_on_full_disk(&grid, &id);
}
