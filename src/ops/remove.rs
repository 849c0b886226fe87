//! `grid remove`: removes ended tasks with all their files. A task stays while a part of it is still needed.

use super::remote::owner::OwnerHome;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, gc, remote};
use crate::distributor::members::words_of;
use crate::distributor::peers::silently;
use crate::distributor::quotas::TOMBSTONES_MAX;
use crate::model::id::TaskId;
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Question, Verb};
use crate::store::away::{Away, AwayState};
use crate::store::files::Whereabouts;
use crate::store::tasks::TaskRow;
use crate::store::tombstones::Refuses;
use crate::store::{Durability, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Keeps the choices that ended before this time.
pub fn retain_older(grid: &Grid, what: &mut Vec<Chosen>, before: Timestamp) -> Result<(), OpsError> {
    let view = grid.store.view();
    let ends = what.iter().map(|chosen| view.task_end(chosen.task)).collect::<Result<Vec<_>, _>>()?;
    let mut ends = ends.into_iter();
    what.retain(|_| ends.next().flatten().flatten().is_some_and(|end| end < before));
    Ok(())
}

/// Most tasks in one transaction: other writers wait for one transaction at most.
const BATCH: usize = 500;

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveReport {
    /// Ids of the tasks that were removed, or would be.
    pub tasks: Vec<String>,
    /// Small outputs in the database.
    pub outputs: u64,
    /// Longer outputs, and archives of results.
    pub files: u64,
    /// Bytes of both.
    pub bytes: Bytes,
    /// Bytes of outputs on servers.
    pub on_servers: Bytes,
    /// Tasks that stay, each with the reason.
    pub kept: Vec<KeptTask>,
    pub dry_run: bool,
}

impl RemoveReport {
    /// Adds another report.
    pub fn add(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.outputs += other.outputs;
        self.files += other.files;
        self.bytes.0 += other.bytes.0;
        self.on_servers.0 += other.on_servers.0;
    }
}

/// A task that `remove` keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTask {
    pub id: String,
    pub why: String,
}

/// Options of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// Also remove tasks whose files are not unpacked, and tasks whose end their client does not know.
    pub discard: bool,
    /// Also remove a task of another home there.
    pub everywhere: bool,
    pub dry_run: bool,
    /// All tasks were named: if one has to stay, none is removed.
    pub all_or_none: bool,
    /// The client of the tasks, in another home, asks: it knows their ends.
    pub by_client: bool,
}

/// Removes ended tasks of this home, and the rows of tasks that other homes hold.
pub fn remove(grid: &mut Grid, what: &[Chosen], how: Removal) -> Result<RemoveReport, OpsError> {
    if let Some(member) = what.iter().find(|chosen| chosen.index.is_some()) {
        let task = member.task;
        return Err(OpsError::Usage(format!("{member}: a member goes with its task only: grid remove {task}")));
    }
    let away = what.iter().map(|chosen| remote::away(grid, *chosen)).collect::<Result<Vec<_>, _>>()?;
    let away: Vec<Away> = away.into_iter().flatten().collect();
    remote::states::refresh(grid, &away)?;
    let mut kept = Vec::new();
    let mut going = Vec::new();
    for chosen in what {
        match why_needed(&grid.store.view(), chosen.task, how)? {
            Some(why) => kept.push(KeptTask { id: chosen.to_string(), why }),
            None => going.push(chosen.task),
        }
    }
    if how.all_or_none && !kept.is_empty() {
        return Err(nothing_removed(&kept));
    }
    let mut done = RemoveReport { dry_run: how.dry_run, ..RemoveReport::default() };
    if how.dry_run {
        for task in &going {
            count_outputs(&grid.store.view(), *task, &mut done)?;
        }
        let files = files_of(grid, &going)?;
        count_files(&files, &mut done);
        done.kept = kept;
        return Ok(done);
    }
    if how.everywhere {
        let theirs: Vec<Away> = away.into_iter().filter(|away| going.contains(&away.task)).collect();
        for away in theirs {
            match remove_by_owner(grid, &away, how.discard) {
                Ok(removed) => done.add(removed),
                Err(error) => {
                    going.retain(|task| *task != away.task);
                    kept.push(KeptTask {
                        id: away.task.to_string(),
                        why: format!("its owner did not remove it: {error}"),
                    });
                }
            }
        }
    }
    remove_here(grid, &going, how, &mut done, &mut kept)?;
    done.kept = kept;
    Ok(done)
}

/// Removes rows before files: after a crash in between, the next `gc` removes the files.
fn remove_here(
    grid: &mut Grid,
    going: &[TaskId],
    how: Removal,
    done: &mut RemoveReport,
    kept: &mut Vec<KeptTask>,
) -> Result<(), OpsError> {
    let now = Timestamp::now();
    for batch in going.chunks(BATCH) {
        let mut gone = RemoveReport::default();
        let stay = grid.store.write(Durability::Full, |tx| {
            let mut stay = Vec::new();
            for task in batch {
                let Some(row) = tx.task(*task)? else { continue };
                // The task may have been retried since the check.
                if let Some(why) = why_needed(tx, *task, how)? {
                    stay.push(KeptTask { id: task.to_string(), why });
                    continue;
                }
                count_outputs(tx, *task, &mut gone)?;
                // A process that was stopped while it placed the task must not place it again.
                let of = if how.by_client { Refuses::User(row.user_id) } else { Refuses::Everybody };
                tx.add_tombstone(row.uuid, u32::MAX, of, now)?;
                tx.drop_tasks(&[*task])?;
            }
            Ok::<_, OpsError>(stay)
        })?;
        let removed: Vec<TaskId> =
            batch.iter().copied().filter(|task| !stay.iter().any(|kept| kept.id == task.to_string())).collect();
        let files = files_of(grid, &removed)?;
        count_files(&files, &mut gone);
        for (path, _) in files {
            // Another process may have removed it.
            let _ = std::fs::remove_file(path);
        }
        done.add(gone);
        kept.extend(stay);
    }
    if !done.tasks.is_empty() {
        // Servers that do not answer get the discards later.
        gc::send_discards(grid, gc::SERVERS_WAIT)?;
    }
    dispatcher::wake(grid)
}

/// Why a task can't be removed; None if it can.
fn why_needed(view: &View<'_>, task: TaskId, how: Removal) -> Result<Option<String>, OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    let away = view.away(task)?;
    let state = row.state();
    if row.counts.unended() > 0 {
        return Ok(Some(format!("it has not ended: {state}; `grid cancel {task}` first")));
    }
    // Once there are dependencies: a task that others wait for is needed.
    match &away {
        Some(Away { held: AwayState::Open { .. } | AwayState::Moving { .. }, .. }) => {
            return Ok(Some("no home has answered yet whether it holds it".to_owned()));
        }
        Some(Away { cancel: Some(_), .. }) => {
            return Ok(Some("its owner has not been told yet that it is cancelled".to_owned()));
        }
        _ => {}
    }
    if how.by_client {
        // Each removal leaves a tombstone, which is removed only by its age.
        if view.has_tombstones(Refuses::User(row.user_id), TOMBSTONES_MAX)? {
            let many =
                format!("{TOMBSTONES_MAX} tasks of this user were removed or refused lately: wait for `grid gc`");
            return Ok(Some(many));
        }
    } else if !how.discard && view.is_unheard(task)? {
        let client = &row.client;
        return Ok(Some(format!(
            "its client on {client} has not confirmed yet that it knows how it ended (--discard removes it anyway)"
        )));
    }
    if how.discard { Ok(None) } else { files_needed(view, &row, away.is_some(), how.by_client) }
}

/// Why the files of a task are still needed. A client in another home knows the task by another id.
fn files_needed(view: &View<'_>, row: &TaskRow, away: bool, by_client: bool) -> Result<Option<String>, OpsError> {
    let task = row.id;
    let fetch = if by_client { "`grid fetch`".to_owned() } else { format!("`grid fetch {task}`") };
    let fetched = view.fetched_of(task)?;
    let there = fetched.iter().find_map(|f| match &f.lies {
        Whereabouts::There { error } => Some(error),
        _ => None,
    });
    if let Some(error) = there {
        return Ok(Some(format!("its results are not fetched yet ({error}): {fetch}, or --discard")));
    }
    if view.has_unread_results(task)? {
        return Ok(Some(format!("its results are not unpacked: {fetch}, or --discard")));
    }
    let began = row.started_at.is_some();
    // The owner has a result for each of these, even an empty one. A failed member may never have
    // started; only the owner knows.
    let c = &row.counts;
    let told_of = u64::from(c.completed) + u64::from(c.timeout) + u64::from(c.out_of_memory);
    let lacks = fetched.is_empty() || (fetched.len() as u64) < told_of;
    if away && began && lacks && view.files_of(task)?.1.is_some() {
        return Ok(Some(format!("its results are in its owner's home: {fetch}, or --discard")));
    }
    Ok(None)
}

/// Most reasons that are listed one by one.
const REASONS: usize = 20;

fn nothing_removed(kept: &[KeptTask]) -> OpsError {
    let mut lines = vec!["nothing was removed".to_owned()];
    lines.extend(kept.iter().take(REASONS).map(|kept| format!("{}: {}", kept.id, kept.why)));
    if kept.len() > REASONS {
        lines.push(format!("and {} more", kept.len() - REASONS));
    }
    OpsError::Refused(lines.join("\n"))
}

/// Has the owner of a task remove it. An owner that does not know the task any more counts as done.
fn remove_by_owner(grid: &Grid, away: &Away, discard: bool) -> Result<RemoveReport, OpsError> {
    let AwayState::By { home, .. } = away.held else { return Ok(RemoveReport::default()) };
    let verb = Verb::Remove { discard };
    let owner = OwnerHome { home, asked: &away.asked };
    let question = Question::Task { owner: home, user: None, uuid: away.uuid, verb };
    match remote::owner::ask(grid, owner, &question, &mut silently)? {
        // The row in this home counts as the task.
        Answer::Report(text) => serde_json::from_str(&text)
            .map(|removed| RemoveReport { tasks: Vec::new(), kept: Vec::new(), ..removed })
            .map_err(|error| OpsError::Grid(format!("its report can't be read: {error}"))),
        Answer::Unknown(_) => Ok(RemoveReport::default()),
        other => Err(OpsError::Refused(words_of(other))),
    }
}

/// Counts the outputs of a task in the database and on servers.
fn count_outputs(view: &View<'_>, task: TaskId, done: &mut RemoveReport) -> Result<(), OpsError> {
    let left = view.left_by(task)?;
    done.tasks.push(task.to_string());
    done.outputs += left.outputs;
    done.bytes.0 += left.bytes;
    done.on_servers.0 += left.on_servers;
    Ok(())
}

fn count_files(files: &[(PathBuf, u64)], done: &mut RemoveReport) {
    done.files += files.len() as u64;
    done.bytes.0 += files.iter().map(|(_, len)| len).sum::<u64>();
}

/// Files of tasks in the home's spool: longer outputs and results. Their names begin with the task's id.
fn files_of(grid: &Grid, tasks: &[TaskId]) -> Result<Vec<(PathBuf, u64)>, OpsError> {
    let tasks: BTreeSet<TaskId> = tasks.iter().copied().collect();
    let mut found = Vec::new();
    if tasks.is_empty() {
        return Ok(found);
    }
    let home = grid.store.home();
    for dir in [home.outputs(), home.fetched()] {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            if task_of(Path::new(&entry.file_name())).is_some_and(|task| tasks.contains(&task)) {
                found.push((entry.path(), entry.metadata().map_or(0, |meta| meta.len())));
            }
        }
    }
    Ok(found)
}

fn task_of(name: &Path) -> Option<TaskId> {
    name.to_str()?.split('.').next()?.parse().ok().map(TaskId)
}
