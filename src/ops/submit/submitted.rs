//! The report of a submitted task.

use crate::model::distributor::Tier;
use crate::model::id::{Index, TaskId, TaskUuid};
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError, report};
use crate::store::away::Away;
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{StoreError, View};
use std::cell::OnceCell;

/// The submitted task in this home. If the home was replaced since, the id belongs to another task, or to none, which is an error.
pub fn chosen(grid: &Grid, report: &report::Submitted) -> Result<Chosen, OpsError> {
    let uuid = uuid::Uuid::parse_str(&report.uuid).ok().map(TaskUuid);
    match uuid.map(|uuid| grid.store.view().held_by_uuid(uuid)).transpose()? {
        Some((Some(task), _) | (None, Some(task))) => Ok(Chosen { task, index: None }),
        _ => Err(StoreError::Gone { home: grid.store.home().dir().to_owned() }.into()),
    }
}

pub(super) fn shown_by_uuid(view: &View<'_>, uuid: TaskUuid) -> Result<report::Submitted, OpsError> {
    let (task, _) = view.held_by_uuid(uuid)?;
    shown(view, task.ok_or_else(|| OpsError::unknown("task", &uuid.to_string(), []))?)
}

pub(super) fn shown(view: &View<'_>, task: TaskId) -> Result<report::Submitted, OpsError> {
    let (row, mut report) = row_and_report(view, task)?;
    if report.server.is_none() {
        report.waits_in = waits_in(view, &row, view.away(task)?.as_ref(), &Several::default())?;
    }
    Ok(report)
}

/// The same of a task that this home has placed just now: it is not away.
pub(super) fn shown_here(view: &View<'_>, task: TaskId) -> Result<report::Submitted, OpsError> {
    let (row, mut report) = row_and_report(view, task)?;
    if report.server.is_none() {
        report.waits_in = waits_in(view, &row, None, &Several::default())?;
    }
    Ok(report)
}

fn row_and_report(view: &View<'_>, task: TaskId) -> Result<(TaskRow, report::Submitted), OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    let report = report_of(view, &row);
    Ok((row, report))
}

/// Does the second tier have several distributors? Asked once for all tasks of a command.
#[derive(Debug, Default)]
pub(in crate::ops) struct Several(OnceCell<bool>);

impl Several {
    fn or_ask(&self, view: &View<'_>) -> Result<bool, StoreError> {
        if let Some(known) = self.0.get() {
            return Ok(*known);
        }
        let several = view.has_several_distributors(Tier::Second)?;
        Ok(*self.0.get_or_init(|| several))
    }
}

/// The distributor that has a task, if a person should know it: another home's, or one of several of this home.
pub(in crate::ops) fn waits_in(
    view: &View<'_>,
    row: &TaskRow,
    away: Option<&Away>,
    several: &Several,
) -> Result<Option<String>, StoreError> {
    if row.state().ended() || row.tier2.is_empty() {
        return Ok(None);
    }
    let is_named = away.is_some() || several.or_ask(view)?;
    Ok(is_named.then(|| row.tier2.clone()))
}

/// The head of every report about a task.
fn report_of(view: &View<'_>, row: &TaskRow) -> report::Submitted {
    let member = if row.shape == Shape::Single { view.member(row.id, Index(0)).ok().flatten() } else { None };
    let server = member.and_then(|m| m.server()).and_then(|id| view.server_name(id).ok().flatten());
    report::Submitted {
        id: row.id.to_string(),
        uuid: row.uuid.to_string(),
        state: row.state(),
        reason: row.reason_in(row.state()).filter(|_| !row.state().ended()),
        server: server.map(|name| name.to_string()),
        route: vec![row.tier1.clone(), row.tier2.clone()],
        waits_in: None,
        size: (row.shape != Shape::Single).then_some(row.size),
        notes: Vec::new(),
    }
}
