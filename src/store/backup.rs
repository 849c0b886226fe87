//! A backup is a copy of the database that knows that it is one. Opened as a home it becomes a new incarnation: what had
//! not ended is held, for the home that was backed up may have gone on.

use super::choosing::Which;
use super::ledger::Ledger;
use super::{Durability, Home, Result, Store, StoreError, Tx, View, copy};
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

impl Store {
    /// Writes a backup of one moment into a new file; nobody waits for it.
    pub fn backup(&self, to: &Path, now: Timestamp) -> Result<()> {
        let mark = |copy: &Connection| copy.execute("UPDATE home SET backed_up_at = ?1", [now]).map(drop);
        copy::write(&self.connection, to, mark)
    }

    /// Puts a backup where a home without a database is. The caller founds it.
    pub fn place_backup(home: &Home, file: &Path) -> Result<()> {
        let corrupt = |found: &str| StoreError::NoBackup { path: file.to_owned(), found: found.to_owned() };
        let mut from = std::fs::File::open(file).map_err(|error| corrupt(&error.to_string()))?;
        let backup = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let of_file = |error: StoreError| match error {
            StoreError::Newer { found, known, .. } => StoreError::Newer { path: file.to_owned(), found, known },
            other => corrupt(&other.to_string()),
        };
        super::schema::check_known(&backup).map_err(of_file)?;
        let at = backup.query_row("SELECT backed_up_at FROM home", [], |row| row.get::<_, Option<Timestamp>>(0));
        match at {
            Ok(Some(_)) => {}
            Ok(None) => return Err(corrupt("it was not made by `grid backup`")),
            Err(error) => return Err(corrupt(&error.to_string())),
        }
        let whole: String = backup.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if whole != "ok" {
            return Err(corrupt(&whole));
        }
        let new = home.dir().join("grid.db.new");
        let unwritable = |error| StoreError::Unwritable { path: new.clone(), error };
        super::schema::clear(&new).map_err(unwritable)?;
        super::schema::clear_logs(&home.database()).map_err(unwritable)?;
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(unwritable);
        let copied = to.and_then(|mut to| {
            std::io::copy(&mut from, &mut to).map_err(unwritable)?;
            to.sync_all().map_err(unwritable)
        });
        copied?;
        std::fs::rename(&new, home.database()).map_err(unwritable)?;
        std::fs::File::open(home.dir()).and_then(|dir| dir.sync_all()).map_err(unwritable)
    }

    /// Makes a new incarnation of a backup that lies in a home. The caller holds the dispatcher's lock.
    pub fn restore(home: &Home, now: Timestamp) -> Result<Self> {
        let mut store = Self::open_any(home)?;
        store.connection.pragma_update(None, "journal_mode", "WAL")?;
        store.write(Durability::Full, |tx| tx.begin_again(now))?;
        super::schema::check_opened(&store)?;
        Ok(store)
    }
}

impl View<'_> {
    /// When the backup was made that this home was restored from, if it was.
    pub fn restored_from(&self) -> Result<Option<Timestamp>> {
        Ok(self.one("SELECT restored_from FROM home", [], |row| row.get(0))?.flatten())
    }
}

impl Tx<'_> {
    fn begin_again(&self, now: Timestamp) -> Result<()> {
        let from: Option<Timestamp> = self.one("SELECT backed_up_at FROM home", [], |row| row.get(0))?.flatten();
        // Somebody was first.
        let Some(from) = from else { return Ok(()) };
        // Of two homes restored from one backup the later one is the newer. Lanes that were opened since the backup live on
        // at their agents: new ones have other numbers.
        self.run(
            "UPDATE home SET incarnation = max(incarnation + 1, ?1 / 1000), restored_from = backed_up_at, restored_epoch = epoch,
                    lanes = max(lanes, ?1 / 1000 * 1048576),
                    backed_up_at = NULL, changes = changes + 1",
            [now],
        )?;
        let mut ledger = Ledger::open(self, now);
        for live in self.unsent()? {
            ledger.unplaced(live.task, live.index, live.number)?;
        }
        for task in self.select_all(None, Which::Unended)? {
            ledger.shift(task, None, Phase::Waiting, Phase::Held)?;
        }
        ledger.close()?;
        let why = format!("restored from a backup of {}", from.local());
        self.run("UPDATE task SET reason = ?1, unmatched = 0 WHERE held > 0", [&why])?;
        self.run("INSERT INTO trace (task_id, at, what) SELECT id, ?1, ?2 FROM task WHERE held > 0", (now, &why))?;
        Ok(())
    }
}
