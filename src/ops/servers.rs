//! `grid server`: declares, probes, drains and removes servers.

use super::attributes::{not_declared, put, taken};
use super::expressions::{ExpressionRole, check_some};
use super::report::DatabaseRow;
use super::server_remarks::{remarks, same_machine};
use super::{Grid, OpsError, host_doctor, refresh, remote};
use crate::model::attribute::{Source, Value};
use crate::model::demand;
use crate::model::distributor::Tier;
use crate::model::id::{DistributorId, ServerId};
use crate::model::name::Name;
use crate::model::server::{Engine, Health, Server};
use crate::model::ssh::SshTarget;
use crate::model::ssh_command::SshCommand;
use crate::model::time::Timestamp;
use crate::store::{Durability, Tx, View};
use std::collections::HashMap;

pub use super::server_way::NewWay;
pub use crate::model::server::SHARED_ACCOUNT;
pub use crate::store::declared::Declared;

/// Built-in attributes with an option of their own. Other built-in names may be declared: a declared value wins over a measured one.
pub const RESERVED: [(&str, &str); 14] = [
    ("name", "a server keeps its name"),
    ("cpus", "use --cpus N"),
    ("slots", "use --slots N"),
    ("mem", "use --mem SIZE"),
    ("mem_total", "use --mem SIZE"),
    ("max_load", "use --max-load LOAD"),
    ("accepts", "use --accepts EXPR"),
    ("prologue", "use --prologue LINES"),
    ("ssh", "use --ssh HOST"),
    ("ssh_option", "use --ssh-option OPTION"),
    ("remote_dir", "use --remote-dir DIR"),
    ("ssh_command", "use --ssh-command COMMAND"),
    ("apps", "use --app NAME"),
    ("app_version", "use --app NAME=VERSION"),
];

/// How a new server is driven, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewEngine {
    Local,
    Ssh(SshTarget),
    /// A group of servers.
    Of(Vec<Name>),
}

/// A new server, and why it could not be probed yet.
#[derive(Debug)]
pub struct AddedServer {
    pub entry: DatabaseRow,
    pub warning: Option<String>,
}

/// What becomes of a new server that can't be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprobed {
    /// It stays, as DOWN, and is tried again.
    Kept,
    /// It is not added (`--check`).
    Refused,
}

/// Adds a server and probes it at once.
pub fn add(
    grid: &mut Grid,
    name: &Name,
    engine: &NewEngine,
    distributor: Option<&Name>,
    declared: &Declared,
    unprobed: Unprobed,
) -> Result<AddedServer, OpsError> {
    check_some(declared.accepts.as_deref(), ExpressionRole::Accepts)?;
    let now = Timestamp::now();
    let caller = grid.login.command.clone();
    let id = grid.store.write(Durability::Full, |tx| {
        if tx.server(name.as_str())?.is_some() {
            return Err(taken("server", name.as_str()));
        }
        let distributor = second_tier(tx, distributor)?;
        let engine = match engine {
            NewEngine::Local => Engine::Local,
            NewEngine::Ssh(target) => Engine::Ssh(with_command_of(caller.as_ref(), target)),
            NewEngine::Of(members) => group(tx, members, distributor)?,
        };
        let id = tx.add_server(name, distributor, &engine, now)?;
        tx.declare_server(id, declared, now)?;
        Ok(id)
    })?;
    let warning = match (refresh::probe_one(grid, id)?, unprobed) {
        (Some(error), Unprobed::Kept) => Some(format!(
            "{name} is added, but can't be probed: {error}\n  no task starts there until it can: it is tried again by itself, or at once by \
             `grid server refresh {name}`; `grid server remove {name}` takes it back"
        )),
        // Nothing can have been placed there.
        (Some(error), Unprobed::Refused) => {
            grid.store.write::<_, OpsError>(Durability::Full, |tx| Ok(tx.remove_server(id)?))?;
            return Err(OpsError::Refused(format!("server {name} can't be probed, and is not added: {error}")));
        }
        (None, _) => match host_doctor::pool_note(grid, id)? {
            Some(words) => Some(format!("{name} is added, but {words}")),
            None => same_machine(&grid.store.view(), id)?.map(|words| format!("{name} is added; {words}")),
        },
    };
    Ok(AddedServer { entry: show(grid, name.as_str())?, warning })
}

/// A target with the ssh command of the caller, by which the host's name is resolved; without one the home's command is used.
pub(super) fn with_command_of(caller: Option<&SshCommand>, target: &SshTarget) -> SshTarget {
    let command = target.command().or(caller).cloned();
    target.clone().by(command)
}

/// All servers.
pub fn list(grid: &Grid) -> Result<Vec<DatabaseRow>, OpsError> {
    let view = grid.store.view();
    let remarks = remarks(&view, Timestamp::now())?;
    Ok(view.servers()?.into_iter().map(|server| entry(server, &remarks)).collect())
}

/// One server with all its attributes, and the way to it.
pub fn show(grid: &Grid, name: &str) -> Result<DatabaseRow, OpsError> {
    let view = grid.store.view();
    let server = find(&view, name)?;
    let declared_at = view.declared_at(server.id)?;
    let mut declared = vec![("prologue", view.prologue(server.id)?.as_deref().map(Value::from))];
    if let Engine::Ssh(target) = &server.engine {
        let options = Some(Value::texts(target.options())).filter(|_| !target.options().is_empty());
        declared.push(("ssh", Some(target.host().into())));
        declared.push(("ssh_option", options));
        declared.push(("remote_dir", target.remote_dir().map(Value::from)));
        declared.push(("ssh_command", target.command().map(|command| command.0.as_str().into())));
    }
    let apps = view.declared_apps(server.id)?;
    let mut entry = entry(server, &remarks(&view, Timestamp::now())?);
    for (name, value) in declared {
        put(&mut entry.attributes, name, value, Source::Declared, declared_at);
    }
    if let Some((apps, at)) = apps {
        put(&mut entry.attributes, "app", Some(Value::texts(apps)), Source::Declared, at);
    }
    Ok(entry)
}

/// Declares the named parts of a server. Gives why it could not be probed afterwards, if so.
pub fn set(grid: &mut Grid, name: &Name, way: &NewWay, declared: &Declared) -> Result<Option<String>, OpsError> {
    check_some(declared.accepts.as_deref(), ExpressionRole::Accepts)?;
    let mut way = way.clone();
    if way.host.is_some() && way.command.is_none() {
        way.command.clone_from(&grid.login.command);
    }
    let (id, moved) = grid.store.write(Durability::Full, |tx| {
        let server = find(tx, name.as_str())?;
        tx.declare_server(server.id, declared, Timestamp::now())?;
        let moved = way != NewWay::default() && change_way(tx, &server, &way)?;
        Ok::<_, OpsError>((server.id, moved))
    })?;
    if !moved && declared.prologue.is_none() {
        return Ok(None);
    }
    // Another prologue may give other applications. The probe records whether the host answers.
    let fault = refresh::probe_one(grid, id)?;
    Ok(fault.filter(|_| moved).map(|error| format!("{name} is changed, but can't be probed: {error}")))
}

/// Changes the way to a server; false if it is the same. Outputs on a server are found by the way to it.
fn change_way(tx: &Tx<'_>, server: &Server, way: &NewWay) -> Result<bool, OpsError> {
    let name = &server.name;
    let Engine::Ssh(target) = &server.engine else {
        return Err(OpsError::Usage(format!(
            "server {name}: it is not over ssh; `grid server remove {name}` and `grid server add {name} --ssh HOST` make it one"
        )));
    };
    let new = way.instead_of(target).map_err(|error| OpsError::Usage(format!("server {name}: {error}")))?;
    change_way_to(tx, server, target, new)
}

fn change_way_to(tx: &Tx<'_>, server: &Server, target: &SshTarget, new: SshTarget) -> Result<bool, OpsError> {
    let name = &server.name;
    if new == *target {
        return Ok(false);
    }
    refuse_while_running(tx, server.id, name.as_str())?;
    match tx.kept_on(server.id)? {
        0 => tx.lead_server(server.id, &new, Timestamp::now())?,
        kept => {
            return Err(OpsError::Refused(format!(
                "server {name}: outputs or files of {kept} task{} are only there, and are found by the way to it: read them \
                 (`grid logs`, `grid fetch`), and to give them up remove {name} and add it anew",
                if kept == 1 { "" } else { "s" }
            )));
        }
    }
    Ok(true)
}

fn refuse_while_running(view: &View<'_>, id: ServerId, name: &str) -> Result<(), OpsError> {
    match view.running_on(id)? {
        0 => Ok(()),
        running => Err(OpsError::Refused(format!(
            "server {name}: {running} running; `grid server drain {name}` and wait, or cancel them"
        ))),
    }
}

/// Removes declared attributes: all of them or none.
pub fn unset(grid: &mut Grid, name: &str, what: &[String]) -> Result<(), OpsError> {
    let (id, read) = grid.store.write(Durability::Full, |tx| {
        let id = find(tx, name)?.id;
        let mut read = false;
        for word in what {
            let server = find(tx, name)?;
            let gone = match word.replace('-', "_").as_str() {
                // An attribute that was declared before its name became an option.
                "ssh_option" | "remote_dir" if tx.unset_server(id, word)? => true,
                "ssh_option" => change_way(tx, &server, &NewWay { options: Some(Vec::new()), ..NewWay::default() })?,
                "ssh_command" => match &server.engine {
                    Engine::Ssh(target) => change_way_to(tx, &server, target, target.clone().by(None))?,
                    _ => false,
                },
                "remote_dir" => {
                    change_way(tx, &server, &NewWay { remote_dir: Some(String::new()), ..NewWay::default() })?
                }
                "mem_total" => tx.unset_server(id, "mem")?,
                _ => tx.unset_server(id, word)?,
            };
            if !gone {
                return Err(not_declared("server", name, word));
            }
            read |= ["prologue", "ssh_option", "remote_dir", "ssh_command"].contains(&&*word.replace('-', "_"));
        }
        Ok((id, read))
    })?;
    // The probe records whether the host answers.
    if read { refresh::probe_one(grid, id).map(drop) } else { Ok(()) }
}

/// Removes servers on which nothing runs and that no group needs.
pub fn remove(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            refuse_removal(tx, name)?;
            tx.remove_server(find(tx, name)?.id)?;
        }
        Ok(())
    })
}

/// An error if a server can't be removed.
pub(super) fn refuse_removal(view: &View<'_>, name: &str) -> Result<(), OpsError> {
    let server = find(view, name)?;
    refuse_while_running(view, server.id, name)?;
    let needs = |other: &Server| matches!(&other.engine, Engine::Group { members } if members.contains(&server.id));
    match view.servers()?.into_iter().find(needs) {
        Some(Server { name: group, .. }) => {
            Err(OpsError::Refused(format!("server {name} is part of {group}; remove {group} first")))
        }
        None => Ok(()),
    }
}

/// Drains servers. A reason is optional.
pub fn drain(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    set_drained(grid, names, Some(reason.unwrap_or("")))
}

/// Ends a drain.
pub fn resume(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    set_drained(grid, names, None)
}

/// Drains or resumes servers. `lab-x/n1` is a server of a distributor, which may be in another home.
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
                _ => remote::servers::manage(grid, &at, &server, reason)?,
            },
            _ => own.push(name.clone()),
        }
    }
    grid.store.write(Durability::Full, |tx| {
        for name in &own {
            let server = find(tx, name)?;
            // To drain again without a reason takes none away.
            if reason != Some("") || server.drained.is_none() {
                tx.set_drained(server.id, reason)?;
            }
        }
        Ok(())
    })
}

/// A server by name, else an error with similar names.
pub(super) fn find(view: &View<'_>, name: &str) -> Result<Server, OpsError> {
    if let Some(server) = view.server(name)? {
        return Ok(server);
    }
    let known = view.servers()?;
    Err(OpsError::unknown("server", name, known.iter().map(|s| s.name.as_str())))
}

/// The named second-tier distributor; without a name the first one.
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

/// The word for a server's state, and its reason.
pub(super) fn state(server: &Server) -> (&'static str, Option<String>) {
    match (&server.drained, &server.health) {
        (Some(reason), health) => {
            // The state shows whether a host under repair is back.
            let down = if let Health::Down { error, .. } = health { Some(format!("down: {error}")) } else { None };
            let all: Vec<String> = Some(reason.clone()).filter(|r| !r.is_empty()).into_iter().chain(down).collect();
            ("DRAINED", Some(all.join("; ")).filter(|all| !all.is_empty()))
        }
        (None, Health::Down { error, .. }) => ("DOWN", Some(error.clone())),
        (None, health) => (health.word(), None),
    }
}

fn entry(server: Server, remarks: &HashMap<ServerId, String>) -> DatabaseRow {
    let (state, reason) = state(&server);
    let reason = reason.or_else(|| remarks.get(&server.id).filter(|_| server.drained.is_none()).cloned());
    DatabaseRow {
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
    put(&mut all, "accepts", super::attributes::text(server.accepts.as_deref()), Source::Declared, declared_at);
    all
}
