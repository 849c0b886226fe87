//! The sequential search of one tier: the order of its members, and the trace of their answers.

use crate::model::bounds;
use crate::model::distributor::{Policy, Record};
use serde::{Deserialize, Serialize};

/// The live members of a set, in the order in which they are asked. Members that are down or drained are skipped.
pub fn order(set: &[Record], policy: Policy, cursor: u64) -> Vec<Record> {
    let mut live: Vec<Record> = set.iter().filter(|m| skipped(m).is_none()).cloned().collect();
    match policy {
        Policy::InOrder => {}
        Policy::RoundRobin => {
            let len = live.len().max(1) as u64;
            live.rotate_left(usize::try_from(cursor % len).unwrap_or(0));
        }
        // A stable sort: equals stay in the order of the set.
        Policy::LeastLoaded => live.sort_by(|a, b| load(a).total_cmp(&load(b))),
    }
    live
}

/// Tasks for each slot; a member without slots comes last.
fn load(member: &Record) -> f64 {
    let Some(load) = member.load.filter(|load| load.slots > 0) else { return f64::INFINITY };
    (f64::from(load.running) + f64::from(load.waiting)) / f64::from(load.slots)
}

/// Members that were silent a moment ago: they are asked last, for they may be back.
pub fn silent(set: &[Record]) -> impl Iterator<Item = Record> {
    let is_silent =
        |m: &&Record| m.allowed && m.drained.is_none() && m.left_at.is_none() && m.silent_since.is_some() && !m.due;
    set.iter().filter(is_silent).cloned()
}

/// Why a member is not asked.
pub fn skipped(member: &Record) -> Option<String> {
    match (&member.drained, member.silent_since) {
        _ if !member.allowed => Some("registered, not allowed yet: `grid distributor allow`".to_owned()),
        (Some(reason), _) if reason.is_empty() => Some("drained".to_owned()),
        (Some(reason), _) => Some(format!("drained: {reason}")),
        _ if member.left_at.is_some() => Some("left: it unregistered".to_owned()),
        (None, Some(since)) if !member.due => Some(format!("does not answer since {}", since.local())),
        (None, _) => None,
    }
}

/// What one member answered in a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    pub distributor: String,
    pub answer: String,
}

/// The search of one tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierSearch {
    pub tier: u8,
    pub searched: Vec<Searched>,
}

/// The whole search of one task: always both tiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub tiers: [TierSearch; 2],
}

impl Default for Trace {
    fn default() -> Self {
        Self { tiers: [1, 2].map(|tier| TierSearch { tier, searched: Vec::new() }) }
    }
}

impl Trace {
    /// Notes an answer of a first-tier member; a later answer of the same member replaces it.
    pub fn first(&mut self, distributor: &str, answer: impl Into<String>) {
        self.note(0, distributor, answer.into());
    }

    /// Notes an answer of a second-tier member; a later answer of the same member replaces it.
    pub fn second(&mut self, distributor: &str, answer: impl Into<String>) {
        self.note(1, distributor, answer.into());
    }

    fn note(&mut self, tier: usize, distributor: &str, mut answer: String) {
        bounds::cut(&mut answer);
        let searched = &mut self.tiers[tier].searched;
        match searched.iter_mut().find(|s| s.distributor == distributor) {
            Some(there) => there.answer = answer,
            None => searched.push(Searched { distributor: distributor.to_owned(), answer }),
        }
    }
}
