//! `grid server remove`: removes the server's row, and what grid has on its host.

use super::servers::{self, find};
use super::{Grid, OpsError};
use crate::dispatch::client::start;
use crate::model::resources::Bytes;
use crate::model::server::{BEING_REMOVED, Engine, Server};
use crate::protocol::agent::Clearing;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::View;
use crate::store::draining::TemporaryDrain;

/// What happens to the files of grid on a host over ssh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHost {
    /// The home's records, outputs and files there are removed, and agents that no home uses.
    Clear,
    Keep,
}

/// A message on what grid has on the host of a server to be removed, for each server that is the last one on its host.
pub fn left_on_hosts(grid: &Grid, names: &[String]) -> Result<Vec<String>, OpsError> {
    let view = grid.store.view();
    let mut all = Vec::new();
    for server in last_servers_on_hosts(&view, names)? {
        all.push(left_note(&view, &server)?);
    }
    Ok(all)
}

/// A message for each server that tasks wait for which may run nowhere else.
fn awaited(view: &View<'_>, names: &[String]) -> Result<Vec<String>, OpsError> {
    /// Ids that are named.
    const SHOWN: usize = 10;
    let mut all = Vec::new();
    for name in names {
        let server = find(view, name)?;
        let tasks = view.waiting_for_server(server.name.as_str(), server.distributor_name.as_str())?;
        let ids: Vec<String> = tasks.iter().take(SHOWN).map(ToString::to_string).collect();
        let ids = ids.join(" ");
        let more = tasks.len().saturating_sub(SHOWN);
        let (what, more) = match tasks.len() {
            0 => continue,
            1 => ("1 task that waits names".to_owned(), String::new()),
            many if more == 0 => (format!("{many} tasks that wait name"), String::new()),
            many => (format!("{many} tasks that wait name"), format!(" (and {more} more)")),
        };
        all.push(format!(
            "{name}: {what} it alone (-w): {ids}{more}; `grid cancel {ids}`, or add a server of this name"
        ));
    }
    Ok(all)
}

/// Removes servers on which nothing runs. Gives a message for each host, and for each server that tasks wait for. Those whose hosts
/// are cleared are drained until their rows are removed, so that nothing starts there meanwhile.
pub fn remove(grid: &mut Grid, names: &[String], on_host: OnHost) -> Result<Vec<String>, OpsError> {
    let awaited = awaited(&grid.store.view(), names)?;
    Ok([remove_on_hosts(grid, names, on_host)?, awaited].concat())
}

fn remove_on_hosts(grid: &mut Grid, names: &[String], on_host: OnHost) -> Result<Vec<String>, OpsError> {
    let hosts = last_servers_on_hosts(&grid.store.view(), names)?;
    if on_host == OnHost::Keep || hosts.is_empty() {
        let view = grid.store.view();
        let kept = hosts.iter().map(|server| Ok(format!("{} is kept", left_note(&view, server)?)));
        let words = kept.collect::<Result<Vec<_>, OpsError>>()?;
        servers::remove(grid, names)?;
        return Ok(words);
    }
    let drain = drain(grid, &hosts)?;
    let cleared = hosts.iter().map(|server| clear(grid, server)).collect::<Result<Vec<_>, _>>();
    match cleared.and_then(|words| servers::remove(grid, names).map(|_| words)) {
        Ok(words) => {
            drain.forget();
            Ok(words)
        }
        Err(error) => {
            drain.end(&mut grid.store)?;
            Err(error)
        }
    }
}

/// Drains servers as they are now: what `hosts` says of their drains may be of a removal that was killed.
fn drain(grid: &mut Grid, hosts: &[Server]) -> Result<TemporaryDrain, OpsError> {
    TemporaryDrain::begin(&mut grid.store, BEING_REMOVED, |tx| {
        let current = hosts.iter().map(|server| {
            servers::refuse_removal(tx, server.name.as_str())?;
            find(tx, server.name.as_str())
        });
        current.collect::<Result<Vec<_>, OpsError>>()
    })
}

/// Servers over ssh whose host no other server uses.
pub(super) fn last_servers_on_hosts(view: &View<'_>, names: &[String]) -> Result<Vec<Server>, OpsError> {
    let all = view.servers()?;
    let mut hosts: Vec<Server> = Vec::new();
    for name in names {
        let server = find(view, name)?;
        let Engine::Ssh(target) = &server.engine else { continue };
        let same = |other: &Server| matches!(&other.engine, Engine::Ssh(to) if to.key() == target.key());
        let stays = all.iter().any(|other| same(other) && !names.iter().any(|name| *name == other.name.as_str()));
        if !stays && !hosts.iter().any(same) {
            hosts.push(server);
        }
    }
    Ok(hosts)
}

pub(super) fn left_note(view: &View<'_>, server: &Server) -> Result<String, OpsError> {
    let Engine::Ssh(target) = &server.engine else { return Ok(String::new()) };
    let dirs = match target.remote_dir() {
        Some(dir) => format!("{dir}/spool and {dir}/bin"),
        None => "~/.local/state/grid and ~/.cache/grid/bin".to_owned(),
    };
    let alone = match view.kept_on(server.id)? {
        0 => String::new(),
        1 => ", with outputs or files of 1 task that are nowhere else".to_owned(),
        kept => format!(", with outputs or files of {kept} tasks that are nowhere else"),
    };
    Ok(format!("what grid has in {dirs} on {}{alone}", target.host()))
}

/// Clears a host, on which nothing runs.
fn clear(grid: &Grid, server: &Server) -> Result<String, OpsError> {
    let name = server.name.as_str();
    match request_clearing(grid, server) {
        Ok(Clearing { bytes, left }) => {
            let rest = if left.is_empty() { String::new() } else { format!("; still there: {}", left.join(", ")) };
            Ok(format!("{name}: {} removed from its host{rest}", Bytes(bytes)))
        }
        Err(error) => Err(OpsError::Refused(format!(
            "server {name}: its host was not cleared: {error}; no server was removed, `--keep` removes the server alone"
        ))),
    }
}

fn request_clearing(grid: &Grid, server: &Server) -> Result<Clearing, String> {
    ask_to_clear(grid, server).and_then(|connection| wait_for_clearing(connection, server))
}

/// Sends the request; several hosts are cleared side by side.
pub(super) fn ask_to_clear(grid: &Grid, server: &Server) -> Result<start::Connection, String> {
    let clear = ToDispatcher::Clear { server: server.id };
    start::call(grid.store.home(), &grid.login, &clear).map_err(|error| error.to_string())
}

/// Waits until a host is cleared, or can't be.
pub(super) fn wait_for_clearing(mut connection: start::Connection, server: &Server) -> Result<Clearing, String> {
    loop {
        match connection.receive().map_err(|error| error.to_string())? {
            Some(FromDispatcher::Cleared { server: id, result }) if id == server.id => return result,
            Some(_) => {}
            None => return Err("it can't be reached now".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::Endpoint;
    use crate::model::id::{HomeId, TaskId};
    use crate::model::time::Timestamp;
    use crate::ops::fixture;
    use crate::store::away::AskedAway;
    use crate::store::intake::TierRoute;
    use crate::store::{Durability, StoreError};
    use std::fs::{self, File};

    const REASON: &str = BEING_REMOVED;

    /// Drains a server as the process of this note does.
    fn drained_by(grid: &mut Grid, server: &Server, note: &str) -> File {
        let dir = grid.store.home().run_dir().join("draining");
        fs::create_dir_all(&dir).unwrap();
        let id = serde_json::to_value(server.id).unwrap();
        let text = serde_json::json!({ "reason": REASON, "servers": [[id, null]] });
        fs::write(dir.join(note), text.to_string()).unwrap();
        grid.store.write::<_, OpsError>(Durability::Full, |tx| Ok(tx.set_drained(server.id, Some(REASON))?)).unwrap();
        File::open(dir.join(note)).unwrap()
    }

    fn reason(grid: &Grid) -> Option<String> {
        grid.store.view().servers().unwrap().remove(0).drained
    }

    #[test]
    fn task_that_another_home_holds_waits_for_no_server_of_this_one() {
        let (_dir, mut grid) = fixture::grid();
        let mut draft = fixture::draft();
        draft.on = Some("local".parse().unwrap());
        let task = fixture::add_task(&mut grid, draft);
        let waiting = |grid: &Grid| grid.store.view().waiting_for_server("local", "tier2").unwrap();
        assert_eq!(waiting(&grid), [task]);
        let place = |tx: &crate::store::Tx<'_>| {
            let asked = Endpoint::Path("/front".into());
            let asked = AskedAway { sealed: b"sealed", list: None, round: 1_000, asked: &asked, onward: true };
            tx.ask_away(task, asked, Timestamp::now())?;
            tx.placed_away(task, HomeId(uuid::Uuid::now_v7()), TaskId(7), TierRoute { tier1: "f", tier2: "m" })
        };
        grid.store.write::<_, StoreError>(Durability::Normal, place).unwrap();
        assert_eq!(waiting(&grid), []);
    }

    #[test]
    fn removal_that_fails_after_one_that_was_killed_leaves_no_drain() {
        let (_dir, mut grid) = fixture::grid();
        let server = grid.store.view().servers().unwrap().remove(0);
        drop(drained_by(&mut grid, &server, "dead"));
        let read_before = grid.store.view().servers().unwrap();
        let drain = drain(&mut grid, &read_before[..1]).unwrap();
        assert_eq!(reason(&grid).as_deref(), Some(REASON));
        drain.end(&mut grid.store).unwrap();
        assert_eq!(reason(&grid), None);
    }

    #[test]
    fn removal_beside_another_of_the_same_server_is_refused() {
        let (_dir, mut grid) = fixture::grid();
        let server = grid.store.view().servers().unwrap().remove(0);
        let live = drained_by(&mut grid, &server, "live");
        live.lock().unwrap();
        let refused = drain(&mut grid, std::slice::from_ref(&server)).unwrap_err();
        assert!(refused.to_string().contains("drained by another command"), "{refused}");
        assert_eq!(reason(&grid).as_deref(), Some(REASON), "the other drain is in force");
        drop(live);
        drain(&mut grid, &[server]).unwrap().end(&mut grid.store).unwrap();
        assert_eq!(reason(&grid), None);
    }
}
