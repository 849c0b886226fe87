//! The end of a home: what would be lost with it, and the removal of what grid made in its directory, the database first.

use super::results::UNREAD;
use super::schema::clear_logs;
use super::{Home, Result, Store, StoreError, View};
use crate::model::filesystem::{remove_tree, taken};
use rusqlite::TransactionBehavior;
use std::fs::{DirEntry, FileType, remove_dir, remove_file};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a home's directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HomeContents {
    /// Files and directories that grid made.
    pub ours: Vec<PathBuf>,
    /// The rest.
    pub others: Vec<PathBuf>,
    /// Bytes that grid's own take on the disk.
    pub bytes: u64,
}

/// What a home knows that would be lost with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remains {
    pub tasks: u64,
    /// Of these, how many have not ended.
    pub unended: u64,
    /// How many have results that nobody has unpacked.
    pub unread: u64,
    /// How many have a client in another home that does not know yet how they ended.
    pub unheard: u64,
}

/// What grid makes in `run/`; each search in progress has a file besides (`placing.UUID`).
const RUN: [&str; 13] = [
    "agent.log",
    "cron.log",
    "dispatcher.lock",
    "dispatcher.log",
    "dispatcher.sock",
    "draining",
    "founding",
    "gate",
    "peers.log",
    "refresh.lock",
    "reserve",
    "start.lock",
    "users",
];

/// What grid makes in `spool/`; spools and files that were moved aside have a time at their name.
const SPOOL: [&str; 4] = ["agent", "out", "sent", "fetched"];
const ASIDE: [&str; 2] = ["agent.copied.", "former."];

impl Home {
    /// What lies in the directory.
    pub fn contents(&self) -> HomeContents {
        let mut found = HomeContents::default();
        for (entry, kind) in entries(self.dir()) {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_dir = kind.is_dir();
            match name {
                "run" if is_dir => found.take_below(&entry, |name| RUN.contains(&name) || name.starts_with("placing.")),
                "spool" if is_dir => {
                    let aside = |name: &str| ASIDE.iter().any(|begin| name.starts_with(begin));
                    found.take_below(&entry, |name| SPOOL.contains(&name) || aside(name));
                }
                "agents" if is_dir => found.take_below(&entry, |_| false),
                _ => found.take(&entry, kind.is_file() && name.strip_prefix("grid.db").is_some_and(is_of_database)),
            }
        }
        found
    }

    /// Removes what grid made here once the database is gone; the directory too, if nothing else is in it. The caller holds the
    /// founding lock: its file goes last, so that no command founds a home in between.
    pub fn remove_contents(&self) -> Result<()> {
        let lock = self.founding();
        let mut ours = self.contents().ours;
        ours.retain(|path| *path != lock);
        self.remove_paths(ours)?;
        for dir in [self.dir().join("spool"), self.dir().join("agents")] {
            // Fails where something else is left, which is for the person to see.
            let _ = remove_dir(dir);
        }
        self.remove_paths(vec![lock])?;
        for dir in [self.run_dir(), self.dir().to_owned()] {
            // And where a new home is made from here on.
            let _ = remove_dir(dir);
        }
        Ok(())
    }

    fn remove_paths(&self, paths: Vec<PathBuf>) -> Result<()> {
        for path in paths {
            let removed = if path.is_dir() { remove_tree(&path) } else { remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Unwritable { path, error });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl HomeContents {
    fn take(&mut self, entry: &DirEntry, ours: bool) {
        if ours {
            self.bytes += taken(&entry.path());
            self.ours.push(entry.path());
        } else {
            self.others.push(entry.path());
        }
    }

    /// A directory with a name of grid's: it may hold more, where a home lies in a directory that had one.
    fn take_below(&mut self, dir: &DirEntry, ours: impl Fn(&str) -> bool) {
        let within = entries(&dir.path());
        if within.is_empty() {
            self.take(dir, true);
        }
        for (entry, kind) in within {
            // A link is the person's.
            self.take(&entry, !kind.is_symlink() && entry.file_name().to_str().is_some_and(&ours));
        }
    }
}

fn entries(dir: &Path) -> Vec<(DirEntry, FileType)> {
    let all = std::fs::read_dir(dir).into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_type().ok().map(|kind| (entry, kind))).collect()
}

/// The database itself, its logs, a new one that is not whole yet, and copies from before an upgrade: `.v3`, `.v3.2`.
fn is_of_database(rest: &str) -> bool {
    let bare = ["-journal", "-wal", "-shm"].iter().find_map(|log| rest.strip_suffix(log)).unwrap_or(rest);
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match bare.strip_prefix(".v").map(|copy| copy.strip_suffix(".new").unwrap_or(copy)) {
        Some(copy) => copy.split('.').all(number),
        None => bare.is_empty() || bare == ".new",
    }
}

impl View<'_> {
    /// What would be lost with this home.
    pub fn remains(&self) -> Result<Remains> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM task),
                    (SELECT count(*) FROM task WHERE waiting + held + starting + running > 0),
                    (SELECT count(DISTINCT f.task_id) FROM fetched f WHERE {UNREAD}),
                    (SELECT count(*) FROM task WHERE foreign_end = 1 AND waiting + held + starting + running = 0)"
        );
        let found = self.one(&sql, [], |row| {
            Ok(Remains { tasks: row.get(0)?, unended: row.get(1)?, unread: row.get(2)?, unheard: row.get(3)? })
        })?;
        Ok(found.unwrap_or_default())
    }
}

impl Store {
    /// Removes the database of this home if `may` allows it in the same transaction. A process that has it open acknowledges nothing from
    /// then on ([`StoreError::Gone`]).
    pub fn remove<E: From<StoreError>>(
        &mut self,
        may: impl FnOnce(&View<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let path = self.home.database();
        let unwritable = |error: io::Error| StoreError::Unwritable { path: path.clone(), error };
        let _passed = self.gate.pass()?;
        self.file.check(&self.home)?;
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(StoreError::from)?;
        may(&View { connection: &transaction })?;
        remove_file(&path).map_err(unwritable)?;
        clear_logs(&path).map_err(unwritable)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that waits for the lock of a home that is removed founds a whole one.
    #[test]
    fn who_waits_while_a_home_is_removed_founds_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let path = home.founding();
        let removing = home.found().unwrap();
        let opened = |path: &Path| {
            let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|at| at == path)).count()
        };
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| home.found().unwrap());
            while opened(&path) < 2 {
                std::thread::yield_now();
            }
            home.remove_contents().unwrap();
            assert!(!home.dir().exists());
            drop(removing);
            let _founding = waiting.join().unwrap();
            let whole = [path.clone(), home.outputs(), home.sent(), home.fetched(), home.agent_spool()];
            assert!(whole.iter().all(|path| path.exists()), "{:?}", home.contents());
            assert_eq!(opened(&path), 1);
        });
    }

    #[test]
    fn contents_are_what_grid_made_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ours = ["grid.db", "grid.db-wal", "grid.db-shm", "grid.db.v3", "grid.db.v3.2", "grid.db.v3.77.new"];
        let others = ["grid.db.bak", "grid.db.v", "grid.db.v3x", "grid.db~", "notes", "grid.db.v3.gz", "Grid.db"];
        for name in ours.iter().chain(&others) {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        for name in ["run/gate", "run/mine", "spool/agent/1", "spool/former.5", "spool/letters"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(dir.path().join("agents")).unwrap();
        std::fs::write(dir.path().join("agents/grid-riscv64"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("grid.db.v4")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("spool/out")).unwrap();
        let sorted = |all: &[&[&str]]| {
            let mut all: Vec<PathBuf> = all.concat().into_iter().map(|name| dir.path().join(name)).collect();
            all.sort();
            all
        };
        let stays =
            sorted(&[&others, &["agents/grid-riscv64", "grid.db.v4", "run/mine", "spool/letters", "spool/out"]]);
        let home = Home::at(dir.path());
        let mut found = home.contents();
        found.ours.sort();
        found.others.sort();
        assert_eq!(found.ours, sorted(&[&ours, &["run/gate", "spool/agent", "spool/former.5"]]));
        assert_eq!(found.others, stays);
        home.remove_contents().unwrap();
        found = home.contents();
        found.others.sort();
        assert_eq!((found.ours, found.others), (vec![], stays));
    }
}
