//! `grid explain`: what each tier answered and what was found of each server, from the notes that were kept.

use super::report::{Explained, ServerVerdict, TierSearch};
use super::selecting::Chosen;
use super::{Grid, OpsError, show};
use crate::model::id::Index;
use crate::model::task::Phase;
use crate::store::View;
use crate::store::tasks::Shape;
use crate::store::trace::NoteId;
use serde::Deserialize;

/// The body of a search note.
#[derive(Debug, Deserialize)]
struct Search {
    tiers: Vec<TierSearch>,
}

/// The way of a task, tier by tier and server by server, as it was noted.
pub fn explain(grid: &mut Grid, what: Chosen) -> Result<Explained, OpsError> {
    let mut task = show::show(grid, &[what])?;
    let task = task.pop().ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    grid.store.read(|view| {
        let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
        let index = what.index.or((row.shape == Shape::Single).then_some(Index(0)));
        let member = index.map_or(Ok(None), |index| view.member(row.id, index))?;
        let search: Option<Search> = note(view, row.search)?;
        // The match that placed the member, else the last one of the task that waits.
        let placed = member.as_ref().filter(|m| !matches!(m.phase, Phase::Waiting | Phase::Held));
        let (verdict, judged_at) = match placed.and_then(|m| m.verdict) {
            Some(note) => (Some(note), placed.and_then(|m| m.started_at)),
            None => (row.verdict, row.verdict_at),
        };
        let servers: Vec<ServerVerdict> = note(view, verdict)?.unwrap_or_default();
        Ok(Explained {
            task: Some(task.head.id),
            state: Some(task.head.state),
            reason: task.head.reason,
            tiers: two_tiers(search.map(|s| s.tiers).unwrap_or_default()),
            servers,
            chosen: task.head.server,
            judged_at,
            steps: view.steps(row.id)?,
        })
    })
}

/// Exactly two, in order; one that was not searched has no answers.
pub fn two_tiers(found: Vec<TierSearch>) -> Vec<TierSearch> {
    let answers = |tier| found.iter().find(|t| t.tier == tier).map(|t| t.searched.clone()).unwrap_or_default();
    [1, 2].map(|tier| TierSearch { tier, searched: answers(tier) }).into()
}

fn note<T: serde::de::DeserializeOwned>(view: &View<'_>, id: Option<NoteId>) -> Result<Option<T>, OpsError> {
    let Some(body) = id.map_or(Ok(None), |id| view.note(id))? else { return Ok(None) };
    let read = serde_json::from_str(&body);
    read.map(Some).map_err(|error| OpsError::Grid(format!("a note in the database can't be read: {error}")))
}
