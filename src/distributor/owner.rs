//! The ways to the home that holds a task.

use super::peers::{Peers, silently};
use super::search::skipped;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, TaskId};
use crate::protocol::distributor::{Answer, HeardEnd, Question};
use crate::store::away::UnconfirmedEnd;
use crate::store::{Durability, Result, Store, View};
use std::collections::{BTreeMap, BTreeSet};

/// Ends that are confirmed again with one question.
pub const CONFIRMED_AT_ONCE: u32 = 1_000;

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

/// Confirms ends that are recorded now, so that their owner may remove the tasks. What does not arrive stays marked in this home, and is
/// sent again ([`confirm_rest`]).
pub fn confirm(
    store: &mut Store,
    peers: &mut dyn Peers,
    owner: OwnerHome<'_>,
    ends: impl IntoIterator<Item = HeardEnd>,
) -> Result<()> {
    send_ends(store, peers, owner, ends.into_iter().collect(), true)?;
    Ok(())
}

/// Confirms the ends whose confirmation has not arrived yet, `at_once` with one question, where their owners are not known to be
/// silent. An owner that does not hear is asked once, and holds up no other.
pub fn confirm_rest(store: &mut Store, peers: &mut dyn Peers, at_once: u32) -> Result<()> {
    let members = store.view().distributors(Tier::Second)?;
    let silent = members.iter().filter(|member| member.silent_since.is_some() && !member.due);
    let mut deaf: BTreeSet<HomeId> = silent.filter_map(|member| member.home).collect();
    let mut after = TaskId(0);
    loop {
        let some = store.view().away_unconfirmed(after, at_once)?;
        let Some(last) = some.last() else { return Ok(()) };
        after = last.task;
        let mut by_owner: BTreeMap<(HomeId, Endpoint), Vec<HeardEnd>> = BTreeMap::new();
        for UnconfirmedEnd { home, asked, uuid, ended_at, .. } in some {
            by_owner.entry((home, asked)).or_default().push(HeardEnd { uuid, ended_at });
        }
        for ((home, asked), ends) in by_owner {
            if !deaf.contains(&home) && !send_ends(store, peers, OwnerHome { home, asked: &asked }, ends, false)? {
                deaf.insert(home);
            }
        }
    }
}

/// True: they count as heard.
fn send_ends(
    store: &mut Store,
    peers: &mut dyn Peers,
    owner: OwnerHome<'_>,
    ends: Vec<HeardEnd>,
    insist: bool,
) -> Result<bool> {
    if ends.is_empty() {
        return Ok(true);
    }
    let question = Question::Heard { owner: owner.home, user: None, ends: ends.clone() };
    let ways = ways(&store.view(), owner, insist)?;
    let mut heard = !ways.is_empty();
    for endpoint in ways {
        match peers.ask(&endpoint, &question, &mut silently) {
            Ok(Answer::Done) => {
                heard = true;
                break;
            }
            // It is too old to be told: for such a grid an end counts as heard once it was sent.
            Ok(Answer::No { .. }) => {}
            _ => heard = false,
        }
    }
    if heard {
        store.write(Durability::Normal, |tx| {
            ends.iter().try_for_each(|end| tx.confirmed_away(end.uuid, end.ended_at))
        })?;
    }
    Ok(heard)
}

/// Why a task is no longer known in its home, and what to do. `has_ended`: as far as this home knows.
pub fn unknown_there(task: TaskId, has_ended: bool) -> String {
    let remedy = match has_ended {
        true => format!("`grid remove {task}` drops its row here"),
        false => format!("`grid cancel --forget {task}` gives it up"),
    };
    format!("its home does not know it any more: it was removed there, or that home was set back; {remedy}")
}
