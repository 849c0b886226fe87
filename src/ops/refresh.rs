//! `grid refresh`, `grid server refresh`, and the reading at `server add`.

use super::report::Refreshed;
use super::servers::{find, state};
use super::{Grid, OpsError};
use crate::dispatch;
use crate::model::id::ServerId;
use crate::model::server::Engine;
use crate::model::time::Timestamp;
use crate::store::Durability;
use crate::store::settings::watch_list;

/// Reads the named servers, or all.
pub fn refresh(grid: &mut Grid, names: &[String]) -> Result<Vec<Refreshed>, OpsError> {
    let view = grid.store.view();
    let servers = if names.is_empty() {
        view.servers()?
    } else {
        names.iter().map(|name| find(&view, name)).collect::<Result<_, _>>()?
    };
    let mut done = Vec::with_capacity(servers.len());
    for server in servers {
        let error = read_one(grid, server.id)?;
        // It may have been removed meanwhile.
        if let Some(server) = grid.store.view().server_by_id(server.id)? {
            done.push(Refreshed { name: server.name.to_string(), state: state(&server).0, error });
        }
    }
    Ok(done)
}

/// Reads one server's host and records it; what went wrong, if anything did.
pub(super) fn read_one(grid: &mut Grid, id: ServerId) -> Result<Option<String>, OpsError> {
    let Some(server) = grid.store.view().server_by_id(id)? else { return Ok(None) };
    let read = match server.engine {
        // A group is what its members add up to.
        Engine::Group { .. } => return Ok(None),
        Engine::Local | Engine::Ssh { .. } => {
            let view = grid.store.view();
            let watch = watch_list(view.setting("watch")?.as_deref());
            dispatch::probe::this_host(grid.store.home(), watch, view.setting("probe_script")?)
        }
    };
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
