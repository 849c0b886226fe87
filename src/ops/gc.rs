//! `grid gc`: outputs and rows that are older than the settings keep them. What is unended or uncollected never goes.

use super::report::Collected;
use super::settings::{KEEP_OUTPUTS, KEEP_ROWS, time};
use super::{Grid, OpsError};
use crate::model::id::TaskId;
use crate::model::time::Timestamp;
use crate::store::{Durability, View};
use std::path::PathBuf;
use std::time::Duration;

/// Tasks in one transaction: writers wait no longer than for this.
const BATCH: u32 = 500;

/// Removes what is old, or says what would go.
pub fn gc(grid: &mut Grid, dry_run: bool) -> Result<Collected, OpsError> {
    let view = grid.store.view();
    let now = Timestamp::now();
    let rows_before = before(now, time(&view, KEEP_ROWS)?);
    // Outputs never outlive their task.
    let outputs_before = before(now, time(&view, KEEP_OUTPUTS)?).max(rows_before);
    let mut done = Collected { dry_run, ..Collected::default() };
    let files = old_files(grid, &view, outputs_before)?;
    (done.files, done.bytes) = (files.len() as u64, files.iter().map(|(_, len)| len).sum());
    if dry_run {
        (done.outputs, done.tasks) = view.would_go(outputs_before, rows_before)?;
        return Ok(done);
    }
    for (path, _) in files {
        // Another gc may have been faster.
        let _ = std::fs::remove_file(path);
    }
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
    if done.tasks > 0 {
        (done.notes, done.classes) = grid.store.write::<_, OpsError>(Durability::Normal, |tx| Ok(tx.drop_unused()?))?;
    }
    Ok(done)
}

fn before(now: Timestamp, kept: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
}

/// Output files (`TASK.INDEX.NUMBER.STREAM`) of tasks that ended before, or that are gone.
fn old_files(grid: &Grid, view: &View<'_>, before: Timestamp) -> Result<Vec<(PathBuf, u64)>, OpsError> {
    let mut old = Vec::new();
    let Ok(dir) = std::fs::read_dir(grid.store.home().outputs()) else { return Ok(old) };
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
