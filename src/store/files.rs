//! Files that travel with tasks: what was sent, what was brought back, and who still needs it.

use super::discards::BYTES_KEPT;
use super::ledger::Ledger;
use super::phases::phase;
use super::reading::Lenient;
use super::{Home, Result, StoreError, Tx, View};
use crate::model::command::Text;
use crate::model::files::{Digest, Fetch, RelPath, Sent, Workplace};
use crate::model::id::{Index, TaskId, UserId};
use crate::model::resources::Bytes;
use crate::model::task::{Launch, Phase};
use crate::model::time::Timestamp;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the last attempt of a member brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub index: Index,
    pub number: u32,
    pub lies: Whereabouts,
    /// What a person should know: a pattern that matched nothing.
    pub remarks: Vec<String>,
    /// When all of it was unpacked.
    pub unpacked_at: Option<Timestamp>,
    /// What of it could not be unpacked the last time, and why.
    pub not_unpacked: Option<String>,
    /// When `gc` took the archive.
    pub dropped_at: Option<Timestamp>,
}

/// Where the results of a member are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// There was nothing to be brought.
    Nothing,
    /// An archive in the home's spool.
    Here { digest: Digest, size: u64, files: u64 },
    /// It could not be brought, for this reason, and stays on the server.
    There { error: String },
}

/// What a home keeps for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFile {
    pub bytes: Bytes,
    /// Counted up to this task; none: it has none.
    pub up_to: Option<TaskId>,
}

impl KeptFile {
    /// For a user of whom it is not counted.
    pub const NOTHING: Self = Self { bytes: Bytes(0), up_to: None };
}

/// Bytes that a task takes in the database besides what it was submitted with: its rows and their indexes, and its client's.
pub const ROW: u64 = 2 << 10;
/// Bytes that a member and its attempts count.
pub const MEMBER: u64 = 256;
/// Bytes that a line counts beside its text.
pub const LINE: u64 = 32;
/// Bytes that a tombstone counts.
const TOMBSTONE: u64 = 128;

const SELECT: &str =
    "SELECT idx, number, digest, size, files, error, remarks, unpacked_at, not_unpacked, dropped_at FROM fetched ";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Fetched> {
    let mut of = Lenient::of(row);
    let remarks = row.get::<_, String>(6).and_then(|text| super::columns::json(&text));
    let (digest, error) = (of.get::<Option<Digest>>(2), of.get::<Option<String>>(5));
    let (size, files) = (of.get(3), of.get(4));
    let (index, number, unpacked_at) = (of.or(0, Index(0)), of.get(1), of.get(7));
    let (not_unpacked, dropped_at) = (of.get(8), of.get(9));
    let remarks = of.take(6, remarks).unwrap_or_default();
    let lies = match (digest, error, of.faults()) {
        // Nothing is given up for it.
        (_, _, Some(why)) => Whereabouts::There { error: format!("its row can't be read ({why})") },
        (_, Some(error), None) => Whereabouts::There { error },
        (Some(digest), None, None) => Whereabouts::Here { digest, size, files },
        (None, None, None) => Whereabouts::Nothing,
    };
    Ok(Fetched { index, number, lies, remarks, unpacked_at, not_unpacked, dropped_at })
}

impl View<'_> {
    /// Where a task runs, and what comes back.
    pub fn files_of(&self, task: TaskId) -> Result<(Workplace, Option<Fetch>)> {
        let found = self.one(
            "SELECT bundle, size, files, below, fetch, changed, lands FROM task_files WHERE task_id = ?1",
            [task],
            |row| {
                let workplace = match row.get::<_, Option<Digest>>(0)? {
                    Some(bundle) => {
                        Workplace::Own(Sent { bundle, size: row.get(1)?, files: row.get(2)?, below: row.get(3)? })
                    }
                    None => Workplace::There,
                };
                let fetch = match row.get::<_, Option<Vec<u8>>>(4)? {
                    Some(patterns) => {
                        Some(Fetch { patterns: split(&patterns), changed: row.get(5)?, into: row.get(6)? })
                    }
                    None => None,
                };
                Ok((workplace, fetch))
            },
        )?;
        Ok(found.unwrap_or_default())
    }

    /// What one member brought back.
    pub fn fetched(&self, task: TaskId, index: Index) -> Result<Option<Fetched>> {
        self.one(&format!("{SELECT} WHERE task_id = ?1 AND idx = ?2"), (task, index), read)
    }

    /// What the members of a task brought back, in their order.
    pub fn fetched_of(&self, task: TaskId) -> Result<Vec<Fetched>> {
        self.all(&format!("{SELECT} WHERE task_id = ?1 ORDER BY idx"), [task], read)
    }

    /// Of what the members of a task brought back: the first that did not come whole, and how many there are of it.
    pub fn not_brought_whole(&self, task: TaskId) -> Result<Option<(Fetched, u64)>> {
        let of = "WHERE task_id = ?1 AND (error IS NOT NULL OR not_unpacked IS NOT NULL OR remarks <> '[]')";
        let Some(first) = self.one(&format!("{SELECT} {of} ORDER BY idx LIMIT 1"), [task], read)? else {
            return Ok(None);
        };
        let all = self.one(&format!("SELECT count(*) FROM fetched {of}"), [task], |row| row.get(0))?;
        Ok(Some((first, all.unwrap_or(1))))
    }

    /// Tasks of which members are about to start with this archive.
    pub fn starting_with(&self, bundle: Digest) -> Result<Vec<TaskId>> {
        self.all(
            "SELECT task_id FROM task_files f JOIN task t ON t.id = f.task_id WHERE f.bundle = ?1 AND t.starting > 0",
            [bundle],
            |row| row.get(0),
        )
    }

    /// Is a task held for files that its client has still to send?
    pub fn awaits_files(&self, task: TaskId) -> Result<bool> {
        let sql = "SELECT 1 FROM task_files WHERE task_id = ?1 AND missing > 0";
        Ok(self.one(sql, [task], |_| Ok(()))?.is_some())
    }

    /// Bytes that this home keeps for a user: the rows of its tasks with what they were submitted with, files that they were sent
    /// with or are to be, what they brought back, and outputs. Files and outputs of what ended before `before` go with the next
    /// `gc`.
    pub fn kept_for(&self, user: UserId, before: Timestamp) -> Result<KeptFile> {
        // First: a task that comes meanwhile is counted twice rather than not at all.
        let up_to = self.last_task(Some(user))?;
        let sum = self.one(
            &format!(
                "WITH theirs AS MATERIALIZED (SELECT id, kept + ?3 + size * ?4 AS bytes, waiting + held + starting + running AS unended,
                                               ended_at IS NULL OR ended_at >= ?2 AS stays FROM task WHERE user_id = ?1),
                  mine AS (SELECT id, unended FROM theirs WHERE stays)
             SELECT (SELECT coalesce(sum(bytes), 0) FROM theirs)
                  + (SELECT count(*) * ?5 FROM tombstone WHERE user_id = ?1)
                  + (SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT f.bundle, f.size FROM mine JOIN task_files f ON f.task_id = mine.id
                                                         WHERE f.missing > 0 AND unended > 0 OR f.bundle IN (SELECT digest FROM bundle)))
                  + (SELECT coalesce(sum(size), 0) FROM mine JOIN fetched f ON f.task_id = mine.id)
                  + (SELECT coalesce(sum(length(body)), 0) FROM mine JOIN output o ON o.task_id = mine.id)
                  + (SELECT coalesce(sum({BYTES_KEPT}), 0) FROM mine JOIN member m ON m.task_id = mine.id WHERE m.home_out = 1)"
            ),
            (user, before, ROW, MEMBER, TOMBSTONE),
            |row| row.get(0),
        )?;
        Ok(KeptFile { bytes: Bytes(sum.unwrap_or(0)), up_to })
    }

    /// Bytes of a user's tasks after this one: their rows, and what they were sent with or are to be. Few tasks, and so quickly
    /// counted.
    pub fn sent_since(&self, user: UserId, after: Option<TaskId>) -> Result<Bytes> {
        let sum = self.one(
            "SELECT (SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT f.bundle, f.size FROM task t JOIN task_files f ON f.task_id = t.id
             WHERE t.user_id = ?1 AND t.id > ?2
               AND (f.missing > 0 AND t.waiting + t.held + t.starting + t.running > 0 OR f.bundle IN (SELECT digest FROM bundle))))
                  + (SELECT coalesce(sum(kept + ?3 + size * ?4), 0) FROM task WHERE user_id = ?1 AND id > ?2)",
            (user, after.unwrap_or(TaskId(0)), ROW, MEMBER),
            |row| row.get(0),
        )?;
        Ok(Bytes(sum.unwrap_or(0)))
    }

    /// Is there a task that waits for this archive to come?
    pub fn is_awaited(&self, bundle: Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM task_files f JOIN task t ON t.id = f.task_id
                   WHERE f.bundle = ?1 AND f.missing > 0 AND t.waiting + t.held + t.starting + t.running > 0 LIMIT 1";
        Ok(self.one(sql, [bundle], |_| Ok(()))?.is_some())
    }

    /// Is this archive kept?
    pub fn has_bundle(&self, bundle: Digest) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM bundle WHERE digest = ?1", [bundle], |_| Ok(()))?.is_some())
    }

    /// Archives that no task needs: no unended one, and none that ended after `before` and may be started again. Not those
    /// that were taken in after `fresh`: their submits may still be under way.
    pub fn unneeded_bundles(&self, before: Timestamp, fresh: Timestamp) -> Result<Vec<Digest>> {
        self.all(
            concat!(
                "SELECT digest FROM bundle b WHERE taken_at < ?2 AND NOT EXISTS (
                 SELECT 1 FROM task_files f JOIN task t ON t.id = f.task_id WHERE f.bundle = b.digest
                 AND (t.waiting + t.held + t.starting + t.running > 0
                      OR (t.ended_at >= ?1 AND (t.state <> ",
                phase!(completed),
                " OR f.fetch IS NOT NULL))))"
            ),
            (before, fresh),
            |row| row.get(0),
        )
    }
}

fn split(joined: &[u8]) -> Vec<RelPath> {
    let parts = joined.split(|b| *b == 0).filter(|part| !part.is_empty());
    parts.filter_map(|part| RelPath::try_from(Text::from_bytes(part)?).ok()).collect()
}

impl Tx<'_> {
    /// Keeps what travels with a new task.
    pub(super) fn add_files(&self, task: TaskId, launch: &Launch, hold: bool) -> Result<()> {
        let (sent, fetch) = (launch.workplace.sent(), launch.fetch.as_ref());
        if sent.is_none() && fetch.is_none() {
            return Ok(());
        }
        let missing = match sent {
            Some(sent) if !self.has_bundle(sent.bundle)? => 1 + u8::from(hold),
            _ => 0,
        };
        let patterns = fetch.map(|f| f.patterns.iter().map(RelPath::as_bytes).collect::<Vec<_>>().join(&0));
        self.run(
            "INSERT INTO task_files (task_id, bundle, size, files, below, fetch, changed, lands, missing)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            rusqlite::params![
                task,
                sent.map(|s| s.bundle),
                sent.map_or(0, |s| s.size),
                sent.map_or(0, |s| s.files),
                sent.map_or_else(RelPath::default, |s| s.below.clone()),
                patterns,
                fetch.is_some_and(|f| f.changed),
                fetch.map(|f| &f.into),
                missing,
            ],
        )?;
        Ok(())
    }

    /// An archive is in the spool from now on, for a while also without a task. `place` puts its file there: nobody removes
    /// files while this lasts.
    pub fn keep_bundle(&self, sent: &Sent, now: Timestamp, place: impl FnOnce() -> Result<()>) -> Result<()> {
        place()?;
        self.run(
            "INSERT INTO bundle (digest, size, files, taken_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET taken_at = excluded.taken_at",
            (sent.bundle, sent.size, sent.files, now),
        )?;
        Ok(())
    }

    /// Forgets archives and removes their files in the same breath, so that no submit counts on one of them.
    pub fn drop_bundles(&self, home: &Home, bundles: &[Digest]) -> Result<()> {
        for bundle in bundles {
            self.run("DELETE FROM bundle WHERE digest = ?1", [bundle])?;
            remove(&home.sent_file(*bundle))?;
        }
        Ok(())
    }

    /// What an attempt brought back.
    pub fn keep_fetched(&self, task: TaskId, fetched: &Fetched) -> Result<()> {
        let (digest, size, files, error) = match &fetched.lies {
            Whereabouts::Nothing => (None, 0, 0, None),
            Whereabouts::Here { digest, size, files } => (Some(*digest), *size, *files, None),
            Whereabouts::There { error } => (None, 0, 0, Some(error)),
        };
        let remarks = serde_json::to_string(&fetched.remarks).unwrap_or_else(|_| "[]".to_owned());
        self.run(
            "INSERT OR REPLACE INTO fetched (task_id, idx, number, digest, size, files, error, remarks, unpacked_at, not_unpacked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            rusqlite::params![
                task,
                fetched.index,
                fetched.number,
                digest,
                size,
                files,
                error,
                remarks,
                fetched.unpacked_at,
                fetched.not_unpacked
            ],
        )?;
        Ok(())
    }

    /// A client has unpacked all of it, with these remarks.
    pub fn mark_unpacked(&self, task: TaskId, index: Index, remarks: &[String], now: Timestamp) -> Result<()> {
        let remarks = serde_json::to_string(remarks).unwrap_or_else(|_| "[]".to_owned());
        self.run(
            "UPDATE fetched SET unpacked_at = ?3, remarks = ?4, not_unpacked = NULL WHERE task_id = ?1 AND idx = ?2",
            (task, index, now, remarks),
        )?;
        Ok(())
    }

    /// A client could not unpack all of it. What was unpacked whole before has come, whatever happens elsewhere.
    pub fn keep_not_unpacked(&self, task: TaskId, index: Index, words: &str) -> Result<()> {
        self.run(
            "UPDATE fetched SET not_unpacked = ?3 WHERE task_id = ?1 AND idx = ?2 AND unpacked_at IS NULL",
            (task, index, words),
        )?;
        Ok(())
    }
}

impl Ledger<'_, '_> {
    /// An archive has come: tasks that were held for nothing else wait. Gives their number.
    pub fn files_came(&mut self, bundle: Digest) -> Result<u32> {
        let waiting: Vec<(TaskId, bool)> = self.tx.all(
            "SELECT f.task_id, f.missing = 1 AND t.unmatched = 0 FROM task_files f JOIN task t ON t.id = f.task_id
             WHERE f.bundle = ?1 AND f.missing > 0",
            [bundle],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut freed = 0;
        for (task, starts) in waiting {
            self.tx.run("UPDATE task_files SET missing = 0 WHERE task_id = ?1", [task])?;
            if starts {
                freed += self.shift(task, None, Phase::Held, Phase::Waiting)?;
                self.tx.set_reason(task, None)?;
            }
        }
        Ok(freed)
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Unwritable { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

impl Home {
    /// An archive that was sent.
    pub fn sent_file(&self, bundle: Digest) -> PathBuf {
        self.sent().join(bundle.to_string())
    }

    /// What a member brought back.
    pub fn fetched_file(&self, task: TaskId, index: Index) -> PathBuf {
        self.fetched().join(format!("{task}.{index}"))
    }

    /// Makes a new name in one of these directories last.
    pub fn settle(&self, dir: &Path) -> Result<()> {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| StoreError::Unwritable { path: dir.to_owned(), error })
    }
}
