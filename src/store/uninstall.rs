//! The end of a home: what would be lost with it, and the removal of what grid made in its directory, the database first.

use super::results::UNREAD;
use super::schema::clear_logs;
use super::{Home, Result, Store, StoreError, View};
use crate::model::filesystem::{remove_tree, taken};
use rusqlite::TransactionBehavior;
use std::fs::{DirEntry, remove_dir, remove_file};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

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

impl Home {
    /// What lies in the directory.
    pub fn contents(&self) -> HomeContents {
        let entries = std::fs::read_dir(self.dir()).into_iter().flatten().flatten();
        let mut found = HomeContents::default();
        for entry in entries {
            if is_ours(&entry) {
                found.bytes += taken(&entry.path());
                found.ours.push(entry.path());
            } else {
                found.others.push(entry.path());
            }
        }
        found
    }

    /// Removes what grid made here once the database is gone; the directory too, if nothing else is in it.
    pub fn remove_contents(&self) -> Result<()> {
        for path in self.contents().ours {
            let removed = if path.is_dir() { remove_tree(&path) } else { remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Unwritable { path, error });
                }
                _ => {}
            }
        }
        // Fails where something else is left, which is for the person to see.
        let _ = remove_dir(self.dir());
        Ok(())
    }
}

/// Names that grid gives to files in a home. A link is nobody's but the person's.
fn is_ours(entry: &DirEntry) -> bool {
    let Ok(kind) = entry.file_type() else { return false };
    let name = entry.file_name();
    let Some(name) = name.to_str() else { return false };
    match name.strip_prefix("grid.db") {
        Some(rest) => kind.is_file() && is_of_database(rest),
        None => kind.is_dir() && (matches!(name, "run" | "spool") || (name == "agents" && is_empty(entry))),
    }
}

fn is_empty(dir: &DirEntry) -> bool {
    std::fs::read_dir(dir.path()).is_ok_and(|mut entries| entries.next().is_none())
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
    /// Removes the database of this home if `may` allows it in the same transaction. Whoever has it open acknowledges nothing from
    /// then on ([`StoreError::Gone`]).
    pub fn remove<E: From<StoreError>>(
        mut self,
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

    #[test]
    fn contents_are_what_grid_made_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ours = ["grid.db", "grid.db-wal", "grid.db-shm", "grid.db.v3", "grid.db.v3.2", "grid.db.v3.77.new"];
        let others = ["grid.db.bak", "grid.db.v", "grid.db.v3x", "grid.db~", "notes", "grid.db.v3.gz", "Grid.db"];
        for name in ours.iter().chain(&others) {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        for name in ["run", "spool/agent", "agents"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("agents/grid-riscv64"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("grid.db.v4")).unwrap();
        let names = |paths: &[PathBuf]| {
            let mut names: Vec<String> =
                paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let sorted = |all: &[&[&str]]| {
            let mut all: Vec<String> = all.concat().into_iter().map(str::to_owned).collect();
            all.sort();
            all
        };
        let home = Home::at(dir.path());
        let found = home.contents();
        assert_eq!(names(&found.ours), sorted(&[&ours, &["run", "spool"]]));
        assert_eq!(names(&found.others), sorted(&[&others, &["agents", "grid.db.v4"]]));
        home.remove_contents().unwrap();
        assert_eq!(names(&home.contents().others), sorted(&[&others, &["agents", "grid.db.v4"]]));
        assert!(home.contents().ours.is_empty());
    }
}
