//! `grid client`: hosts that submit.

use super::attributes::{Values, not_declared, put, text};
use super::report::DatabaseRow;
use super::{Grid, OpsError};
use crate::model::attribute::Source;
use crate::model::client::Client;
use crate::model::time::Timestamp;
use crate::store::attributes::Owner;
use crate::store::{Durability, View};

/// Attributes that a client sends with every task.
pub const RESERVED: [(&str, &str); 5] = [
    ("host", "each client sends it"),
    ("name", "it is the client's host name"),
    ("user", "each client sends it"),
    ("os", "each client sends it"),
    ("arch", "each client sends it"),
];

/// Declares attributes; adds a client that was never seen.
pub fn set(grid: &mut Grid, host: &str, values: &Values) -> Result<(), OpsError> {
    check_host(host)?;
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        let id = match tx.client(host)? {
            Some(client) => client.id,
            None => tx.add_client(host)?,
        };
        tx.set_attributes(Owner::Client(id.0), values, Source::Declared, now)?;
        Ok(tx.touch_client(id)?)
    })
}

/// Removes declared attributes: all of them or none.
pub fn unset(grid: &mut Grid, host: &str, what: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let (client, _) = find(tx, host)?;
        for word in what {
            if !tx.unset_attribute(Owner::Client(client.id.0), word)? {
                return Err(not_declared("client", host, word));
            }
        }
        Ok(tx.touch_client(client.id)?)
    })
}

/// Removes clients that have no tasks.
pub fn remove(grid: &mut Grid, hosts: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for host in hosts {
            let (client, _) = find(tx, host)?;
            if tx.client_has_tasks(client.id)? {
                return Err(OpsError::Refused(format!(
                    "client {host} has tasks in the database; `grid gc` removes old ones after `keep_rows`"
                )));
            }
            tx.remove_client(client.id)?;
        }
        Ok(())
    })
}

/// All clients.
pub fn list(grid: &Grid) -> Result<Vec<DatabaseRow>, OpsError> {
    Ok(grid.store.view().clients()?.into_iter().map(entry).collect())
}

/// One client.
pub fn show(grid: &Grid, host: &str) -> Result<DatabaseRow, OpsError> {
    find(&grid.store.view(), host).map(entry)
}

/// Checks a host name as `uname -n` prints it: it allows more than our names do, but is safe to show.
fn check_host(host: &str) -> Result<(), OpsError> {
    let good = (1..=253).contains(&host.len())
        && !host.starts_with(['-', '.'])
        && !host.contains("..")
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c));
    if good {
        return Ok(());
    }
    Err(OpsError::Usage(format!(
        "client {host:?}: a host name has letters, digits, single '.', '-', '_' and ':' only, 253 at most"
    )))
}

fn find(view: &View<'_>, host: &str) -> Result<(Client, Option<Timestamp>), OpsError> {
    let known = view.clients()?;
    let found = known.iter().find(|(client, _)| client.host == host).cloned();
    found.ok_or_else(|| OpsError::unknown("client", host, known.iter().map(|(c, _)| c.host.as_str())))
}

fn entry((client, seen): (Client, Option<Timestamp>)) -> DatabaseRow {
    let mut all = client.attributes;
    if let Some(at) = seen {
        for (name, value) in [("user", &client.user), ("os", &client.os), ("arch", &client.arch)] {
            put(&mut all, name, text(Some(value)), Source::Reported, at);
        }
    }
    DatabaseRow::plain(client.host, if seen.is_some() { "SEEN" } else { "DECLARED" }, all)
}
