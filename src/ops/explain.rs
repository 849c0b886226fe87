//! `grid explain`: why a task runs where it does, or why it waits, tier by tier and server by server.
//! A waiting task is matched again; a task that ran is explained from its search notes, or matched again if it has none.

use super::report::{Explained, Remote, ServerVerdict, TierSearch};
use super::selecting::Chosen;
use super::{Grid, OpsError, moving, remote, show};
use crate::distributor::dry::DryRun;
use crate::distributor::fleets::Fleets;
use crate::distributor::front::SERIES;
use crate::distributor::tier2::Candidates;
use crate::matching::Query;
use crate::model::id::Index;
use crate::model::name::Name;
use crate::model::task::State;
use crate::model::time::{Timestamp, short};
use crate::protocol::distributor::Verb;
use crate::store::View;
use crate::store::away::{Away, AwayState};
use crate::store::tasks::{Shape, TaskRow};
use crate::store::trace::NoteId;
use serde::Deserialize;

/// The body of a search note.
#[derive(Debug, Deserialize)]
struct SearchNote {
    tiers: Vec<TierSearch>,
}

/// Explains the placement of a task or a member.
pub fn explain(grid: &mut Grid, what: Chosen) -> Result<Explained, OpsError> {
    if let Some(away) = remote::away(grid, what)?
        && let AwayState::By { .. } = away.held
    {
        let told = remote::owner::report(grid, &away, Verb::Explain { index: what.index });
        if let Err(OpsError::Refused(why) | OpsError::Denied { summary: why, .. }) = &told {
            return unreached(grid, what, &away, why);
        }
        let mut told: Explained = told?;
        let view = grid.store.view();
        let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
        let search: Option<SearchNote> = note(&view, row.search)?;
        let theirs = told.task.replace(what.to_string());
        let unplaced = told.chosen.is_none() && told.state.is_some_and(|state| !state.ended());
        told.waits_in = unplaced.then(|| row.holder().to_owned());
        told.remote = theirs.map(|id| Remote { distributor: row.holder().to_owned(), id });
        // The distributor has its own name in this home.
        if let Ok(distributor) = row.tier2.parse::<Name>() {
            told.servers.iter_mut().for_each(|verdict| verdict.distributor = distributor.clone());
        }
        // Verbs and numbers of servers are those of its owner.
        told.relaxed.iter_mut().for_each(|line| *line = format!("in {}: {line}", row.holder()));
        if let Some(search) = search {
            (told.tiers, told.searched_at) = (two_tiers(search.tiers), searched_at(&row, Some(&away)));
        }
        // What this home did comes first: the owner's steps follow it.
        told.steps = [view.steps(row.id)?, told.steps].concat();
        if row.counts.waiting > 0 && told.state == Some(State::Pending) {
            told.elsewhere = moving::destination(grid, &row, Some(&away));
        }
        return Ok(told);
    }
    let mut task = show::show(grid, &[what])?;
    let task = task.pop().ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    let mut explained = grid.store.read(|view| {
        let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
        let index = what.index.or((row.shape == Shape::Single).then_some(Index(0)));
        let member = index.map_or(Ok(None), |index| view.member(row.id, index))?;
        let search: Option<SearchNote> = note(view, row.search)?;
        let away = view.away(row.id)?;
        let mut explained = Explained {
            task: Some(task.head.id),
            state: Some(task.head.state),
            waits_in: task.head.waits_in,
            reason: task.head.reason,
            searched_at: search.as_ref().and_then(|_| searched_at(&row, away.as_ref())),
            tiers: two_tiers(search.map(|s| s.tiers).unwrap_or_default()),
            servers: Vec::new(),
            left_out: 0,
            chosen: task.head.server,
            judged_at: None,
            relaxed: Vec::new(),
            steps: view.steps(row.id)?,
            remote: None,
            elsewhere: None,
        };
        let waits = row.counts.waiting + row.counts.held > 0 && member.as_ref().is_none_or(|m| !m.has_ended());
        let mut fleets = Fleets::default();
        // The match that placed the member, else the last match that is recorded of the task.
        let (verdict, judged_at) = match &member {
            Some(member) if member.verdict.is_some() => (member.verdict, member.started_at()),
            _ => (row.verdict, row.verdict_at),
        };
        let kept: Option<Vec<ServerVerdict>> = if waits { None } else { note(view, verdict)? };
        match kept {
            Some(kept) => (explained.servers, explained.judged_at) = (kept, judged_at),
            None => {
                let now = Timestamp::now();
                if let Some(mut asked) = ask_again(view, &mut fleets, &row, now)? {
                    if waits {
                        asked.avoid_for(view, &row, index)?;
                    }
                    explained.servers = asked.verdicts(Some(row.id));
                    explained.judged_at = Some(now);
                    if waits {
                        explained.relaxed = asked.relaxations(Some(row.id));
                    }
                }
            }
        }
        Ok::<_, OpsError>(explained)
    })?;
    let row = grid.store.view().task(what.task)?.filter(|row| row.counts.waiting > 0);
    if let Some(row) = row
        && explained.state == Some(State::Pending)
        && remote::away(grid, what)?.is_none()
    {
        explained.elsewhere = moving::destination(grid, &row, None);
    }
    Ok(explained)
}

/// What this home knows of a task whose owner can't be asked.
fn unreached(grid: &Grid, what: Chosen, away: &Away, why: &str) -> Result<Explained, OpsError> {
    let view = grid.store.view();
    let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    let now = Timestamp::now();
    let heard =
        away.answered_at.map_or_else(String::new, |at| format!("; its last word is {} old", short(at.age_at(now))));
    let owner = row.holder().to_owned();
    let of_task = format!("task {}: ", what.task);
    let why = why.strip_prefix(&of_task).unwrap_or(why);
    let search: Option<SearchNote> = note(&view, row.search)?;
    Ok(Explained {
        task: Some(what.to_string()),
        state: Some(row.state()),
        waits_in: Some(owner.clone()).filter(|_| away.server.is_none() && !row.state().ended()),
        reason: Some(format!("{why}{heard}")),
        searched_at: searched_at(&row, Some(away)),
        tiers: two_tiers(search.map(|search| search.tiers).unwrap_or_default()),
        servers: Vec::new(),
        left_out: 0,
        chosen: away.server.clone(),
        judged_at: None,
        relaxed: Vec::new(),
        steps: view.steps(row.id)?,
        remote: match away.held {
            AwayState::By { id, .. } => Some(Remote { distributor: owner.clone(), id: id.to_string() }),
            AwayState::Open { .. } | AwayState::Moving { .. } => None,
        },
        elsewhere: None,
    })
}

/// When the search was made whose answers are kept. A task that has come back from another home was searched for since its submit.
fn searched_at(row: &TaskRow, away: Option<&Away>) -> Option<Timestamp> {
    match away {
        // The search that is noted has ended; a later one may be under way.
        Some(away) => Some(away.asked_at).filter(|_| matches!(away.held, AwayState::By { .. })),
        None if row.round < 2 * SERIES => Some(row.submitted_at),
        None => row.verdict_at,
    }
}

/// Matches a task against its servers as they are now.
fn ask_again<'f>(
    view: &View<'_>,
    fleets: &'f mut Fleets,
    row: &TaskRow,
    now: Timestamp,
) -> Result<Option<Candidates<'f>>, OpsError> {
    let Some(class) = view.class(row.class)? else { return Ok(None) };
    let (Some(user), Some(client)) = (view.user_by_id(class.user)?, view.client_by_id(class.client)?) else {
        return Ok(None);
    };
    let Ok(query) = Query::new(&class.demand, &user, &client) else { return Ok(None) };
    Ok(Candidates::new(view, fleets, class.distributor, query, now).ok())
}

/// The explanation of a search that was just made, for a dry run.
pub(super) fn of_search(found: DryRun, now: Timestamp) -> Explained {
    Explained {
        task: None,
        state: None,
        waits_in: None,
        reason: None,
        searched_at: None,
        tiers: found.trace.tiers.into(),
        servers: found.verdicts,
        left_out: found.left_out,
        chosen: found.chosen,
        judged_at: Some(now),
        relaxed: Vec::new(),
        steps: Vec::new(),
        remote: None,
        elsewhere: None,
    }
}

/// The answers of both tiers in order; a tier that was not searched has none.
pub fn two_tiers(found: Vec<TierSearch>) -> Vec<TierSearch> {
    let answers = |tier| found.iter().find(|t| t.tier == tier).map(|t| t.searched.clone()).unwrap_or_default();
    [1, 2].map(|tier| TierSearch { tier, searched: answers(tier) }).into()
}

fn note<T: serde::de::DeserializeOwned>(view: &View<'_>, id: Option<NoteId>) -> Result<Option<T>, OpsError> {
    let Some(body) = id.map_or(Ok(None), |id| view.note(id))? else { return Ok(None) };
    let read = serde_json::from_str(&body);
    read.map(Some).map_err(|error| OpsError::Grid(format!("a note in the database can't be read: {error}")))
}
