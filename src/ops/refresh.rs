//! `grid refresh`, `grid server refresh`, and the probe at `server add`.

use super::report::Refreshed;
use super::servers::{find, state};
use super::{Grid, OpsError, gc, registry};
use crate::dispatch;
use crate::dispatch::client::start::{self, Connection, StartError};
use crate::model::clock::Reading;
use crate::model::id::ServerId;
use crate::model::server::{Engine, Server};
use crate::model::settings::{PROBE_SCRIPT, WATCH};
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::Durability;
use std::collections::HashMap;
use std::fs::{OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;

/// Probes all servers and runs `gc`, as cron asks for. None: another such run is in progress, and this one does nothing.
pub fn refresh_all(grid: &mut Grid) -> Result<Option<Vec<Refreshed>>, OpsError> {
    let path = grid.store.home().run_dir().join("refresh.lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.map_err(|error| OpsError::Grid(format!("{}: {error}", path.display())))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(OpsError::Grid(format!("{}: {error}", path.display()))),
    }
    let report = refresh(grid, &[])?;
    gc::gc(grid, gc::GcRequest::default(), &Reading::now())?;
    // `grid distributor list` shows failed reports; they are sent again later.
    registry::send(grid, "period", false)?;
    Ok(Some(report))
}

/// Probes the named servers, or all, in parallel.
pub fn refresh(grid: &mut Grid, names: &[String]) -> Result<Vec<Refreshed>, OpsError> {
    let view = grid.store.view();
    let servers = if names.is_empty() {
        view.servers()?
    } else {
        names.iter().map(|name| find(&view, name)).collect::<Result<_, _>>()?
    };
    let mut errors = probe_servers(grid, &servers)?;
    let mut done = Vec::with_capacity(servers.len());
    for server in servers {
        // It may have been removed meanwhile.
        if let Some(now) = grid.store.view().server_by_id(server.id)? {
            let error = errors.remove(&server.id);
            done.push(Refreshed { name: server.name.to_string(), state: state(&now).0, error });
        }
    }
    Ok(done)
}

/// Probes one server and records the result. Gives the error, if it fails.
pub(super) fn probe_one(grid: &mut Grid, id: ServerId) -> Result<Option<String>, OpsError> {
    Ok(probe_some(grid, &[id])?.remove(&id))
}

/// Probes servers and records the results. Gives the errors by server.
pub(super) fn probe_some(grid: &mut Grid, ids: &[ServerId]) -> Result<HashMap<ServerId, String>, OpsError> {
    let view = grid.store.view();
    let servers = ids.iter().map(|id| view.server_by_id(*id)).collect::<Result<Vec<_>, _>>()?;
    probe_servers(grid, &servers.into_iter().flatten().collect::<Vec<_>>())
}

/// Probes servers over ssh through the dispatcher, which has the links, and meanwhile this host directly.
/// Gives the errors by server.
fn probe_servers(grid: &mut Grid, servers: &[Server]) -> Result<HashMap<ServerId, String>, OpsError> {
    let far: Vec<ServerId> = servers.iter().filter(|s| matches!(s.engine, Engine::Ssh(_))).map(|s| s.id).collect();
    let connection = if far.is_empty() { None } else { Some(request_probes(grid, &far)?) };
    let mut errors = HashMap::new();
    for server in servers.iter().filter(|s| s.engine == Engine::Local) {
        errors.extend(probe_this_host(grid, server.id)?.map(|error| (server.id, error)));
    }
    if let Some(connection) = connection {
        receive_answers(connection, far, &mut errors)?;
    }
    Ok(errors)
}

fn request_probes(grid: &Grid, servers: &[ServerId]) -> Result<Connection, StartError> {
    let mut connection = start::connect(grid.store.home(), &grid.login)?;
    for server in servers {
        connection.send(&ToDispatcher::Probe { server: *server })?;
    }
    Ok(connection)
}

/// Receives the dispatcher's answer for each server; they come within its time-out.
fn receive_answers(
    mut connection: Connection,
    mut open: Vec<ServerId>,
    errors: &mut HashMap<ServerId, String>,
) -> Result<(), StartError> {
    while !open.is_empty() {
        match connection.receive()? {
            Some(FromDispatcher::Probed { server, error }) => {
                open.retain(|id| *id != server);
                errors.extend(error.map(|error| (server, error)));
            }
            Some(_) => {}
            None => {
                let gone = "the dispatcher left before it was read";
                errors.extend(open.drain(..).map(|id| (id, gone.to_owned())));
            }
        }
    }
    Ok(())
}

fn probe_this_host(grid: &mut Grid, id: ServerId) -> Result<Option<String>, OpsError> {
    let view = grid.store.view();
    let watch = view.value_of(&WATCH)?;
    let (script, prologue) = (view.value_of(&PROBE_SCRIPT)?, view.prologue(id)?);
    let read = dispatch::client::probe::this_host(grid.store.home(), watch, script, prologue);
    let now = Timestamp::now();
    grid.store.write(Durability::Normal, |tx| match read {
        Ok(facts) => {
            tx.record_facts(id, &facts, now)?;
            Ok(None)
        }
        Err(error) => {
            tx.record_down(id, &error.to_string(), now)?;
            Ok(Some(error.to_string()))
        }
    })
}
