//! What smaller wish would match? Each requirement of the task is relaxed alone.

use super::capacity::{FreeCapacity, is_open};
use super::index::Fleet;
use super::query::{Folded, Query};
use super::search::ResolvedQuery;
use crate::model::demand::{AppNeed, Target};
use crate::model::resources::Bytes;
use crate::model::server::Engine;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One requirement made smaller or left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelaxedPart {
    /// `--mem` no larger than this.
    Mem(Bytes),
    /// `-c` no larger than this.
    Cpus(u32),
    WithoutApp(AppNeed),
    WithoutOn(Target),
    WithoutExclude(Target),
    /// Without the whole `-C`.
    WithoutConstraint,
    /// Without this part of `-C`.
    WithoutPart(String),
    /// Without the user's own requirement.
    WithoutUserConstraint,
}

impl fmt::Display for RelaxedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mem(mem) => write!(f, "with --mem {}", exact(*mem)),
            Self::Cpus(cpus) => write!(f, "with -c {cpus}"),
            Self::WithoutApp(app) => write!(f, "without --app {app}"),
            Self::WithoutOn(target) => write!(f, "without -w {target}"),
            Self::WithoutExclude(target) => write!(f, "without -x {target}"),
            Self::WithoutConstraint => f.write_str("without -C"),
            Self::WithoutPart(text) => write!(f, "without {text} in -C"),
            Self::WithoutUserConstraint => f.write_str("without the user's requirement"),
        }
    }
}

/// A change, and how many servers would match with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relaxation {
    pub change: RelaxedPart,
    pub servers: usize,
    /// They would match now; false: they could some time, but are busy or away now.
    pub now: bool,
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, one) = if self.servers == 1 { ("", "es") } else { ("s", "") };
        match self.now {
            true => write!(f, "{}, {} server{s} match{one}", self.change, self.servers),
            false => write!(f, "{}, {} server{s} could run it, not now", self.change, self.servers),
        }
    }
}

impl Fleet {
    /// Each single relaxed requirement that would give a match; first those that match now, the more servers the earlier.
    pub fn relaxations(&self, query: &Query) -> Vec<Relaxation> {
        let mut found: Vec<Relaxation> =
            candidates(query).into_iter().filter_map(|(change, relaxed)| self.relaxed(change, relaxed, true)).collect();
        if found.is_empty() {
            found = candidates(query)
                .into_iter()
                .filter_map(|(change, relaxed)| self.relaxed(change, relaxed, false))
                .collect();
        }
        found.sort_by_key(|relaxation| std::cmp::Reverse(relaxation.servers));
        found
    }

    fn relaxed(&self, change: RelaxedPart, mut query: Query, now: bool) -> Option<Relaxation> {
        let change = match change {
            // With nothing asked for, what would each have? The most that one has is what to ask for.
            RelaxedPart::Mem(asked) => {
                query.demand.needs.mem = None;
                query = query.again();
                let most = self.matching(&query, now).map(|row| self.room(row, now).mem).max()?;
                let most = round_down(most).filter(|most| *most < asked)?;
                query.demand.needs.mem = Some(most);
                query = query.again();
                RelaxedPart::Mem(most)
            }
            RelaxedPart::Cpus(asked) => {
                query.demand.needs.cpus = 1;
                query = query.again();
                let most = self.matching(&query, now).map(|row| self.room(row, now).cpus).max()?;
                if most == 0 || most >= asked {
                    return None;
                }
                query.demand.needs.cpus = most;
                query = query.again();
                RelaxedPart::Cpus(most)
            }
            other => other,
        };
        let servers = self.matching(&query, now).count();
        (servers > 0).then_some(Relaxation { change, servers, now })
    }

    /// The rows that match, or (not `now`) could.
    fn matching<'a>(&'a self, query: &'a Query, now: bool) -> impl Iterator<Item = usize> + 'a {
        let asked = ResolvedQuery::new(self, query, None);
        (0..self.servers.len()).filter(move |row| match now {
            true => asked.host(*row).is_some() && asked.targeted(*row) && asked.expressions_hold(*row),
            false => self.could(&self.servers[*row], query),
        })
    }

    /// What a row has for one task: free now, or at all.
    fn room(&self, row: usize, now: bool) -> FreeCapacity {
        let server = &self.servers[row];
        let one = |row: usize| {
            let server = &self.servers[row];
            match (now, &server.pool) {
                (true, _) => FreeCapacity::of(server),
                (false, Some(pool)) => FreeCapacity {
                    slots: server.slots,
                    cpus: server.cpus.min(pool.cpus),
                    mem: server.mem.min(pool.mem_total).0,
                },
                (false, None) => FreeCapacity { slots: server.slots, cpus: server.cpus, mem: server.mem.0 },
            }
        };
        let own = one(row);
        let Engine::Group { members } = &server.engine else { return own };
        let rows: Vec<usize> = members.iter().filter_map(|id| self.row(*id)).collect();
        let open = || rows.iter().copied().filter(|row| !now || is_open(&self.servers[*row])).map(one);
        FreeCapacity {
            slots: own.slots,
            cpus: own.cpus.min(open().map(|room| room.cpus).max().unwrap_or(0)),
            mem: own.mem.min(open().map(|room| room.mem).max().unwrap_or(0)),
        }
    }
}

/// The query once for each requirement, without it.
fn candidates(query: &Query) -> Vec<(RelaxedPart, Query)> {
    let mut all = Vec::new();
    let mut add = |change: RelaxedPart, edit: &dyn Fn(&mut Query)| {
        let mut relaxed = query.clone();
        edit(&mut relaxed);
        all.push((change, relaxed.again()));
    };
    let demand = &query.demand;
    if let Some(mem) = demand.needs.mem {
        add(RelaxedPart::Mem(mem), &|_| {});
    }
    if demand.needs.cpus > 1 {
        add(RelaxedPart::Cpus(demand.needs.cpus), &|_| {});
    }
    for (at, app) in demand.apps.iter().enumerate() {
        add(RelaxedPart::WithoutApp(app.clone()), &|query| drop(query.demand.apps.remove(at)));
    }
    if let Some(target) = &demand.on {
        add(RelaxedPart::WithoutOn(target.clone()), &|query| query.demand.on = None);
    }
    for (at, target) in demand.exclude.iter().enumerate() {
        add(RelaxedPart::WithoutExclude(target.clone()), &|query| drop(query.demand.exclude.remove(at)));
    }
    if let Some(Folded { whole, .. }) = &query.constraint {
        let parts = whole.conjuncts();
        if parts.len() == 1 {
            add(RelaxedPart::WithoutConstraint, &|query| query.constraint = None);
        } else {
            for (at, (text, _)) in parts.iter().enumerate() {
                add(RelaxedPart::WithoutPart((*text).to_owned()), &|query| {
                    query.constraint = whole.without(at).map(|less| Folded::of(less, &query.facts));
                });
            }
        }
    }
    if query.user_constraint.is_some() {
        add(RelaxedPart::WithoutUserConstraint, &|query| query.user_constraint = None);
    }
    all
}

/// A size that can be typed: whole gibibytes, mebibytes below two.
fn round_down(bytes: u64) -> Option<Bytes> {
    let unit = if bytes >= 2 << 30 { 1 << 30 } else { 1 << 20 };
    let rounded = bytes / unit * unit;
    (rounded > 0).then_some(Bytes(rounded))
}

fn exact(bytes: Bytes) -> String {
    match bytes.0 {
        b if b % (1 << 30) == 0 => format!("{}G", b >> 30),
        b => format!("{}M", b >> 20),
    }
}
