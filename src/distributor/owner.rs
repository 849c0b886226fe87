//! The ways to the home that holds a task.

use super::peers::{Peers, silently};
use super::search::skipped;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, TaskId};
use crate::protocol::distributor::{Answer, HeardEnd, Question};
use crate::store::{Result, View};

/// A home that holds tasks of this one.
#[derive(Debug, Clone, Copy)]
pub struct OwnerHome<'a> {
    pub home: HomeId,
    /// The distributor that was asked to place them.
    pub asked: &'a Endpoint,
}

/// The ways to an owner: its own endpoint where this home knows it, else the first tier that was asked, else any other first tier.
/// Distributors that are known to be silent come last; without `insist` they are left out.
pub fn ways(view: &View<'_>, owner: OwnerHome<'_>, insist: bool) -> Result<Vec<Endpoint>> {
    let mut ways: Vec<(bool, Endpoint)> = Vec::new();
    let mut add = |silent: bool, endpoint: &Endpoint| {
        if endpoint.is_elsewhere() && !ways.iter().any(|(_, known)| known == endpoint) {
            ways.push((silent, endpoint.clone()));
        }
    };
    for member in view.distributors(Tier::Second)?.iter().filter(|m| m.home == Some(owner.home)) {
        add(member.silent_since.is_some() && !member.due, &member.endpoint);
    }
    let fronts = view.distributors(Tier::First)?;
    let silent =
        |endpoint: &Endpoint| fronts.iter().any(|m| m.endpoint == *endpoint && m.silent_since.is_some() && !m.due);
    add(silent(owner.asked), owner.asked);
    for front in &fronts {
        add(skipped(front).is_some(), &front.endpoint);
    }
    ways.sort_by_key(|(silent, _)| *silent);
    Ok(ways.into_iter().filter(|(silent, _)| insist || !silent).map(|(_, endpoint)| endpoint).collect())
}

/// Confirms ends that are recorded now, so that their owner may remove the tasks. If that does not arrive, the owner keeps them until
/// someone discards them.
pub fn confirm(
    view: &View<'_>,
    peers: &mut dyn Peers,
    owner: OwnerHome<'_>,
    ends: impl IntoIterator<Item = HeardEnd>,
) -> Result<()> {
    let ends: Vec<HeardEnd> = ends.into_iter().collect();
    if ends.is_empty() {
        return Ok(());
    }
    let question = Question::Heard { owner: owner.home, user: None, ends };
    for endpoint in ways(view, owner, true)? {
        if let Ok(Answer::Done) = peers.ask(&endpoint, &question, &mut silently) {
            break;
        }
    }
    Ok(())
}

/// Why a task is no longer known in its home, and what to do. `has_ended`: as far as this home knows.
pub fn unknown_there(task: TaskId, has_ended: bool) -> String {
    let remedy = match has_ended {
        true => format!("`grid remove {task}` drops its row here"),
        false => format!("`grid cancel --forget {task}` gives it up"),
    };
    format!("its home does not know it any more: it was removed there, or that home was set back; {remedy}")
}
