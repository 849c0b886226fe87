//! Every server's verdict, with reasons that name the values that were looked at.

use super::capacity::{FreeCapacity, Measured, is_open, pool_mem};
use super::eval::eval;
use super::index::Fleet;
use super::mismatch::type_mismatch;
use super::query::{Folded, Query, QueryFacts};
use super::reason::{Avoidance, Reason};
use super::score::NoNumber;
use super::search::{BoundExpression, ResolvedQuery, RowScope, names, resides};
use super::tree::{Datum, Fault};
use super::{error::shown, expression::Expression};
use crate::model::attribute::Value;
use crate::model::demand::AppNeed;
use crate::model::id::{ServerId, TaskId};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::server::{Engine, Health, Server};
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An expression that must be true, and what it sees.
struct Required<'a> {
    whose: &'static str,
    whole: &'a Expression,
    columns: &'a [u32],
    facts: &'a QueryFacts,
}

/// What one server answers to one class of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub server: Name,
    pub distributor: Name,
    pub qualifies: bool,
    /// Why not; for one that qualifies, what made it the first, or why a preference gives it no number.
    pub reasons: Vec<String>,
    /// How well it fits: the preference, else idle computing power. None where it does not qualify or ranks lowest.
    pub score: Option<f64>,
    /// What is to be expected of it. Not kept: it is of the moment.
    #[serde(skip)]
    pub outlook: Outlook,
}

/// What a task may expect of a server, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Outlook {
    /// It can start there now.
    Now,
    /// The server is kept for it.
    Kept,
    /// It could start there when others have ended, or a value has changed.
    Later,
    /// It could start there once the server is reached, or resumed.
    Away,
    #[default]
    Never,
    /// The task itself names other servers.
    NamedOut,
}

impl Fleet {
    /// The verdict on every server, also on those that do not qualify; ordered by name.
    pub fn explain(&self, query: &Query, for_task: Option<TaskId>, now: Timestamp) -> Vec<Verdict> {
        self.explain_waiting(query, for_task, &[], now)
    }

    /// The same for a task that is kept from these servers, also as members of groups.
    pub fn explain_waiting(
        &self,
        query: &Query,
        for_task: Option<TaskId>,
        avoided: &[(ServerId, Avoidance)],
        now: Timestamp,
    ) -> Vec<Verdict> {
        let without: Vec<ServerId> = avoided.iter().map(|(server, _)| *server).collect();
        let asked = ResolvedQuery::new(self, query, for_task).avoiding(&without, avoided);
        let mut rows: Vec<usize> = (0..self.servers.len()).collect();
        rows.sort_by(|a, b| asked.by_name(*b, *a));
        let first = asked.first();
        let verdict = |row: usize| {
            let mut verdict = asked.verdict(row, now);
            if let Some((_, why)) = first.as_ref().filter(|(first, _)| *first == row) {
                verdict.reasons.insert(0, shown(&why.to_string()));
            }
            verdict
        };
        rows.into_iter().map(verdict).collect()
    }
}

impl ResolvedQuery<'_> {
    fn verdict(&self, row: usize, now: Timestamp) -> Verdict {
        let server = &self.fleet.servers[row];
        let mut reasons = self.reasons(row, now);
        let qualifies = reasons.is_empty();
        let outlook = self.outlook(row, qualifies);
        let mut score = None;
        if qualifies && let Some(host) = self.host(row) {
            score = self.score(&self.rank(row, host));
            reasons = self.unranked(row, now);
            if host != row {
                reasons.insert(0, Reason::By(self.fleet.servers[host].name.clone()));
            }
        }
        Verdict {
            server: server.name.clone(),
            distributor: server.distributor_name.clone(),
            qualifies,
            reasons: reasons.iter().map(|reason| shown(&reason.to_string())).collect(),
            score,
            outlook,
        }
    }

    pub(super) fn outlook(&self, row: usize, qualifies: bool) -> Outlook {
        let server = &self.fleet.servers[row];
        if qualifies {
            Outlook::Now
        } else if self.is_named_out(row) {
            Outlook::NamedOut
        } else if server.kept_for.is_some() && server.kept_for == self.for_task {
            Outlook::Kept
        } else if !self.fleet.could(server, self.query) {
            Outlook::Never
        } else if is_open(server) && self.fleet.is_fresh(row) {
            Outlook::Later
        } else {
            Outlook::Away
        }
    }

    /// Everything that keeps a row from qualifying.
    pub(super) fn reasons(&self, row: usize, now: Timestamp) -> Vec<Reason> {
        let server = &self.fleet.servers[row];
        let mut reasons = self.physical(row, now);
        if let Engine::Group { members } = &server.engine
            && reasons.is_empty()
            && self.host(row).is_none()
        {
            let rows = members.iter().filter_map(|id| self.fleet.row(*id));
            let first = |at: usize| {
                let member = &self.fleet.servers[at];
                let excluded = self.query.demand.exclude.iter().find(|target| names(target, member));
                let reason = excluded.map(|target| Reason::Excluded { target: target.clone() });
                let reason = reason
                    .or_else(|| self.physical(at, now).into_iter().next())
                    .or_else(|| self.avoided(at))
                    .unwrap_or(Reason::NotProbed);
                (self.fleet.servers[at].name.clone(), reason)
            };
            reasons.push(Reason::Members(rows.map(first).collect()));
        }
        reasons.extend(self.avoided(row));
        let demand = &self.query.demand;
        if let Some(wanted) = demand.on.as_ref().filter(|on| !names(on, server)) {
            let lacking = self.lacking(wanted, server);
            reasons.push(Reason::OtherServer { wanted: wanted.clone(), lacking });
        }
        for target in demand.exclude.iter().filter(|target| names(target, server)) {
            reasons.push(Reason::Excluded { target: target.clone() });
        }
        let Query { constraint, user_constraint, wall, facts, .. } = self.query;
        let of_home = [("user requires", user_constraint), ("home requires of other users", wall)];
        let required = [("-C", constraint, self.query.own_facts())]
            .into_iter()
            .chain(of_home.map(|(whose, folded)| (whose, folded, facts)));
        for (whose, folded, facts) in required {
            if let Some(Folded { whole, .. }) = folded {
                let columns = self.fleet.bind(&whole.paths);
                self.untrue(&Required { whose, whole, columns: &columns, facts }, row, now, &mut reasons);
            }
        }
        if let Some(at) = self.fleet.hot[row].accepts {
            let accepts = &self.fleet.accepts[at as usize];
            match &accepts.expression {
                Ok(whole) => {
                    let columns = &accepts.columns;
                    let required = Required { whose: "server accepts", whole, columns, facts };
                    self.untrue(&required, row, now, &mut reasons);
                }
                Err(error) => {
                    let what = format!("cannot be read: {}", error.message);
                    reasons.push(Reason::Expression { whose: "server accepts", what });
                }
            }
        }
        reasons
    }

    /// Why the task is kept from a row.
    fn avoided(&self, row: usize) -> Option<Reason> {
        let server = self.fleet.servers[row].id;
        let why = self.avoided.iter().find(|(avoided, _)| *avoided == server);
        why.map(|(_, why)| Reason::Avoided(why.clone()))
    }

    /// What lacks in health, room, load and applications.
    fn physical(&self, row: usize, now: Timestamp) -> Vec<Reason> {
        let server = &self.fleet.servers[row];
        let mut reasons = Vec::new();
        if let Some(reason) = &server.drained {
            reasons.push(Reason::Drained { reason: reason.clone() });
        }
        let group = matches!(server.engine, Engine::Group { .. });
        match &server.health {
            Health::Down { error, since } => reasons.push(Reason::Down { error: error.clone(), since: *since }),
            Health::Unknown => reasons.push(Reason::NotProbed),
            Health::Up if server.pool.is_none() && !group => reasons.push(Reason::NotProbed),
            Health::Up if !self.fleet.is_fresh(row) => {
                reasons.extend(server.pool.as_ref().map(|pool| Reason::Stale { age: pool.read_at.age_at(now) }));
            }
            Health::Up => {}
        }
        if let Some(task) = self.fleet.kept_from(row, self.for_task) {
            reasons.push(Reason::KeptFor { task, host: server.kept_for != Some(task) });
        }
        if server.pool.is_some() || group {
            self.room(server, now, &mut reasons);
        }
        let measured = Measured::of(server);
        if let (Some(max), Some(load)) = (server.max_load, measured.load(server).or(Some(0.0)))
            && !measured.load_allows(server)
        {
            reasons.push(Reason::Load {
                load,
                max,
                measured: measured.load.unwrap_or(load),
                since: server.pool.as_ref().map_or(0, |pool| pool.started_since),
                age: server.pool.as_ref().map(|pool| pool.read_at.age_at(now)),
            });
        }
        let value = |name: &str| server.attributes.get(name).map(|attribute| &attribute.value);
        let lacks = |need: &&AppNeed| !group && !self.has_app(row, need);
        for need in self.query.demand.apps.iter().filter(lacks) {
            let version = match value("app_version") {
                Some(Value::Map(versions)) => versions.get(need.name.as_str()),
                _ => None,
            };
            reasons.push(match version {
                Some(found) if need.version.is_some() => {
                    Reason::AppVersion { need: need.clone(), found: Some(found.to_string().into()) }
                }
                None if need.version.is_some() && resides(value("apps"), &need.name) => {
                    Reason::AppVersion { need: need.clone(), found: None }
                }
                _ => Reason::NoApp {
                    need: need.clone(),
                    watched: self.fleet.is_watched(need.name.as_str()),
                    meant: self.app_meant(&need.name),
                },
            });
        }
        reasons
    }

    fn room(&self, server: &Server, now: Timestamp, reasons: &mut Vec<Reason>) {
        let needs = self.query.needs();
        let room = FreeCapacity::of(server);
        if room.slots == 0 {
            reasons.push(Reason::Slots { all: server.slots });
        }
        if room.cpus < needs.cpus {
            let own = server.cpus.saturating_sub(server.taken.cpus);
            reasons.push(match &server.pool {
                Some(pool) if room.cpus < own => {
                    Reason::Cpus { wants: needs.cpus, free: room.cpus, of: pool.cpus, host: true }
                }
                _ => Reason::Cpus { wants: needs.cpus, free: own, of: server.cpus, host: false },
            });
        }
        if let Some(wants) = needs.mem.filter(|mem| room.mem < mem.0) {
            let free = Bytes(room.mem);
            reasons.push(match &server.pool {
                Some(pool) if pool_mem(pool) <= room.mem => {
                    Reason::Memory { wants, free, of: pool.mem_total, age: Some(pool.read_at.age_at(now)) }
                }
                _ => Reason::Memory { wants, free, of: server.mem, age: None },
            });
        }
    }

    /// The conjuncts that are not true, each with what it read.
    fn untrue(&self, required: &Required<'_>, row: usize, now: Timestamp, reasons: &mut Vec<Reason>) {
        let &Required { whose, whole, columns, facts } = required;
        let scope = RowScope { fleet: self.fleet, columns, row, paths: &whole.paths, facts };
        for (text, node) in whole.conjuncts() {
            let what = match eval(node, &scope) {
                Ok(Datum::Bool(true)) => continue,
                Ok(Datum::Bool(false)) => {
                    let mismatch = type_mismatch(node, &scope).map_or_else(String::new, |words| format!("; {words}"));
                    format!("{text} is false{}{mismatch}", self.looked_at(node, whole, &scope, row, now))
                }
                Ok(other) => format!(
                    "{text} is a {}, not true{}",
                    other.type_name(),
                    self.looked_at(node, whole, &scope, row, now)
                ),
                Err(Fault::Absent(id)) => self.absent(id, whole, facts),
                Err(fault) => {
                    format!("{text}: {}{}", fault.words(&whole.paths), self.looked_at(node, whole, &scope, row, now))
                }
            };
            reasons.push(Reason::Expression { whose, what });
        }
    }

    /// Preferences that give no number.
    fn unranked(&self, row: usize, now: Timestamp) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for (whose, bound) in [("--prefer", &self.prefer), ("user prefers", &self.user_prefer)] {
            let Some(bound) = bound else { continue };
            let Err(no_number) = self.preference(bound, row) else { continue };
            let what = self.no_number(bound, no_number, row, now);
            reasons.push(Reason::NoRank { whose, what });
        }
        reasons
    }

    fn no_number(&self, bound: &BoundExpression<'_>, why: NoNumber, row: usize, now: Timestamp) -> String {
        let whole = &bound.folded.whole;
        let scope = self.value(bound, row);
        let values = || self.looked_at(&whole.node, whole, &scope, row, now);
        match why {
            NoNumber::Fault(Fault::Absent(id)) => self.absent(id, whole, scope.facts),
            NoNumber::Fault(fault) => format!("{}: {}{}", whole.text, fault.words(&whole.paths), values()),
            NoNumber::NaN => format!("{} is not a number{}", whole.text, values()),
            NoNumber::Kind(kind) => format!("{} is a {kind}, no number{}", whole.text, values()),
        }
    }
}
