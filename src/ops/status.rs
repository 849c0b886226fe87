//! `grid status`: running tasks, waiting tasks with reasons, and the last ended ones. Its time does not grow with the number of ended tasks.

use super::members::Listed;
use super::report::{ServerLine, Status, Task};
use super::selecting::Chosen;
use super::submit::Several;
use super::{Grid, OpsError, dispatcher, members, notice, remote, server_remarks, servers, show, users};
use crate::model::filesystem::has_room;
use crate::model::id::Index;
use crate::model::time::Timestamp;
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{StoreError, View};

/// Ended tasks that a plain `status` lists.
const ENDED: u32 = 20;
/// Most tasks that a plain `status` lists.
const LIMIT: u32 = 1_000;

/// The tasks to list.
#[derive(Debug, Clone, Default)]
pub struct StatusFilter {
    /// Only these tasks.
    pub only: Option<Vec<Chosen>>,
    /// The most tasks: first those that have not ended, then those that ended last.
    pub limit: Option<u32>,
    /// No limit.
    pub all: bool,
    pub user: Option<String>,
    /// Of arrays in `only`, the members to list.
    pub members: Listed,
}

/// Reports servers and tasks from one snapshot.
pub fn status(grid: &mut Grid, asked: &StatusFilter) -> Result<Status, OpsError> {
    let away = grid.store.view().away_unended(LIMIT)?;
    match remote::states::refresh(grid, &away) {
        // The last known state is reported.
        Err(OpsError::Store(StoreError::Unwritable { .. })) => {}
        done => drop(done?),
    }
    let told = named(grid, asked)?;
    let disk_full = !has_room(grid.store.home().dir());
    let dispatcher = dispatcher::trouble(grid);
    grid.store.read(|view| {
        let several = Several::default();
        let (tasks, left_out) = match told {
            Some(told) => (told, 0),
            None => {
                let (rows, left_out) = rows(view, asked)?;
                let tasks = rows.iter().map(|row| brief(view, row, &several)).collect::<Result<_, OpsError>>()?;
                (tasks, left_out)
            }
        };
        let remarks = server_remarks::remarks(view, Timestamp::now())?;
        let servers = view.servers_in_short()?.iter().map(|server| line(server, remarks.get(&server.id))).collect();
        let notice = notice::of(view)?;
        Ok(Status {
            tasks,
            servers,
            counts: view.tally()?.into_iter().collect(),
            left_out,
            disk_full,
            dispatcher,
            notice,
        })
    })
}

fn rows(view: &View<'_>, asked: &StatusFilter) -> Result<(Vec<TaskRow>, u64), OpsError> {
    let user = match &asked.user {
        Some(name) => Some(users::find(view, name)?.id),
        None => None,
    };
    let limit = if asked.all { u32::MAX } else { asked.limit.unwrap_or(LIMIT) };
    let mut rows = view.unended(user, limit)?;
    let shown = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let left_out = if shown < limit { 0 } else { view.count_unended_of(user)?.saturating_sub(u64::from(shown)) };
    let room = limit - shown;
    let ended = if asked.all || asked.limit.is_some() { room } else { room.min(ENDED) };
    rows.extend(view.ended(user, ended)?);
    rows.sort_by_key(|row| row.id);
    Ok((rows, left_out))
}

/// Reports of tasks and members that are named, arrays with their members.
fn named(grid: &mut Grid, asked: &StatusFilter) -> Result<Option<Vec<Task>>, OpsError> {
    let Some(only) = &asked.only else { return Ok(None) };
    let limit = if asked.all { u32::MAX } else { asked.limit.unwrap_or(LIMIT) };
    let mut tasks = Vec::with_capacity(only.len());
    let several = Several::default();
    for chosen in only {
        // Its owner knows the members.
        let away = remote::away(grid, *chosen)?.is_some();
        let Some(row) = grid.store.view().task(chosen.task)? else { continue };
        if row.shape != Shape::Single && (away || chosen.index.is_some()) {
            for mut task in show::show(grid, &[*chosen])? {
                task.detail = None;
                if asked.members == Listed::Failed {
                    task.members.retain(|member| members::is_failure(member.head.state));
                    let failed = task.counts.as_ref().map_or(0, members::faults);
                    let found = u32::try_from(task.members.len()).unwrap_or(failed);
                    task.members_left_out = failed.saturating_sub(found);
                }
                tasks.push(task);
            }
            continue;
        }
        let view = grid.store.view();
        let mut task = brief(&view, &row, &several)?;
        members::list(&view, &row, asked.members, limit, &several, &mut task)?;
        tasks.push(task);
    }
    Ok(Some(tasks))
}

fn brief(view: &View<'_>, row: &TaskRow, several: &Several) -> Result<Task, OpsError> {
    let member = if row.shape == Shape::Single { view.member(row.id, Index(0))? } else { None };
    show::of_task(view, row, member.as_ref(), several)
}

fn line(server: &crate::model::server::Server, remark: Option<&String>) -> ServerLine {
    let (state, reason) = servers::state(server);
    let reason = reason.or_else(|| remark.cloned());
    ServerLine {
        name: server.name.to_string(),
        engine: server.engine.word(),
        state,
        running: server.taken.slots,
        slots: server.slots,
        reason,
    }
}
