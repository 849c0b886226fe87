//! A backup is a copy of the database that knows that it is one. Opened as a home it becomes a new incarnation: what had
//! not ended is held, for the home that was backed up may have gone on.

use super::choosing::TaskFilter;
use super::ledger::Ledger;
use super::place::{NotedPlace, PlaceState};
use super::{Durability, Home, Result, Store, StoreError, Tx, View, copy};
use crate::model::id::TaskId;
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupContent {
    All,
    /// All but the values of variables.
    WithoutEnvironments,
}

impl Store {
    /// Writes a consistent backup into a new file, while grid runs.
    pub fn backup(&self, to: &Path, content: BackupContent, now: Timestamp) -> Result<()> {
        let mark = |copy: &Connection| {
            if content == BackupContent::WithoutEnvironments {
                // What is erased must not lie in a free page.
                copy.pragma_update(None, "secure_delete", "ON")?;
                let erase = "UPDATE environment SET variables = NULL, erased_at = ?1 WHERE erased_at IS NULL";
                copy.execute(erase, [now])?;
                copy.execute("UPDATE task SET env = x''", [])?;
                // What another home has accepted is not offered again.
                copy.execute("UPDATE away SET sealed = x'', list = NULL WHERE home IS NOT NULL", [])?;
            }
            let sql = "UPDATE home SET backed_up_at = ?1, place = NULL, place_inode = NULL, place_born = NULL";
            copy.execute(sql, [now]).map(drop)
        };
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

    /// Makes a new incarnation of a backup, or a copy, in a home. The caller holds the dispatcher's lock.
    pub fn restore(home: &Home, now: Timestamp) -> Result<Self> {
        let mut store = Self::open_any(home)?;
        store.connection.pragma_update(None, "journal_mode", "WAL")?;
        let begun = match store.origin()? {
            // Somebody was first.
            Origin::Home | Origin::Unnoted => return store.checked(),
            Origin::Backup(at) => Beginning { from: at, copied: None, id: None },
            Origin::Copy { of, lives } => {
                store.check_whole()?;
                set_aside(&home.agent_spool(), now)?;
                let id = lives.then(|| uuid::Uuid::now_v7().to_string());
                let from = store.file.id.born.map_or(now, |born| Timestamp(born / 1_000_000));
                Beginning { from, copied: Some(of.to_string_lossy().into_owned()), id }
            }
        };
        let place = store.file.noted(home);
        store.write(Durability::Full, |tx| {
            tx.note_place(&place)?;
            tx.begin_again(&begun, now)
        })?;
        store.checked()
    }

    /// What this database is, at its place.
    pub(super) fn origin(&self) -> Result<Origin> {
        let sql = "SELECT id, backed_up_at, place, place_inode, place_born FROM home";
        let (id, backup, noted): (String, Option<Timestamp>, _) =
            self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, NotedPlace::read(row, 2)?)))?;
        if let Some(at) = backup {
            return Ok(Origin::Backup(at));
        }
        Ok(match self.file.place(&self.home, &id, noted.as_ref()) {
            PlaceState::Kept => Origin::Home,
            PlaceState::New => Origin::Unnoted,
            PlaceState::Copy { of, lives } => Origin::Copy { of, lives },
        })
    }

    /// A file that was copied while its home went on may be of no moment at all.
    fn check_whole(&self) -> Result<()> {
        let wrong = self.view().quick_check()?;
        let found = "it was copied while its home was written to, and is not whole; `grid backup` makes a copy that is";
        if wrong.is_empty() {
            return Ok(());
        }
        Err(StoreError::Corrupt { path: self.home.database(), found: found.to_owned() })
    }
}

/// What a database is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Home,
    /// The home itself, whose place is to be noted.
    Unnoted,
    Backup(Timestamp),
    /// `lives`: the home that it was copied from is still there.
    Copy {
        of: PathBuf,
        lives: bool,
    },
}

/// How a new incarnation begins.
struct Beginning {
    /// Of when the database is.
    from: Timestamp,
    copied: Option<String>,
    /// Beside the home that it was copied from it is another home: neither may speak for the other.
    id: Option<String>,
}

/// What the agent of the other home knew of its runs is no knowledge of ours: their supervisors write to that home's files.
fn set_aside(spool: &Path, now: Timestamp) -> Result<()> {
    let aside = spool.with_extension(format!("copied.{}", now.0));
    match std::fs::rename(spool, aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Unwritable { path: spool.to_owned(), error })
        }
        _ => Ok(()),
    }
}

fn made_of(from: Timestamp, copied: Option<&str>) -> String {
    match copied {
        Some(dir) => format!("copied at {} from the home {dir}", from.local()),
        None => format!("restored from a backup of {}", from.local()),
    }
}

impl View<'_> {
    /// What this home was made of, if it was made of another one: since when that one may have gone on, and in words.
    pub fn made_of(&self) -> Result<Option<(Timestamp, String)>> {
        let found =
            self.one("SELECT restored_from, copied_from FROM home", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (from, copied): (Option<Timestamp>, Option<String>) = found.unwrap_or_default();
        Ok(from.map(|from| (from, made_of(from, copied.as_deref()))))
    }
}

impl Tx<'_> {
    /// Records where the database is.
    pub(super) fn note_place(&self, place: &NotedPlace) -> Result<()> {
        self.run("UPDATE home SET place = ?1, place_inode = ?2, place_born = ?3", place.columns())?;
        Ok(())
    }

    fn begin_again(&self, begun: &Beginning, now: Timestamp) -> Result<()> {
        // Of two homes restored from one backup the later one is the newer. Lanes that were opened since the backup live on
        // at their agents: new ones have other numbers.
        self.run(
            "UPDATE home SET incarnation = max(incarnation + 1, ?1 / 1000), restored_from = ?2, restored_epoch = epoch, copied_from = ?3, id = coalesce(?4, id),
                    lanes = max(lanes, ?1 / 1000 * 1048576),
                    backed_up_at = NULL, changes = changes + 1",
            (now, begun.from, &begun.copied, &begun.id),
        )?;
        if begun.id.is_some() {
            // The home that it was copied from reports itself there.
            self.run("DELETE FROM registration", [])?;
        }
        let mut ledger = Ledger::open(self, now);
        for live in self.unsent()? {
            ledger.unplaced(live.key())?;
        }
        // How a task stands that another home holds is that home's to say.
        let theirs: HashSet<TaskId> =
            self.all("SELECT task_id FROM away WHERE home IS NOT NULL", [], |row| row.get(0))?.into_iter().collect();
        for task in self.select_all(None, TaskFilter::Unended)?.into_iter().filter(|task| !theirs.contains(task)) {
            ledger.shift(task, None, Phase::Waiting, Phase::Held)?;
        }
        ledger.close()?;
        let why = made_of(begun.from, begun.copied.as_deref());
        self.run(
            "UPDATE task SET reason = ?1, unmatched = 0 WHERE held > 0 AND id NOT IN (SELECT task_id FROM away WHERE home IS NOT NULL)",
            [&why],
        )?;
        self.run(
            "INSERT INTO trace (task_id, at, what)
             SELECT id, ?1, ?2 FROM task WHERE held > 0 AND id NOT IN (SELECT task_id FROM away WHERE home IS NOT NULL)",
            (now, &why),
        )?;
        Ok(())
    }
}
