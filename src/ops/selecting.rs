//! Selects tasks by what people type: ids, members, ranges, names, `last`, `all`.

use super::members::MEMBERS_MAX;
use super::{Grid, OpsError, members};
use crate::model::id::{Index, TaskId, UserId};
use crate::model::selector::{MemberWord, Selector, TaskWord};
use crate::store::View;
use crate::store::tasks::{Shape, TaskRow};
use std::fmt;

/// A task, or one member of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    pub task: TaskId,
    pub index: Option<Index>,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.task),
            None => self.task.fmt(f),
        }
    }
}

/// The tasks that `all` means to a verb, within the caller's own tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum All {
    /// `status`, `show`.
    Any,
    /// `cancel`, `hold`: not ended.
    Unended,
    /// `wait`: neither ended nor held.
    Active,
    /// `release`.
    Held,
    /// `retry`: ended, not completed.
    Failed,
    /// `remove`.
    Ended,
}

/// The tasks that the words name, in order, each once. With `everyone`, `last` and `all` mean the tasks of all users.
pub fn select(grid: &mut Grid, words: &[Selector], all: All, everyone: bool) -> Result<Vec<Chosen>, OpsError> {
    let mine = if everyone { None } else { Some(caller(&grid.store.view(), grid)?) };
    let mut chosen: Vec<Chosen> = Vec::new();
    for word in words {
        match word {
            Selector::One(task, members) => {
                let (task, members) = one(&grid.store.view(), task, *members, mine)?;
                match members {
                    None => chosen.push(whole(task)),
                    Some(MemberWord::One(index)) => chosen.push(member(&grid.store.view(), task, index)?),
                    Some(MemberWord::Range(from, to)) => chosen.extend(range(&grid.store.view(), task, from, to)?),
                    Some(MemberWord::Failed) => chosen.extend(failed(grid, task)?),
                }
            }
            Selector::Span(from, to) => {
                let found = grid.store.view().task_ids(*from, *to)?;
                if found.is_empty() {
                    return Err(OpsError::unknown("task", &word.to_string(), []));
                }
                chosen.extend(found.into_iter().map(whole));
            }
            Selector::AllNamed(name) => {
                let found = grid.store.view().select_named(name, mine, all.into())?;
                if found.is_empty() && grid.store.view().newest_named(name, mine)?.is_none() {
                    return Err(unnamed(name, mine));
                }
                chosen.extend(found.into_iter().map(whole));
            }
            Selector::All => chosen.extend(grid.store.view().select_all(mine, all.into())?.into_iter().map(whole)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|c| seen.insert((c.task, c.index)));
    Ok(chosen)
}

/// Exactly one task or member.
pub fn select_one(grid: &mut Grid, word: &Selector, everyone: bool) -> Result<Chosen, OpsError> {
    if !word.is_single() {
        return Err(OpsError::Usage(format!("{word}: this command takes one task: 12, 12.3, last or a name")));
    }
    let found = select(grid, std::slice::from_ref(word), All::Any, everyone)?;
    match found.as_slice() {
        [one] => Ok(*one),
        // A name may end with members.
        _ => Err(OpsError::Usage(format!("{word}: this command takes one task: 12, 12.3, last or a name"))),
    }
}

/// The task of a word. A name that no task has may end with members: `build.3`.
fn one(
    view: &View<'_>,
    word: &TaskWord,
    members: Option<MemberWord>,
    mine: Option<UserId>,
) -> Result<(TaskId, Option<MemberWord>), OpsError> {
    match word {
        TaskWord::Id(task) => exists(view, *task).map(|()| (*task, members)),
        TaskWord::Last => {
            let task = view.last_task(mine)?;
            let hint = if mine.is_none() { "; there is none yet" } else { "; you have none yet" }.to_owned();
            let task = task.ok_or_else(|| OpsError::Unknown { kind: "task", name: "last".to_owned(), hint })?;
            Ok((task, members))
        }
        TaskWord::Named(name) => {
            if let Some(task) = view.newest_named(name, mine)? {
                return Ok((task, members));
            }
            let parts = name.rsplit_once('.').and_then(|(name, members)| Some((name, members.parse().ok()?)));
            let Some((name, members)) = parts else { return Err(unnamed(name, mine)) };
            let task = view.newest_named(name, mine)?.ok_or_else(|| unnamed(name, mine))?;
            Ok((task, Some(members)))
        }
    }
}

fn unnamed(name: &str, mine: Option<UserId>) -> OpsError {
    let none = if mine.is_none() { "none has that name" } else { "none of yours has that name" };
    let hint = format!("; {none}; ids are 12, 12.3, 12.3-5, 12.failed, 12-15, last and all");
    OpsError::Unknown { kind: "task", name: name.to_owned(), hint }
}

/// The members of an array from one index to another, both included.
fn range(view: &View<'_>, task: TaskId, from: Index, to: Index) -> Result<Vec<Chosen>, OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    let first = row.shape.position_from(from);
    let all = (first..row.size).map(|position| row.shape.index_at(position)).take_while(|index| *index <= to);
    let found: Vec<Chosen> = all.take(MEMBERS_MAX + 1).map(|index| Chosen { task, index: Some(index) }).collect();
    if row.shape == Shape::Single || found.is_empty() {
        return Err(no_member(&row, format!("{task}.{from}-{to}")));
    }
    if found.len() > MEMBERS_MAX {
        let words = format!("{task}.{from}-{to}: at most {MEMBERS_MAX} members at once; {task} names all of them");
        return Err(OpsError::Usage(words));
    }
    Ok(found)
}

/// The members of a task that failed, in this home or as its owner tells.
fn failed(grid: &mut Grid, task: TaskId) -> Result<Vec<Chosen>, OpsError> {
    let found: Vec<Chosen> = members::failed(grid, task)?.into_iter().map(|index| Chosen { task, index }).collect();
    if found.is_empty() {
        let hint = format!("; no member of {task} has failed");
        return Err(OpsError::Unknown { kind: "task", name: format!("{task}.failed"), hint });
    }
    Ok(found)
}

const fn whole(task: TaskId) -> Chosen {
    Chosen { task, index: None }
}

fn caller(view: &View<'_>, grid: &Grid) -> Result<UserId, OpsError> {
    // An owner whose row was removed has no tasks: no row has the id 0.
    Ok(view.user(grid.me.as_str())?.map_or(UserId(0), |user| user.id))
}

fn exists(view: &View<'_>, task: TaskId) -> Result<(), OpsError> {
    if view.task_ids(task, task)?.is_empty() { Err(OpsError::unknown("task", &task.to_string(), [])) } else { Ok(()) }
}

fn member(view: &View<'_>, task: TaskId, index: Index) -> Result<Chosen, OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    match row.shape.position_of(index, row.size) {
        None => Err(no_member(&row, format!("{task}.{index}"))),
        Some(_) => Ok(Chosen { task, index: Some(index) }),
    }
}

fn no_member(row: &TaskRow, name: String) -> OpsError {
    let last = row.shape.index_at(row.size.saturating_sub(1));
    let hint = match row.shape {
        Shape::Single => format!("; {} is a single task, without members", row.id),
        _ => format!("; {} has the members {} to {last}", row.id, row.shape.index_at(0)),
    };
    OpsError::Unknown { kind: "task", name, hint }
}

impl From<All> for crate::store::choosing::TaskFilter {
    fn from(all: All) -> Self {
        match all {
            All::Any => Self::Any,
            All::Unended => Self::Unended,
            All::Active => Self::Active,
            All::Held => Self::Held,
            All::Failed => Self::Failed,
            All::Ended => Self::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::task::Members;

    #[test]
    fn tasks_are_selected_by_name_and_members_by_range() {
        let (_dir, mut grid) = fixture::grid();
        let named = |text: &str, count: u32| {
            let mut draft = fixture::draft();
            draft.name = Some(text.into());
            draft.members = Members::Range { first: 10, step: 5, count, at_once: None };
            draft
        };
        for draft in [named("build", 3), named("v1.2", 3), named("build", 3), named("12", 3)] {
            fixture::add_task(&mut grid, draft);
        }
        let mut ids = |text: &str| match select(&mut grid, &[text.parse().unwrap()], All::Any, false) {
            Ok(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(ids("build"), "3", "the newest");
        assert_eq!(ids("build:all"), "1 3");
        assert_eq!(ids("build.15"), "3.15");
        assert_eq!(ids("v1.2"), "2", "a name comes before a member");
        assert_eq!(ids("v1.2.11-30"), "2.15 2.20");
        assert_eq!(ids("name:12"), "4");
        assert_eq!(ids("last.10-15"), "4.10 4.15");
        assert_eq!(ids("1.11-14"), "no task \"1.11-14\"; 1 has the members 10 to 20");
        assert_eq!(ids("1.failed"), "no task \"1.failed\"; no member of 1 has failed");
        assert!(ids("nosuch").contains("none of yours has that name"));
        assert!(ids("nosuch:all").contains("none of yours has that name"));
    }
}
