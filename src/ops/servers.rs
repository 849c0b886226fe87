//! `grid server`: declared, read, drained, removed.

use super::attributes::{not_declared, taken};
use super::expressions::{Role, check_some};
use super::report::Entry;
use super::{Grid, OpsError, elsewhere, refresh};
use crate::model::demand;
use crate::model::distributor::Tier;
use crate::model::id::{DistributorId, ServerId};
use crate::model::name::Name;
use crate::model::server::{Engine, Health, Server};
use crate::model::ssh::Target;
use crate::model::time::Timestamp;
use crate::store::{Durability, View};

pub use crate::model::server::SHARED_ACCOUNT;
pub use crate::store::declared::Declared;

/// Built-in attributes that have an option of their own. Other built-in names may be declared: that wins over what is measured.
pub const RESERVED: [(&str, &str); 10] = [
    ("name", "a server keeps its name"),
    ("cpus", "use --cpus N"),
    ("slots", "use --slots N"),
    ("mem", "use --mem SIZE"),
    ("mem_total", "use --mem SIZE"),
    ("max_load", "use --max-load LOAD"),
    ("accepts", "use --accepts EXPR"),
    ("prologue", "use --prologue LINES"),
    ("apps", "use --app NAME"),
    ("app_version", "use --app NAME=VERSION"),
];

/// How a new server is driven, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewEngine {
    Local,
    Ssh(Target),
    /// These servers taken as one.
    Of(Vec<Name>),
}

/// A new server, and why it could not be read yet.
#[derive(Debug)]
pub struct Added {
    pub entry: Entry,
    pub warning: Option<String>,
}

/// Adds a server and reads it at once. One that can't be read is added all the same, as UNKNOWN or DOWN.
pub fn add(
    grid: &mut Grid,
    name: &Name,
    engine: &NewEngine,
    distributor: Option<&Name>,
    declared: &Declared,
) -> Result<Added, OpsError> {
    check_some(declared.accepts.as_deref(), Role::Accepts)?;
    let now = Timestamp::now();
    let id = grid.store.write(Durability::Full, |tx| {
        if tx.server(name.as_str())?.is_some() {
            return Err(taken("server", name.as_str()));
        }
        let distributor = second_tier(tx, distributor)?;
        let engine = match engine {
            NewEngine::Local => Engine::Local,
            NewEngine::Ssh(target) => Engine::Ssh(target.clone()),
            NewEngine::Of(members) => group(tx, members, distributor)?,
        };
        let id = tx.add_server(name, distributor, &engine, now)?;
        tx.declare_server(id, declared, now)?;
        Ok(id)
    })?;
    let warning = refresh::read_one(grid, id)?.map(|error| format!("{name} is added, but can't be read: {error}"));
    Ok(Added { entry: show(grid, name.as_str())?, warning })
}

/// All servers.
pub fn list(grid: &Grid) -> Result<Vec<Entry>, OpsError> {
    Ok(grid.store.view().servers()?.into_iter().map(entry).collect())
}

/// One server with all its attributes.
pub fn show(grid: &Grid, name: &str) -> Result<Entry, OpsError> {
    find(&grid.store.view(), name).map(entry)
}

/// Declares parts of a server; what is not named stays.
pub fn set(grid: &mut Grid, name: &Name, declared: &Declared) -> Result<(), OpsError> {
    check_some(declared.accepts.as_deref(), Role::Accepts)?;
    let id = grid.store.write(Durability::Full, |tx| -> Result<ServerId, OpsError> {
        let server = find(tx, name.as_str())?;
        tx.declare_server(server.id, declared, Timestamp::now())?;
        Ok(server.id)
    })?;
    if declared.prologue.is_some() { look_behind(grid, id) } else { Ok(()) }
}

/// Another prologue leads to other applications. Whether the host answers is for its record.
fn look_behind(grid: &mut Grid, id: ServerId) -> Result<(), OpsError> {
    refresh::read_one(grid, id).map(drop)
}

/// Takes back what was declared; all of it or nothing.
pub fn unset(grid: &mut Grid, name: &str, what: &[String]) -> Result<(), OpsError> {
    let id = grid.store.write(Durability::Full, |tx| {
        let server = find(tx, name)?;
        for word in what {
            let column = if word == "mem_total" { "mem" } else { word };
            if !tx.unset_server(server.id, column)? {
                return Err(not_declared("server", name, word));
            }
        }
        Ok(server.id)
    })?;
    if what.iter().any(|word| word == "prologue") { look_behind(grid, id) } else { Ok(()) }
}

/// Removes servers on which nothing runs and that no group needs.
pub fn remove(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            let server = find(tx, name)?;
            let running = tx.running_on(server.id)?;
            if running > 0 {
                return Err(OpsError::Refused(format!(
                    "server {name}: {running} running; `grid server drain {name}` and wait, or cancel them"
                )));
            }
            let group = tx
                .servers()?
                .into_iter()
                .find(|other| matches!(&other.engine, Engine::Group { members } if members.contains(&server.id)));
            if let Some(group) = group {
                return Err(OpsError::Refused(format!(
                    "server {name} is part of {}; remove {} first",
                    group.name, group.name
                )));
            }
            tx.remove_server(server.id)?;
        }
        Ok(())
    })
}

/// Drains; a reason is not needed.
pub fn drain(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    set_drained(grid, names, Some(reason.unwrap_or("")))
}

/// Ends a drain.
pub fn resume(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    set_drained(grid, names, None)
}

/// `lab-x/n1` is a server of a distributor, which may live in another home.
fn set_drained(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    let known = grid.store.view().distributors(Tier::Second)?;
    let mut own = Vec::new();
    for name in names {
        match name.parse::<demand::Target>() {
            Ok(demand::Target { distributor: Some(at), server, .. }) => match known.iter().find(|m| m.name == at) {
                Some(member) if !member.endpoint.is_elsewhere() => {
                    let found = find(&grid.store.view(), server.as_str())?;
                    if found.distributor != member.id {
                        let at = &found.distributor_name;
                        return Err(OpsError::Usage(format!("{name}: {server} is a server of {at}: `{at}/{server}`")));
                    }
                    own.push(server.to_string());
                }
                _ => elsewhere::manage(grid, &at, &server, reason)?,
            },
            _ => own.push(name.clone()),
        }
    }
    grid.store.write(Durability::Full, |tx| {
        for name in &own {
            tx.set_drained(find(tx, name)?.id, reason)?;
        }
        Ok(())
    })
}

/// A server by name, or a word on what is near.
pub(super) fn find(view: &View<'_>, name: &str) -> Result<Server, OpsError> {
    if let Some(server) = view.server(name)? {
        return Ok(server);
    }
    let known = view.servers()?;
    Err(OpsError::unknown("server", name, known.iter().map(|s| s.name.as_str())))
}

/// The named second-tier distributor, else the first one.
pub(super) fn second_tier(view: &View<'_>, name: Option<&Name>) -> Result<DistributorId, OpsError> {
    let tier = view.distributors(Tier::Second)?;
    let Some(name) = name else {
        let first = tier.first().map(|d| d.id);
        return first.ok_or_else(|| {
            OpsError::Refused(
                "there is no second-tier distributor; `grid distributor add NAME --tier 2` makes one".to_owned(),
            )
        });
    };
    if let Some(found) = tier.iter().find(|d| d.name == *name) {
        return Ok(found.id);
    }
    if view.distributor(name.as_str())?.is_some() {
        return Err(OpsError::Usage(format!("--distributor {name}: it is of tier 1, which has no servers")));
    }
    Err(OpsError::unknown("distributor", name.as_str(), tier.iter().map(|d| d.name.as_str())))
}

fn group(view: &View<'_>, members: &[Name], distributor: DistributorId) -> Result<Engine, OpsError> {
    let mut ids = Vec::new();
    for name in members {
        let member = find(view, name.as_str())?;
        if matches!(member.engine, Engine::Group { .. }) {
            return Err(OpsError::Usage(format!("--of {name}: it is a group itself; name its members")));
        }
        if member.distributor != distributor {
            return Err(OpsError::Usage(format!(
                "--of {name}: it belongs to the distributor {}; a group and its members belong to one",
                member.distributor_name
            )));
        }
        if !ids.contains(&member.id) {
            ids.push(member.id);
        }
    }
    Ok(Engine::Group { members: ids })
}

/// The word for a server's state, and why.
pub(super) fn state(server: &Server) -> (&'static str, Option<String>) {
    match (&server.drained, &server.health) {
        (Some(reason), _) => ("DRAINED", Some(reason.clone()).filter(|r| !r.is_empty())),
        (None, Health::Down { error, .. }) => ("DOWN", Some(error.clone())),
        (None, health) => (health.word(), None),
    }
}

fn entry(server: Server) -> Entry {
    let (state, reason) = state(&server);
    Entry {
        name: server.name.to_string(),
        engine: Some(server.engine.word()),
        state,
        distributor: Some(server.distributor_name.to_string()),
        tier: None,
        reason,
        running: Some(server.taken.slots),
        attributes: with_accepts(server),
    }
}

/// `accepts` is declared like an attribute and shown as one.
fn with_accepts(server: Server) -> crate::model::attribute::Attributes {
    let mut all = server.attributes;
    let declared_at = all.values().map(|a| a.read_at).max().unwrap_or_else(Timestamp::now);
    super::attributes::put(
        &mut all,
        "accepts",
        super::attributes::text(server.accepts.as_deref()),
        crate::model::attribute::Source::Declared,
        declared_at,
    );
    all
}
