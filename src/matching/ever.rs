//! Could any server ever run a task of this class? What changes is unknown; what is not false could be.

use super::capacity::could_fit;
use super::eval::{Scope, eval};
use super::index::Fleet;
use super::query::{Folded, Query, QueryFacts};
use super::search::{names, resides};
use super::tree::{AttributePath, AttributeRoot, Datum, Fault, Node, PathId};
use crate::model::attribute::{Source, Value};
use crate::model::demand::{AppNeed, Version};
use crate::model::id::ServerId;
use crate::model::server::{Engine, Health, PASSING_DRAINS, SHARED_ACCOUNT, Server};
use std::time::Duration;

impl Fleet {
    /// Could any server ever run a task of this class? What changes counts as unknown, and what is not false could be.
    pub fn could_ever(&self, query: &Query) -> bool {
        self.servers.iter().any(|server| self.could(server, query))
    }

    /// Could a server other than these ever run a task of this class, and is it worth waiting for? Not one that is drained, or has been
    /// down for longer than `patience`.
    pub fn could_elsewhere(&self, query: &Query, without: &[ServerId], patience: Duration) -> bool {
        self.awaits_other(query, without, patience, |server| server.drained.is_none())
    }

    /// The same for a wait that ends after `patience`: until then a person may resume a drained server.
    pub fn could_elsewhere_soon(&self, query: &Query, without: &[ServerId], patience: Duration) -> bool {
        let may_resume = |reason: &String| !PASSING_DRAINS.contains(&reason.as_str());
        self.awaits_other(query, without, patience, |server| server.drained.as_ref().is_none_or(may_resume))
    }

    fn awaits_other(
        &self,
        query: &Query,
        without: &[ServerId],
        patience: Duration,
        takes: impl Fn(&Server) -> bool,
    ) -> bool {
        let awaited = |server: &Server| {
            let answers = match server.health {
                Health::Down { since, .. } => since.age_at(self.now) <= patience,
                Health::Up | Health::Unknown => true,
            };
            answers && takes(server) && !without.contains(&server.id)
        };
        self.servers.iter().any(|server| awaited(server) && self.could_on(server, query, awaited))
    }

    /// Servers that have to be reached, that could ever run it, and of which is not known (any more) whether they can now.
    pub fn unsure(&self, query: &Query) -> Vec<ServerId> {
        let unsure = |id: &ServerId| {
            let Some(row) = self.row(*id) else { return false };
            let server = &self.servers[row];
            let far = matches!(server.engine, Engine::Ssh(_)) && server.drained.is_none();
            far && (server.health != Health::Up || server.pool.is_none() || !self.is_fresh(row))
        };
        let mut all = Vec::new();
        for server in &self.servers {
            let before = all.len();
            match &server.engine {
                Engine::Group { members } => all.extend(members.iter().copied().filter(unsure)),
                _ => all.extend(Some(server.id).filter(unsure)),
            }
            // The costly question last: most servers are known.
            if all.len() > before && !self.could(server, query) {
                all.truncate(before);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn could(&self, server: &Server, query: &Query) -> bool {
        self.could_on(server, query, |_| true)
    }

    /// The same, of a group only on such members.
    fn could_on(&self, server: &Server, query: &Query, member: impl Fn(&Server) -> bool) -> bool {
        let demand = &query.demand;
        if demand.on.as_ref().is_some_and(|on| !names(on, server)) || demand.exclude.iter().any(|t| names(t, server)) {
            return false;
        }
        let fits = |server: &Server| {
            could_fit(server, demand.needs) != Some(false) && demand.apps.iter().all(|app| could_have(server, app))
        };
        let fitting = match &server.engine {
            Engine::Group { members } => {
                let single = |member: &&Server| !matches!(member.engine, Engine::Group { .. });
                let members: Vec<&Server> =
                    members.iter().filter_map(|id| self.get(*id)).filter(single).filter(|of| member(of)).collect();
                // A member never read may bring anything, and so may the group then.
                let unread = members.iter().any(|member| could_fit(member, demand.needs).is_none());
                (unread || could_fit(server, demand.needs) != Some(false))
                    && members
                        .into_iter()
                        .any(|member| !demand.exclude.iter().any(|t| names(t, member)) && fits(member))
            }
            _ => fits(server),
        };
        let true_of = |node: &Node, paths: &[AttributePath]| {
            could_be_true(node, &EverScope { server, paths, facts: &query.facts })
        };
        let possible =
            |folded: &Option<Folded>| folded.as_ref().is_none_or(|folded| true_of(&folded.node, &folded.whole.paths));
        let accepts = || match self.row(server.id).and_then(|row| self.hot[row].accepts) {
            Some(at) => match &self.accepts[at as usize].expression {
                Ok(expression) => true_of(&expression.node, &expression.paths),
                Err(_) => false,
            },
            None => true,
        };
        let required = [&query.constraint, &query.user_constraint, &query.wall];
        fitting && required.into_iter().all(possible) && accepts()
    }
}

fn never_read(server: &Server) -> bool {
    server.pool.is_none() && !matches!(server.engine, Engine::Group { .. })
}

fn could_have(server: &Server, need: &AppNeed) -> bool {
    let value = |name: &str| server.attributes.get(name).map(|attribute| &attribute.value);
    let there = match &need.version {
        None => resides(value("apps"), &need.name),
        Some((compare, wanted)) => match value("app_version") {
            Some(Value::Map(versions)) => match versions.get(need.name.as_str()) {
                Some(Value::Text(found)) => compare.holds(&Version(found.clone()), wanted),
                _ => false,
            },
            _ => false,
        },
    };
    there || never_read(server)
}

/// Built-in attributes that are fixed as long as the host is not rebuilt.
const FIXED: [&str; 12] = [
    "cpus",
    "slots",
    "max_load",
    "power",
    "mem_total",
    "apps",
    "app_version",
    "os",
    "arch",
    "hostname",
    "kernel",
    "gpus",
];
/// Built-in attributes that change.
const CHANGES: [&str; 5] = ["load1", "idle_cpus", "mem_available", "disk_free", "boot_id"];

/// A server as it may be at another time: what changes is unknown.
struct EverScope<'a> {
    server: &'a Server,
    paths: &'a [AttributePath],
    facts: &'a QueryFacts,
}

impl Scope for EverScope<'_> {
    fn get(&self, id: PathId) -> Result<Datum<'_>, Fault> {
        let path = self.paths.get(usize::from(id)).ok_or(Fault::Absent(id))?;
        if path.root != AttributeRoot::Server {
            return self.facts.get(path).map(Datum::from).ok_or(Fault::Absent(id));
        }
        if CHANGES.contains(&&*path.name) {
            return Err(Fault::Volatile);
        }
        let Some(attribute) = self.server.attributes.get(&path.name) else {
            return match &*path.name {
                "name" => Ok(Datum::Text(self.server.name.as_str().into())),
                "distributor" => Ok(Datum::Text(self.server.distributor_name.as_str().into())),
                // It is declared, and no probe sets it.
                SHARED_ACCOUNT => Err(Fault::Absent(id)),
                _ if never_read(self.server) => Err(Fault::Volatile),
                _ => Err(Fault::Absent(id)),
            };
        };
        // A number that a probe script printed may be another one tomorrow.
        let number = matches!(attribute.value, Value::Int(_) | Value::Double(_));
        let moves = attribute.source == Source::Probed && number && !FIXED.contains(&&*path.name);
        if moves || (never_read(self.server) && attribute.source != Source::Declared) {
            return Err(Fault::Volatile);
        }
        Ok((&attribute.value).into())
    }
}

/// Might this become true? A false or faulty conjunct rules it out whatever the others become.
fn could_be_true(node: &Node, scope: &EverScope<'_>) -> bool {
    match node {
        Node::All(parts) => parts.iter().all(|part| could_be_true(part, scope)),
        Node::Any(parts) => parts.iter().any(|part| could_be_true(part, scope)),
        node => matches!(eval(node, scope), Ok(Datum::Bool(true)) | Err(Fault::Volatile)),
    }
}
