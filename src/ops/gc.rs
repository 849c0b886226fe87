//! `grid gc`: removes outputs and rows that are older than the settings keep them. Tasks that have not ended, and ends that are not collected, stay.

use super::report::{Collected, CollectedThere};
use super::settings::read;
use super::{Grid, OpsError, notice};
use crate::dispatch::client::start;
use crate::model::clock::Reading;
use crate::model::files::Digest;
use crate::model::id::{Index, MemberKey, TaskId};
use crate::model::server::{Engine, Health};
use crate::model::settings::{KEEP_ENV, KEEP_OUTPUTS, KEEP_ROWS};
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::ToDispatcher;
use crate::store::discards::LeftThere;
use crate::store::{Durability, Home, StoreError, View};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most tasks in one transaction: writers wait for one transaction at most.
const BATCH: u32 = 500;

/// Options of a `gc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GcRequest {
    /// Report what would be removed, and remove nothing.
    pub dry_run: bool,
    /// Trust the wall clock though it was set.
    pub trust_clock: bool,
}

/// Removes what is old, or reports what would be removed. Nothing is removed while the wall clock is not trusted.
pub fn gc(grid: &mut Grid, asked: GcRequest, clock: &Reading) -> Result<Collected, OpsError> {
    let dry_run = asked.dry_run;
    let doubt = if dry_run {
        grid.store.view().clock_doubt(clock)?.filter(|_| !asked.trust_clock)
    } else {
        grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.see_clock(clock, asked.trust_clock)?))?
    };
    if let Some(since) = doubt {
        return Ok(Collected { dry_run, clock_doubted_since: Some(since), ..Collected::default() });
    }
    let view = grid.store.view();
    let now = clock.moment.wall;
    let rows_before = now.minus(read(&view, &KEEP_ROWS)?);
    // Outputs never outlive their task.
    let outputs_before = now.minus(read(&view, &KEEP_OUTPUTS)?).max(rows_before);
    let mut done = Collected { dry_run, ..Collected::default() };
    let keep = read(&view, &KEEP_OUTPUTS)?;
    let mut files = old_files(&grid.store.home().outputs(), &view, outputs_before)?;
    let mut results = old_files(&grid.store.home().fetched(), &view, outputs_before)?;
    let mut taken = Vec::new();
    for result in std::mem::take(&mut results) {
        match result_of(&result.0) {
            Some(result) if notice::protects(&view, result, now)? => continue,
            of => taken.extend(of),
        }
        results.push(result);
    }
    files.extend(results);
    let sent = SentFile::old(grid.store.home(), &view, outputs_before, now.minus(PACKING))?;
    (done.files, done.bytes) = (files.len() as u64, files.iter().map(|(_, len)| len).sum());
    done.files += sent.count();
    done.bytes += sent.bytes;
    let there = view.there_before(outputs_before)?;
    if dry_run {
        (done.outputs, done.tasks) = view.would_go(outputs_before, rows_before)?;
        done.there = by_server(there, view.count_discards()?, true);
        return Ok(done);
    }
    grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.discard_before(outputs_before)?))?;
    for (path, _) in files {
        // Another gc may have removed it.
        let _ = std::fs::remove_file(path);
    }
    notice::dropped(grid, &taken, now)?;
    notice::give(grid, keep, now)?;
    sent.remove(grid, outputs_before)?;
    loop {
        let old = grid.store.view().tasks_with_outputs_before(outputs_before, BATCH)?;
        if old.is_empty() {
            break;
        }
        done.outputs += grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_outputs(&old)?))?;
    }
    loop {
        let old = grid.store.view().tasks_ended_before(rows_before, BATCH)?;
        let gone = grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_tasks(&old)?))?;
        done.tasks += gone;
        if gone == 0 {
            break;
        }
    }
    let tombstones_before = now.minus(TOMBSTONES).max(rows_before);
    grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_tombstones(tombstones_before)?))?;
    let env_before = now.minus(read(&grid.store.view(), &KEEP_ENV)?);
    done.environments =
        grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.erase_environments(env_before, now)?))?;
    if done.tasks > 0 {
        grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_unused_environments(env_before)?))?;
        (done.notes, done.classes) = grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_unused()?))?;
    }
    done.there = by_server(there, send_discards(grid, SERVERS_WAIT)?, false);
    // Compacting needs free space; its failure undoes no removal.
    if let Err(error) = grid.store.compact() {
        tracing::warn!("the database keeps its size: {error}");
    }
    Ok(done)
}

/// Bytes that a `gc` would free on the home's disk if outputs were kept so long.
pub(super) fn would_free(grid: &Grid, keep: Duration) -> Result<u64, OpsError> {
    let (view, home, now) = (grid.store.view(), grid.store.home(), Timestamp::now());
    let before = now.minus(keep).max(now.minus(read(&view, &KEEP_ROWS)?));
    let mut bytes = SentFile::old(home, &view, before, now.minus(PACKING))?.bytes;
    for dir in [home.outputs(), home.fetched()] {
        bytes += old_files(&dir, &view, before)?.iter().map(|(_, len)| len).sum::<u64>();
    }
    for there in view.there_before(before)?.into_iter().chain(view.count_discards()?) {
        if view.server(&there.server)?.is_some_and(|server| server.engine == Engine::Local) {
            bytes += there.bytes.0;
        }
    }
    Ok(bytes)
}

/// Longest wait for servers to answer discards; a server that does not gets them once it answers again.
pub(super) const SERVERS_WAIT: Duration = Duration::from_secs(5);

/// Sends servers the discards. Gives those that are still to be sent once all reachable servers have answered, or after `patience`.
pub(super) fn send_discards(grid: &mut Grid, patience: Duration) -> Result<Vec<LeftThere>, OpsError> {
    let mut left = grid.store.view().count_discards()?;
    if left.is_empty() {
        return Ok(left);
    }
    // The dispatcher does not stop while a command is connected.
    let told = start::call(grid.store.home(), &grid.login, &ToDispatcher::Discard);
    let until = Instant::now() + patience;
    while told.is_ok() && !left.is_empty() && Instant::now() < until {
        let down = |server: &str| {
            let server = grid.store.view().server(server)?;
            Ok::<_, StoreError>(server.is_some_and(|server| matches!(server.health, Health::Down { .. })))
        };
        if left.iter().map(|there| down(&there.server)).collect::<Result<Vec<bool>, _>>()?.into_iter().all(|down| down)
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        left = grid.store.view().count_discards()?;
    }
    Ok(left)
}

/// What is removed on servers, and the discards of it (and of earlier removals) that are still to be sent.
fn by_server(there: Vec<LeftThere>, left: Vec<LeftThere>, dry_run: bool) -> Vec<CollectedThere> {
    let mut all: BTreeMap<String, CollectedThere> = BTreeMap::new();
    for (found, waits) in there.into_iter().map(|t| (t, false)).chain(left.into_iter().map(|l| (l, true))) {
        let new = CollectedThere { server: found.server.clone(), attempts: 0, bytes: 0, waits: false };
        let one = all.entry(found.server).or_insert(new);
        if waits && !dry_run {
            // What was found now is among them.
            (one.attempts, one.bytes) = (found.attempts.max(one.attempts), found.bytes.0.max(one.bytes));
        } else {
            one.attempts += found.attempts;
            one.bytes += found.bytes.0;
        }
        one.waits |= waits;
    }
    all.into_values().collect()
}

/// The message on why nothing was removed.
pub fn held_back(since: Timestamp) -> String {
    format!(
        "nothing was removed by its age: this host's clock was set at {}; old outputs and tasks are removed once it has been steady for a day, or \
         with `grid gc --trust-clock`",
        since.local()
    )
}

/// [`held_back`], if the wall clock is not trusted now.
pub fn doubt(grid: &Grid) -> Result<Option<String>, OpsError> {
    Ok(grid.store.view().clock_doubt(&Reading::now())?.map(held_back))
}

/// Output files (`TASK.INDEX.NUMBER.STREAM`) of tasks that ended before this time, or that are removed.
fn old_files(dir: &Path, view: &View<'_>, before: Timestamp) -> Result<Vec<(PathBuf, u64)>, OpsError> {
    let mut old = Vec::new();
    let Ok(dir) = std::fs::read_dir(dir) else { return Ok(old) };
    for file in dir.flatten() {
        let name = file.file_name();
        let task = name.to_str().and_then(|name| name.split('.').next()?.parse().ok()).map(TaskId);
        let Some(task) = task else { continue };
        let goes = match view.task_end(task)? {
            None => true,
            Some(ended) => ended.is_some_and(|at| at < before),
        };
        if goes {
            old.push((file.path(), file.metadata().map_or(0, |m| m.len())));
        }
    }
    Ok(old)
}

/// The member of an archive of results in the spool, by its name `TASK.INDEX`.
fn result_of(path: &Path) -> Option<MemberKey> {
    let (task, index) = path.file_name()?.to_str()?.split_once('.')?;
    Some(MemberKey { task: TaskId(task.parse().ok()?), index: Index(index.parse().ok()?) })
}

/// Age at which tombstones are removed: longer than any process is stopped and then continues with a submit that was refused for good.
const TOMBSTONES: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest time of a submit; an older file without a task is left over from a submit that died or was refused.
const PACKING: Duration = Duration::from_secs(24 * 3600);

/// Archives that were sent with tasks and that no task needs any more.
struct SentFile {
    bundles: Vec<Digest>,
    /// Files packed after this time may belong to submits in progress.
    fresh: Timestamp,
    /// Files without a row, left by submits that died.
    strays: Vec<PathBuf>,
    bytes: u64,
}

impl SentFile {
    fn old(home: &Home, view: &View<'_>, before: Timestamp, fresh: Timestamp) -> Result<Self, OpsError> {
        let mut old = Self { fresh, bundles: view.unneeded_bundles(before, fresh)?, strays: Vec::new(), bytes: 0 };
        for file in std::fs::read_dir(home.sent()).into_iter().flatten().flatten() {
            let Ok(meta) = file.metadata() else { continue };
            let bundle = file.file_name().to_str().and_then(|name| name.parse().ok());
            let stray = match bundle {
                Some(bundle) => !view.has_bundle(bundle)?,
                None => meta.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > PACKING),
            };
            if stray {
                old.strays.push(file.path());
            }
            if stray || bundle.is_some_and(|bundle| old.bundles.contains(&bundle)) {
                old.bytes += meta.len();
            }
        }
        Ok(old)
    }

    fn count(&self) -> u64 {
        (self.bundles.len() + self.strays.len()) as u64
    }

    /// Removes them after a second check in the transaction: a new submit may need them.
    fn remove(self, grid: &mut Grid, before: Timestamp) -> Result<(), OpsError> {
        let home = grid.store.home().clone();
        grid.store.write(Durability::Normal, |tx| {
            let mut bundles = tx.unneeded_bundles(before, self.fresh)?;
            bundles.retain(|bundle| self.bundles.contains(bundle));
            tx.drop_bundles(&home, &bundles)?;
            for path in self.strays {
                let bundle = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                if bundle.map_or(Ok(true), |bundle| tx.has_bundle(bundle).map(|known| !known))? {
                    // Another gc may have removed it.
                    let _ = std::fs::remove_file(path);
                }
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
