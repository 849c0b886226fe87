//! Members of arrays, for reports: those that failed or run, each with its line.

use super::report::Task;
use super::selecting::Chosen;
use super::show::of_member;
use super::submit::Several;
use super::{Grid, OpsError, member_state, remote};
use crate::model::id::{Index, TaskId};
use crate::model::task::State;
use crate::protocol::distributor::Verb;
use crate::store::View;
use crate::store::away::AwayState;
use crate::store::tasks::{Shape, TaskRow};
use std::collections::{BTreeMap, BTreeSet};

/// Which members of an array a report lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listed {
    /// Those that failed or run.
    #[default]
    Noted,
    Failed,
    All,
}

/// Has a member failed in this state? Who cancelled or skipped it knows.
pub const fn is_failure(state: State) -> bool {
    matches!(state, State::Failed | State::Timeout | State::OutOfMemory | State::Lost)
}

/// Most members that a report lists.
pub(super) const LISTED: u32 = 1_000;

/// Puts the members of an array into its report.
pub(super) fn list(
    view: &View<'_>,
    row: &TaskRow,
    which: Listed,
    limit: u32,
    several: &Several,
    task: &mut Task,
) -> Result<(), OpsError> {
    // The owner alone knows the members of a task elsewhere.
    if row.shape == Shape::Single || view.away(row.id)?.is_some() {
        return Ok(());
    }
    let all = match which {
        Listed::All => row.size,
        Listed::Failed => row.counts.faults(),
        Listed::Noted => row.counts.faults() + row.counts.running,
    };
    task.members = reports(view, row, which, limit, several)?;
    task.members_left_out = all.saturating_sub(u32::try_from(task.members.len()).unwrap_or(all));
    Ok(())
}

/// Reports of members of an array, by index, at most `limit`.
fn reports(
    view: &View<'_>,
    row: &TaskRow,
    which: Listed,
    limit: u32,
    several: &Several,
) -> Result<Vec<Task>, OpsError> {
    let rows = match which {
        // No more than there are: the query ends with the last of them.
        Listed::Failed => view.failed_members_of(row.id, limit.min(row.counts.faults()))?,
        Listed::All => view.members(row.id, limit)?,
        Listed::Noted => {
            let mut rows = view.failed_members_of(row.id, limit.min(row.counts.faults()))?;
            let room = limit - u32::try_from(rows.len()).unwrap_or(limit);
            rows.extend(view.running_members(row.id, room.min(row.counts.running))?);
            rows.sort_by_key(|member| member.index);
            rows
        }
    };
    let mut all: Vec<Task> = rows
        .iter()
        .map(|member| of_member(view, row, member.index, Some(member), several))
        .collect::<Result<_, _>>()?;
    if which == Listed::All {
        // Those that never had an attempt have no row of their own.
        let last = (row.rest_next + row.rest)
            .min(row.rest_next.saturating_add(limit - u32::try_from(rows.len()).unwrap_or(limit)));
        for position in row.rest_next..last {
            all.push(of_member(view, row, row.shape.index_at(position), None, several)?);
        }
        all.sort_by_key(|task| task.index);
    }
    Ok(all)
}

/// Members of these that failed.
pub(super) fn faults(counts: &BTreeMap<State, u32>) -> u32 {
    counts.iter().filter(|(state, _)| is_failure(**state)).map(|(_, count)| *count).fold(0, u32::saturating_add)
}

/// The first members of a task that failed: in this home, or as its owner tells. None: the task, which has no members. True: there
/// are more.
fn first_failed(grid: &mut Grid, task: TaskId, limit: usize) -> Result<(Vec<Option<Index>>, bool), OpsError> {
    let whole = Chosen { task, index: None };
    let row = grid.store.view().task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    if row.shape == Shape::Single {
        return Ok((is_failure(row.state()).then_some(None).into_iter().collect(), false));
    }
    if let Some(away) = remote::away(grid, whole)?
        && matches!(away.held, AwayState::By { .. })
    {
        let report = remote::owner::report::<Task>(grid, &away, Verb::Show { index: None })?;
        let all = report.counts.as_ref().map_or(0, faults);
        let failed = report.members.into_iter().filter(|member| is_failure(member.head.state));
        // Another home may name anything.
        let known = |index: &Index| row.shape.position_of(*index, row.size).is_some();
        let indexes: BTreeSet<Index> = failed.filter_map(|member| member.index).filter(known).collect();
        let more = u32::try_from(indexes.len()).is_ok_and(|found| found < all) || indexes.len() > limit;
        return Ok((indexes.into_iter().take(limit).map(Some).collect(), more));
    }
    let most = u32::try_from(limit).unwrap_or(u32::MAX).min(row.counts.faults());
    let rows = grid.store.view().failed_members_of(task, most)?;
    let more = u32::try_from(rows.len()).is_ok_and(|found| found < row.counts.faults());
    Ok((rows.iter().map(|member| Some(member.index)).collect(), more))
}

/// Most members that one word can name.
pub const MEMBERS_MAX: usize = 10_000;

/// All members of a task that failed.
pub(super) fn failed(grid: &mut Grid, task: TaskId) -> Result<Vec<Option<Index>>, OpsError> {
    let (found, more) = first_failed(grid, task, MEMBERS_MAX)?;
    if more {
        let most = found.len();
        let words =
            format!("{task}.failed: more than {most} members; `grid retry --failed {task}` retries all of them");
        return Err(OpsError::Usage(words));
    }
    Ok(found)
}

/// How many of several members that were waited for failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    pub failed: u64,
    pub of: u64,
    /// The first of them.
    pub ids: Vec<String>,
    /// What `grid retry` takes to try all of them again.
    pub again: Vec<String>,
}

/// Most failed members that are named.
const NAMED: usize = 10;

impl std::fmt::Display for Failures {
    /// `2 of 20 failed: 12.7 12.14 (grid logs 12.7; grid retry 12.failed)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.failed > self.ids.len() as u64 { " .." } else { "" };
        write!(f, "{} of {} failed: {}{more}", self.failed, self.of, self.ids.join(" "))?;
        let Some(first) = self.ids.first() else { return Ok(()) };
        write!(f, " (grid logs {first}; grid retry {})", self.again.join(" "))
    }
}

/// The failures among tasks that were waited for; None: there is none, or it was a single member, whose code says it.
pub fn failures(grid: &mut Grid, what: &[Chosen]) -> Result<Option<Failures>, OpsError> {
    let mut all = Failures { failed: 0, of: 0, ids: Vec::new(), again: Vec::new() };
    for chosen in what {
        let Some(row) = grid.store.view().task(chosen.task)? else { continue };
        let (failed, of) = match chosen.index {
            Some(_) => (u32::from(is_failure(member_state(&grid.store.view(), *chosen)?)), 1),
            None => (row.counts.faults(), row.size),
        };
        (all.failed, all.of) = (all.failed + u64::from(failed), all.of + u64::from(of));
        if failed == 0 {
            continue;
        }
        let array = chosen.index.is_none() && row.shape != Shape::Single;
        all.again.push(if array { format!("{chosen}.failed") } else { chosen.to_string() });
        let room = NAMED.saturating_sub(all.ids.len());
        match array {
            true if room > 0 => {
                let (indexes, _) = first_failed(grid, chosen.task, room)?;
                all.ids.extend(indexes.into_iter().map(|index| Chosen { index, ..*chosen }.to_string()));
            }
            false if room > 0 => all.ids.push(chosen.to_string()),
            _ => {}
        }
    }
    Ok((all.failed > 0 && all.of > 1).then_some(all))
}
