//! What smaller wish would match? Each requirement of the task is relaxed alone; if none of them helps, two together. And which
//! drained server would help if it were resumed?

use super::capacity::{FreeCapacity, is_open};
use super::index::Fleet;
use super::query::{Folded, Query};
use super::search::ResolvedQuery;
use crate::model::demand::{AppNeed, Target};
use crate::model::id::{ServerId, TaskId};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::server::{Engine, Health, PASSING_DRAINS, Server};
use std::fmt;

/// Of so many drained servers it is tried what resuming them gives.
const RESUMED: usize = 8;
/// Of so many requirements each is tried together with each other one.
const PAIRED: usize = 12;

/// One requirement made smaller or left out.
#[derive(Debug, Clone, PartialEq)]
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

/// When a task can start with its relaxed requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Now,
    /// When others have ended, or values have changed.
    Later,
    /// Once a server is reached, or resumed.
    Away,
}

/// Changes that help, and how many servers match with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Relaxation {
    pub changes: Vec<RelaxedPart>,
    pub servers: usize,
    pub when: When,
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if at > 0 { " and " } else { "" })?;
        }
        let n = self.servers;
        let s = if n == 1 { "" } else { "s" };
        match self.when {
            When::Now => write!(f, ": it could start now on {n} server{s}"),
            When::Later => write!(f, ": {n} server{s} could run it later"),
            When::Away => {
                let (is, it) = if n == 1 { ("is", "it") } else { ("are", "they") };
                write!(f, ": {n} server{s} could run it, but {it} {is} drained or not reached")
            }
        }
    }
}

/// What a waiting task can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Relaxations {
    /// Servers that could run it later as it is.
    pub as_it_is: usize,
    /// Each that helps, the sooner the earlier, then the more servers the earlier.
    pub all: Vec<Relaxation>,
    /// Drained servers, by which the task could start at once, or at all, if they were resumed.
    pub resumed: Vec<(Name, When)>,
}

impl Relaxations {
    /// A line each; nothing if there is nothing to be done.
    pub fn lines(&self) -> Vec<String> {
        let s = if self.as_it_is == 1 { "" } else { "s" };
        let waits = format!("as it is: {} server{s} could run it later", self.as_it_is);
        let waits = Some(waits).filter(|_| self.as_it_is > 0 && !(self.all.is_empty() && self.resumed.is_empty()));
        let resumed = self.resumed.iter().map(|(server, when)| {
            let then = if *when == When::Now { "it could start now" } else { "it could run later" };
            format!("`grid server resume {server}`: {then}")
        });
        waits.into_iter().chain(self.all.iter().map(ToString::to_string)).chain(resumed).collect()
    }
}

/// Who waits: the task, and the servers that it is kept from though they may fit. It may go there later.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiting<'a> {
    pub task: Option<TaskId>,
    pub without: &'a [ServerId],
}

impl Fleet {
    /// The requirements that keep a waiting task from starting: each alone, else two together. Of a task that can start later as it
    /// is, only what lets it start now; of another one what lets it start at all.
    pub fn relaxations(&self, query: &Query, who: Waiting<'_>) -> Relaxations {
        let as_it_is = self.matching(query, who, When::Later).count();
        let mut found = Relaxations { as_it_is, all: Vec::new(), resumed: Vec::new() };
        if self.matching(query, who, When::Now).next().is_some() {
            return found;
        }
        // What a server that is drained or not reached could run as it is, gains nothing from another one of these.
        let away_as_it_is = as_it_is > 0 || self.matching(query, who, When::Away).next().is_some();
        if away_as_it_is {
            // Else no server could run it, drained or not: the fleet is not copied.
            found.resumed = self.resumed(query, who, as_it_is == 0);
        }
        let parts = parts(query);
        let ones: Vec<Vec<RelaxedPart>> = parts.iter().map(|part| vec![part.clone()]).collect();
        let pairs = || {
            let pair = |(at, one): (usize, &RelaxedPart)| {
                let one = one.clone();
                parts[at + 1..].iter().map(move |other| vec![one.clone(), other.clone()]).collect::<Vec<_>>()
            };
            parts.iter().take(PAIRED).enumerate().flat_map(pair).collect::<Vec<_>>()
        };
        let whens = match as_it_is {
            1.. => &[When::Now][..],
            0 if away_as_it_is => &[When::Now, When::Later],
            0 => &[When::Now, When::Later, When::Away],
        };
        for when in whens {
            let help = |changes: Vec<RelaxedPart>| self.relaxed(query, who, &changes, *when);
            let mut all: Vec<Relaxation> = ones.iter().cloned().filter_map(help).collect();
            if all.is_empty() && as_it_is == 0 {
                all = pairs().into_iter().filter_map(help).collect();
            }
            if !all.is_empty() {
                all.sort_by_key(|relaxation| std::cmp::Reverse(relaxation.servers));
                return Relaxations { all, ..found };
            }
        }
        found
    }

    /// Drained servers that would let the task start now if they were resumed; else, if `later` counts, let it run later.
    fn resumed(&self, query: &Query, who: Waiting<'_>, later: bool) -> Vec<(Name, When)> {
        // One that is being removed is not for a person to resume.
        let for_good = |reason: &String| !PASSING_DRAINS.contains(&reason.as_str());
        let is_drained =
            |server: &&Server| server.drained.as_ref().is_some_and(for_good) && server.health == Health::Up;
        let mut drained: Vec<&Server> = self.servers.iter().filter(is_drained).collect();
        drained.sort_unstable_by_key(|server| &server.name);
        let drained: Vec<Server> = drained.into_iter().take(RESUMED).cloned().collect();
        if drained.is_empty() {
            return Vec::new();
        }
        let mut fleet = Self::new(self.servers.clone(), self.placement);
        fleet.trust(self.stale_after, self.now);
        let found: Vec<(Name, When)> = drained
            .into_iter()
            .filter_map(|server| {
                fleet.set(Server { drained: None, ..server.clone() });
                let whens = if later { &[When::Now, When::Later][..] } else { &[When::Now] };
                let when = whens.iter().find(|when| fleet.matching(query, who, **when).next().is_some());
                let found = when.map(|when| (server.name.clone(), *when));
                fleet.set(server);
                found
            })
            .collect();
        let soonest = found.iter().map(|(_, when)| *when).min();
        found.into_iter().filter(|(_, when)| Some(*when) == soonest).collect()
    }

    /// The match that these changes give, with the largest sizes that still match.
    fn relaxed(&self, query: &Query, who: Waiting<'_>, changes: &[RelaxedPart], when: When) -> Option<Relaxation> {
        let mut query = query.clone();
        changes.iter().for_each(|change| loosen(&mut query, change));
        query = query.again();
        let mut changes = changes.to_vec();
        for change in &mut changes {
            let room = |row| self.room(row, when == When::Now);
            let rows: Vec<usize> = self.matching(&query, who, when).collect();
            // With nothing asked for, what would each have? The most that one has is what to ask for.
            match change {
                RelaxedPart::Mem(mem) => {
                    let most = rows.into_iter().map(|row| room(row).mem).max()?;
                    *mem = round_down(most).filter(|most| *most < *mem)?;
                    query.demand.needs.mem = Some(*mem);
                }
                RelaxedPart::Cpus(cpus) => {
                    let most = rows.into_iter().map(|row| room(row).cpus).max()?;
                    *cpus = Some(most).filter(|most| (1..*cpus).contains(most))?;
                    query.demand.needs.cpus = *cpus;
                }
                _ => {}
            }
            query = query.again();
        }
        let servers = self.matching(&query, who, when).count();
        (servers > 0).then_some(Relaxation { changes, servers, when })
    }

    /// The rows that match then.
    fn matching<'a>(&'a self, query: &'a Query, who: Waiting<'a>, when: When) -> impl Iterator<Item = usize> + 'a {
        let asked = ResolvedQuery::new(self, query, who.task).avoiding(who.without, &[]);
        (0..self.servers.len()).filter(move |row| {
            let server = &self.servers[*row];
            match when {
                When::Now => asked.host(*row).is_some() && asked.targeted(*row) && asked.expressions_hold(*row),
                When::Later => is_open(server) && self.could(server, query),
                When::Away => self.could(server, query),
            }
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

/// The requirements that can be relaxed.
fn parts(query: &Query) -> Vec<RelaxedPart> {
    let demand = &query.demand;
    let mut all: Vec<RelaxedPart> = demand.needs.mem.map(RelaxedPart::Mem).into_iter().collect();
    all.extend(Some(RelaxedPart::Cpus(demand.needs.cpus)).filter(|_| demand.needs.cpus > 1));
    all.extend(demand.apps.iter().cloned().map(RelaxedPart::WithoutApp));
    all.extend(demand.on.iter().cloned().map(RelaxedPart::WithoutOn));
    all.extend(demand.exclude.iter().cloned().map(RelaxedPart::WithoutExclude));
    if let Some(Folded { whole, .. }) = &query.constraint {
        match whole.conjuncts().as_slice() {
            [_] => all.push(RelaxedPart::WithoutConstraint),
            parts => all.extend(parts.iter().map(|(text, _)| RelaxedPart::WithoutPart((*text).to_owned()))),
        }
    }
    all.extend(query.user_constraint.iter().map(|_| RelaxedPart::WithoutUserConstraint));
    all
}

/// Leaves a requirement out. Of a size nothing is asked for.
fn loosen(query: &mut Query, part: &RelaxedPart) {
    let demand = &mut query.demand;
    match part {
        RelaxedPart::Mem(_) => demand.needs.mem = None,
        RelaxedPart::Cpus(_) => demand.needs.cpus = 1,
        RelaxedPart::WithoutApp(app) => demand.apps.retain(|other| other != app),
        RelaxedPart::WithoutOn(_) => demand.on = None,
        RelaxedPart::WithoutExclude(target) => demand.exclude.retain(|other| other != target),
        RelaxedPart::WithoutConstraint => query.constraint = None,
        RelaxedPart::WithoutPart(text) => {
            let Some(Folded { whole, .. }) = &query.constraint else { return };
            let at = whole.conjuncts().iter().position(|(part, _)| *part == text.as_str());
            let less = at.and_then(|at| whole.without(at));
            query.constraint = less.map(|less| Folded::of(less, query.own_facts()));
        }
        RelaxedPart::WithoutUserConstraint => query.user_constraint = None,
    }
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
