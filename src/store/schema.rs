//! The schema and its versions. `schema.sql` is the newest; [`UPGRADES`] lead there from every released one.

use super::backup::Origin;
use super::place::OpenFile;
use super::{Durability, Home, Result, Store, StoreError};
use crate::model::failpoint::failpoint;
use crate::model::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const SCHEMA: &str = include_str!("../../schema.sql");

/// `UPGRADES[n]` makes version n+2 of version n+1. Append only: released databases depend on each.
const UPGRADES: &[&str] = &[
    include_str!("upgrades/v2.sql"),
    include_str!("upgrades/v3.sql"),
    include_str!("upgrades/v4.sql"),
    include_str!("upgrades/v5.sql"),
    include_str!("upgrades/v6.sql"),
    include_str!("upgrades/v7.sql"),
    include_str!("upgrades/v8.sql"),
];

/// The version that this program writes.
pub(super) const VERSION: i64 = UPGRADES.len() as i64 + 1;

/// Bytes of a page of a new database. A commit writes whole pages, and most of what it changes of one is small: with pages of 4096 a
/// submit takes a twentieth longer, and a pass that places 25,000 tasks up to a tenth less. A database that is there keeps its own.
const PAGE: u32 = 2048;

/// The first SQLite without the WAL-reset race (<https://sqlite.org/wal.html#walresetbug>).
const SQLITE_MIN: i32 = 3_051_003;

/// Writes a whole database beside its place, then moves it there: a half-written one is never seen.
pub(super) fn create(home: &Home, seed: &super::home::Seed) -> Result<()> {
    assert!(rusqlite::version_number() >= SQLITE_MIN, "built against a SQLite with the WAL-reset race");
    let new = home.dir().join("grid.db.new");
    let unwritable = |error| StoreError::Unwritable { path: new.clone(), error };
    clear(&new).map_err(unwritable)?;
    clear_logs(&home.database()).map_err(unwritable)?;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(unwritable)?;
    let mut connection = Connection::open(&new)?;
    connection.pragma_update(None, "page_size", PAGE)?;
    if cfg!(test) {
        connection.pragma_update(None, "synchronous", "OFF")?;
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    super::founding::seed(&transaction, seed)?;
    let place = OpenFile::note(new.clone())?.noted(home);
    transaction.execute("UPDATE home SET place = ?1, place_inode = ?2, place_born = ?3", place.columns())?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    std::fs::rename(&new, home.database()).map_err(unwritable)?;
    std::fs::File::open(home.dir()).and_then(|dir| dir.sync_all()).map_err(unwritable)
}

/// Removes a database that was never more than half made, with its logs.
pub(super) fn clear(path: &Path) -> std::io::Result<()> {
    gone(path)?;
    clear_logs(path)
}

/// Removes the logs of a database that is gone: they must not be taken for those of a new one.
pub(super) fn clear_logs(path: &Path) -> std::io::Result<()> {
    ["-journal", "-wal", "-shm"].iter().try_for_each(|suffix| {
        let mut log = path.to_owned().into_os_string();
        log.push(suffix);
        gone(log.as_ref())
    })
}

fn gone(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Can this program read a database of this version?
pub(super) fn check_known(connection: &Connection) -> Result<()> {
    match version(connection)? {
        found if found > VERSION => Err(StoreError::Newer { path: "grid.db".into(), found, known: VERSION }),
        _ => Ok(()),
    }
}

/// Is this database of the version that this program writes, and no backup or copy that waits to be made a home? False: its place
/// is to be noted.
pub(super) fn check_opened(store: &Store) -> Result<bool> {
    check_known(&store.connection)?;
    let path = store.home.database();
    match version(&store.connection)? {
        VERSION => match store.origin()? {
            Origin::Home => Ok(true),
            Origin::Unnoted => Ok(false),
            Origin::Backup(at) => Err(StoreError::Backup { path, at }),
            Origin::Copy { of, lives } => Err(StoreError::Copy { path, of, lives }),
        },
        found if found >= 1 => Err(StoreError::Older { path, found, known: VERSION }),
        _ => Err(StoreError::Corrupt { path, found: "this is no database of grid".to_owned() }),
    }
}

/// Runs the upgrade of an older database behind the gate, and takes it back: it fails here, while the dispatcher of the older version
/// still runs, if it would fail later.
pub(super) fn rehearse(store: &mut Store) -> Result<()> {
    let _passed = store.gate.pass()?;
    let found = version(&store.connection)?;
    if found >= VERSION {
        return Ok(());
    }
    let path = store.home.database();
    let needed = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    if free_space(store.home.dir()).is_some_and(|free| free < needed) {
        return Err(StoreError::Full { path: unfinished(&store.home, found) });
    }
    let transaction = store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    run_steps(&transaction, found)?;
    Ok(transaction.rollback()?)
}

/// Upgrades an older database behind the gate, after a backup of it is on the disk. Gives that file; None: somebody else was first.
/// Until the commit the backup has a name of its own: an upgrade that was killed leaves one, which the next one replaces.
pub(super) fn upgrade(store: &mut Store, now: Timestamp) -> Result<Option<PathBuf>> {
    let _passed = store.gate.pass()?;
    let found = version(&store.connection)?;
    if found >= VERSION {
        return Ok(None);
    }
    let beside = unfinished(&store.home, found);
    clear(&beside).map_err(|error| StoreError::NotCopied { path: beside.clone(), error })?;
    let done = super::copy::fill(&store.connection, &beside, &beside, |copy| mark_as_backup(copy, found, now))
        .and_then(|()| commit_upgrade(&mut store.connection, found));
    if let Err(error) = done {
        if is_unchanged(&store.connection, found, &error) {
            let _ = std::fs::remove_file(&beside);
        }
        return Err(error);
    }
    store.durability = Some(Durability::Full);
    failpoint("upgrade-committed");
    // It is a backup under either name.
    Ok(Some(name_backup(&store.home, found).unwrap_or(beside)))
}

/// Gives the backups of committed upgrades their names, where the process of an upgrade was killed before that. The database is of
/// this version: each of them was written whole.
pub(super) fn name_backups(home: &Home) {
    for found in 1..VERSION {
        if unfinished(home, found).exists()
            && let Err(error) = name_backup(home, found)
        {
            tracing::warn!("the backup of an upgrade keeps its name: {error}");
        }
    }
}

fn name_backup(home: &Home, found: i64) -> Result<PathBuf> {
    let kept = free_name(&home.dir().join(format!("grid.db.v{found}")));
    super::copy::place(&unfinished(home, found), &kept)?;
    Ok(kept)
}

/// The backup of an upgrade that is not committed yet.
fn unfinished(home: &Home, found: i64) -> PathBuf {
    home.dir().join(format!("grid.db.v{found}.new"))
}

fn free_space(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Is a database certainly still of this version after an error? Of a commit whose write failed a part may be on the disk.
fn is_unchanged(connection: &Connection, found: i64, error: &StoreError) -> bool {
    let unclear = matches!(
        error,
        StoreError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
    );
    !unclear && version(connection).is_ok_and(|now| now == found)
}

fn commit_upgrade(connection: &mut Connection, found: i64) -> Result<()> {
    failpoint("upgrade-copied");
    // A copy that was put back has lost it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    run_steps(&transaction, found)?;
    failpoint("upgrade-stepped");
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

fn run_steps(transaction: &Connection, found: i64) -> Result<()> {
    for upgrade in UPGRADES.iter().skip(usize::try_from(found - 1).unwrap_or(0)) {
        transaction.execute_batch(upgrade)?;
    }
    Ok(())
}

/// What an earlier upgrade kept is not replaced.
fn free_name(wanted: &Path) -> PathBuf {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", wanted.display()));
    let all = std::iter::once(wanted.to_owned()).chain((2..).map(numbered));
    all.into_iter().find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| wanted.to_owned())
}

/// The tasks go on under the newer grid. Where the older one opens the copy, it must not take them for its own: as in every
/// backup what had not ended is held. Version 1 knows no backups.
fn mark_as_backup(copy: &Connection, version: i64, now: Timestamp) -> rusqlite::Result<()> {
    if version >= 2 {
        copy.execute("UPDATE home SET backed_up_at = ?1", [now])?;
    }
    if version >= 4 {
        copy.execute("UPDATE home SET place = NULL, place_inode = NULL, place_born = NULL", [])?;
    }
    Ok(())
}

/// Another program may have upgraded the database since this one opened it.
pub(super) fn check_version(connection: &Connection) -> Result<()> {
    if version(connection)? == VERSION { Ok(()) } else { Err(StoreError::Upgraded) }
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_of_an_upgrade_is_kept_unless_the_database_is_certainly_unchanged() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let failed = |code| StoreError::Sqlite(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        let full = failed(rusqlite::ffi::SQLITE_FULL);
        assert!(is_unchanged(&connection, 3, &full));
        assert!(!is_unchanged(&connection, 3, &failed(rusqlite::ffi::SQLITE_IOERR_FSYNC)));
        connection.pragma_update(None, "user_version", VERSION).unwrap();
        assert!(!is_unchanged(&connection, 3, &full), "it was committed all the same");
    }
}
