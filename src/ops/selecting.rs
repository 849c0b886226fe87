//! Selects tasks by what people type: `12`, `12.3`, `12-15`, `last`, `all`.

use super::{Grid, OpsError};
use crate::model::id::{Index, TaskId, UserId};
use crate::model::selector::Selector;
use crate::store::View;
use crate::store::tasks::Shape;
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
pub fn select(grid: &Grid, words: &[Selector], all: All, everyone: bool) -> Result<Vec<Chosen>, OpsError> {
    let view = grid.store.view();
    let mine = if everyone { None } else { Some(caller(&view, grid)?) };
    let mut chosen: Vec<Chosen> = Vec::new();
    for word in words {
        match *word {
            Selector::Task(task) => {
                exists(&view, task)?;
                chosen.push(Chosen { task, index: None });
            }
            Selector::Member(task, index) => chosen.push(member(&view, task, index)?),
            Selector::Span(from, to) => {
                let found = view.task_ids(from, to)?;
                if found.is_empty() {
                    return Err(OpsError::unknown("task", &word.to_string(), []));
                }
                chosen.extend(found.into_iter().map(whole));
            }
            Selector::Last => {
                let task = view.last_task(mine)?;
                let task = task.ok_or_else(|| OpsError::Unknown {
                    kind: "task",
                    name: "last".to_owned(),
                    hint: if everyone { "; there is none yet" } else { "; you have none yet" }.to_owned(),
                })?;
                chosen.push(whole(task));
            }
            Selector::All => chosen.extend(view.select_all(mine, all.into())?.into_iter().map(whole)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|c| seen.insert((c.task, c.index)));
    Ok(chosen)
}

/// Exactly one task or member.
pub fn select_one(grid: &Grid, word: Selector, everyone: bool) -> Result<Chosen, OpsError> {
    if matches!(word, Selector::All | Selector::Span(..)) {
        return Err(OpsError::Usage(format!("{word}: this command takes one task: 12, 12.3 or last")));
    }
    let found = select(grid, &[word], All::Any, everyone)?;
    found.into_iter().next().ok_or_else(|| OpsError::unknown("task", &word.to_string(), []))
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
    if row.shape.position_of(index, row.size).is_none() {
        let last = row.shape.index_at(row.size.saturating_sub(1));
        let hint = match row.shape {
            Shape::Single => format!("; {task} is a single task, without members"),
            _ => format!("; {task} has the members {} to {last}", row.shape.index_at(0)),
        };
        return Err(OpsError::Unknown { kind: "task", name: format!("{task}.{index}"), hint });
    }
    Ok(Chosen { task, index: Some(index) })
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
