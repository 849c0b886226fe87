//! What is true. The only folder with SQL. Writers always begin IMMEDIATE, behind the gate, through [`Store::write`];
//! readers see one snapshot through [`Store::read`].

mod apps;
pub mod attributes;
pub mod away;
pub mod backup;
pub mod choosing;
pub mod classes;
pub mod clients;
mod clocks;
mod columns;
mod copy;
pub mod declared;
pub mod discards;
pub mod distributors;
pub mod draining;
mod ends;
pub mod environments;
pub mod failing;
#[cfg(test)]
mod faults;
pub mod files;
pub mod former;
mod founding;
mod gate;
mod groups;
pub mod home;
mod hosts;
pub mod intake;
pub mod keeping;
pub mod ledger;
pub mod machines;
pub mod members;
pub mod moving;
pub mod outputs;
mod phases;
mod place;
pub mod placing;
pub mod profiles;
pub mod query;
mod read_only;
mod reading;
mod refusals;
pub mod removal;
pub mod reports;
pub mod reservations;
mod reserve;
pub mod results;
mod schema;
pub mod servers;
pub mod settings;
mod ssh;
pub mod tasks;
pub mod tombstones;
pub mod trace;
mod transaction;
pub mod uninstall;
pub mod unreadable;
pub mod users;
pub mod waiting;

pub use home::Home;

use crate::model::time::Timestamp;
use gate::Gate;
use place::OpenFile;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::{Path, PathBuf};
pub use transaction::{Tx, View};

/// Why the database can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: written by a newer grid (version {found}, this one knows {known}); use the newer grid", path = path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{path}: written by an older grid (version {found}, this one writes {known}): any command of this grid brings it up to date", path = path.display())]
    Older { path: PathBuf, found: i64, known: i64 },
    #[error("{path}: a backup of {at}, which any command makes a home of", path = path.display(), at = at.local())]
    Backup { path: PathBuf, at: Timestamp },
    #[error("{path}: a copy of the home at {of}, which any command makes a home of", path = path.display(), of = of.display())]
    Copy { path: PathBuf, of: PathBuf, lives: bool },
    #[error("{path}: {error}; no copy was written", path = path.display())]
    NotCopied { path: PathBuf, error: std::io::Error },
    #[error("{path}: {found}; give a file that `grid backup` wrote", path = path.display())]
    NoBackup { path: PathBuf, found: String },
    #[error("{path}: {found}; move it away and restore a backup, or begin a new home", path = path.display())]
    Corrupt { path: PathBuf, found: String },
    #[error("{path}: the disk is full; nothing was changed: free some space and try again", path = path.display())]
    Full { path: PathBuf },
    #[error("{path}: {error}; {remedy}", path = path.display(), remedy = read_only::remedy(error))]
    Unwritable { path: PathBuf, error: std::io::Error },
    #[error("{path} is on a network file system ({kind}), where a database is not safe: set GRID_HOME to a directory on a local disk", path = path.display())]
    NetworkFs { path: PathBuf, kind: &'static str },
    #[error("{path}: this directory must be yours alone (owner you, mode 0700)", path = path.display())]
    NotOurs { path: PathBuf },
    #[error("{path}: this grid belongs to another account: `sudo -u '#{uid}' grid ..` acts as that, or set GRID_HOME to a directory of yours", path = path.display())]
    Others { path: PathBuf, uid: u32 },
    #[error("{path}: a home's path may have 460 bytes at most, and this has {len}: set GRID_HOME to a shorter one", path = path.display(), len = path.as_os_str().len())]
    TooLong { path: PathBuf },
    #[error("no home: neither GRID_HOME, XDG_DATA_HOME nor HOME is set")]
    NoHome,
    #[error("{home}: this home was moved, removed or replaced while it was open; nothing was changed: try again where the home is now", home = home.display())]
    Gone { home: PathBuf },
    #[error("the database was upgraded by a newer grid while this one ran; start the command again")]
    Upgraded,
    #[error("server {server} is drained by another command ({reason}): try again when that has ended")]
    Drained { server: String, reason: String },
    /// A matter of one row: [`unreadable`] finds it.
    #[error("a row of the database can't be read: {0}; `grid doctor` finds it")]
    Unreadable(String),
    /// It could not be read back.
    #[error("{0}; nothing was changed")]
    Unstorable(String),
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi::ErrorCode;
        let path = PathBuf::from("grid.db");
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, found: error.to_string() }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                Self::Unwritable { path, error: std::io::Error::other(error.to_string()) }
            }
            _ => match error {
                rusqlite::Error::ToSqlConversionFailure(why) => Self::Unstorable(why.to_string()),
                error if reading::is_of_the_row(&error) => Self::Unreadable(reading::words(&error)),
                error => Self::Sqlite(error),
            },
        }
    }
}

impl StoreError {
    /// This error with the path of the database in it.
    pub fn at(self, home: &Home) -> Self {
        // Errors of SQLite's do not say which file.
        let bare = |path: &PathBuf| path.as_os_str() == "grid.db";
        match self {
            Self::Newer { path, found, known } if bare(&path) => Self::Newer { path: home.database(), found, known },
            Self::Full { path } if bare(&path) => Self::Full { path: home.database() },
            Self::Corrupt { path, found } if bare(&path) => Self::Corrupt { path: home.database(), found },
            // SQLite says that it may not write, not why.
            Self::Unwritable { path, error } if bare(&path) => {
                Self::Unwritable { path: home.database(), error: read_only::refusal(home.dir()).unwrap_or(error) }
            }
            // Not only a write fails for want of room: the file of the shared memory can't grow, nor a log be made anew.
            error @ Self::Sqlite(_) if error.is_full(home) => Self::Full { path: home.database() },
            other => other,
        }
    }
}

/// The result of a question to the database.
pub type Result<T> = std::result::Result<T, StoreError>;

/// How long a write must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the write returns: for what is acknowledged.
    Full,
    /// Survives a crash of ours, not a power cut: the rest.
    Normal,
}

/// What becomes of the write-ahead log when it was moved into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// It keeps its size.
    Stays,
    /// It is cut to nothing.
    Goes,
}

/// An open home.
#[derive(Debug)]
pub struct Store {
    home: Home,
    connection: Connection,
    file: OpenFile,
    gate: Gate,
    durability: Option<Durability>,
}

impl Store {
    /// Opens a home whose database exists. [`StoreError::Older`] where [`Store::upgrade`] has to come first.
    pub fn open(home: &Home) -> Result<Self> {
        Self::open_any(home)?.checked()
    }

    /// Brings the older database of a home up to date. Gives the backup of before, which stays beside it; None: somebody else was
    /// first. The caller holds the dispatcher's lock: none of the older version runs meanwhile.
    pub fn upgrade(home: &Home, now: Timestamp) -> Result<Option<PathBuf>> {
        schema::upgrade(&mut Self::open_any(home)?, now).map_err(|error| error.at(home))
    }

    /// Tries an upgrade and takes it back. An error: it would fail.
    pub fn rehearse_upgrade(home: &Home) -> Result<()> {
        schema::rehearse(&mut Self::open_any(home)?).map_err(|error| error.at(home))
    }

    /// Gives backups of upgrades whose process was killed at their ends the names that they are looked for.
    pub fn name_backups(&self) {
        schema::name_backups(&self.home);
    }

    /// The schema version that this program writes; older programs refuse it.
    pub const VERSION: i64 = schema::VERSION;

    /// A home that is one, with its place noted.
    fn checked(mut self) -> Result<Self> {
        let noted = schema::check_opened(&self).map_err(|error| error.at(&self.home))?;
        if !noted {
            let place = self.file.noted(&self.home);
            // Where nothing can be written nothing is noted either; the next opening does it.
            let _ = self.write(Durability::Normal, |tx| tx.note_place(&place));
        }
        Ok(self)
    }

    fn open_any(home: &Home) -> Result<Self> {
        home.check_ours()?;
        // A database that was copied here comes without its directories, an older home without the newest. Where there is no
        // database nothing is made: whoever had the home open may not know that it was moved away.
        if home.exists() && !(home.run_dir().exists() && home.agent_spool().exists() && home.fetched().exists()) {
            // A home that can't be written can be read without them.
            home.make().or_else(|error| if home.is_writable() { Err(error) } else { Ok(()) })?;
        }
        Self::open_at(home, &home.database()).map_err(|error| error.at(home))
    }

    fn open_at(home: &Home, path: &Path) -> Result<Self> {
        let file = OpenFile::note(path.to_owned())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = match read_only::name(path) {
            Some(name) => Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_URI)?,
            None => Connection::open_with_flags(path, flags)?,
        };
        connection.set_prepared_statement_cache_capacity(256);
        // The gate keeps our writers apart; this is for readers of a log that is just being made, and for others' locks.
        waiting::of(home);
        connection.busy_handler(Some(waiting::busy))?;
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Without it SQLite compiles many a statement anew for each value that is bound: a third of the dispatcher's time.
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection
            .execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;")?;
        Ok(Self { home: home.clone(), connection, file, gate: Gate::open(home), durability: None })
    }

    /// Makes the database of a new home, whole or not at all. The caller holds [`home::Founding`].
    pub fn create(home: &Home, seed: &home::Seed) -> Result<Self> {
        schema::create(home, seed).map_err(|error| error.at(home))?;
        Self::open(home)
    }

    /// A connection that can't write, for `grid sql`.
    pub fn open_read_only(home: &Home) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(home.database(), flags).map_err(StoreError::from)?;
        connection.busy_handler(Some(waiting::busy)).map_err(StoreError::from)?;
        connection.execute_batch("PRAGMA query_only = ON").map_err(StoreError::from)?;
        Ok(connection)
    }

    /// The home that this is.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Is the open database still that of the home? What is read from another one is no answer.
    pub fn is_in_place(&self) -> bool {
        self.file.is_in_place()
    }

    /// [`StoreError::Gone`] where it is not.
    pub fn check_in_place(&self) -> Result<()> {
        self.file.check(&self.home)
    }

    /// Questions, each seeing the newest state.
    pub fn view(&self) -> View<'_> {
        View { connection: &self.connection }
    }

    /// Several questions that see one state.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        ask: impl FnOnce(&View<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(StoreError::from)?;
        let answer = ask(&View { connection: &transaction })?;
        transaction.finish().map_err(StoreError::from)?;
        self.check_in_place()?;
        Ok(answer)
    }

    /// One write transaction: all of it or nothing. Keep it short, and never wait for another process in it.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&Tx<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if self.durability != Some(durability) {
            let level = match durability {
                // No unit test is about a power cut.
                _ if cfg!(test) => "OFF",
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            };
            self.connection
                .pragma_update(None, "synchronous", level)
                .map_err(|e| StoreError::from(e).at(&self.home))?;
            self.durability = Some(durability);
        }
        let _passed = self.gate.pass()?;
        let at = |error: rusqlite::Error| StoreError::from(error).at(&self.home);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
        schema::check_version(&transaction)?;
        let answer = change(&Tx { view: View { connection: &transaction } })?;
        // The last moment: what is acknowledged lies in the file that the next command opens.
        self.file.check(&self.home)?;
        transaction.commit().map_err(at)?;
        Ok(answer)
    }

    /// Moves the write-ahead log into the database file; only the dispatcher and the refresh do it.
    /// Waits for no reader: what one still needs is moved the next time. A log that stays is written over from its
    /// beginning: that a file grows is what makes an fsync slow.
    pub fn checkpoint(&self, log: Log) -> Result<()> {
        let sql = match log {
            Log::Stays => "PRAGMA wal_checkpoint(PASSIVE)",
            Log::Goes => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        let moved = waiting::not(|| self.connection.query_row(sql, [], |_| Ok(())));
        match moved {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Pages in the write-ahead log that are not in the database yet.
    pub fn log_pages(&self) -> Result<u32> {
        let pages = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
        let found = self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], pages)?;
        Ok(u32::try_from(found).unwrap_or(0))
    }

    /// Another number whenever another process has committed since the last time.
    pub fn data_version(&self) -> Result<i64> {
        Ok(self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }
}
