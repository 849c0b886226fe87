//! The hosts of a home that is removed: cleared side by side, and the command for each that is left.

use super::server_removal::{ask_to_clear, last_servers_on_hosts, left_note, wait_for_clearing};
use crate::model::id::HomeId;
use crate::model::resources::Bytes;
use crate::model::server::{Engine, Server};
use crate::model::ssh::SshTarget;
use crate::ops::{Grid, OpsError};
use crate::store::View;
use serde::Serialize;

/// What becomes of grid's files on a host over ssh.
#[derive(Debug, Serialize)]
pub struct HostRemoval {
    pub server: String,
    /// As ssh names it.
    pub host: String,
    /// What grid has there, in words.
    pub what: String,
    pub cleared: bool,
    /// What was freed, and what stays.
    pub said: Option<String>,
    /// Why it was not cleared.
    pub error: Option<String>,
    /// The command to run on that host, if it can't be cleared from here.
    pub command: String,
}

/// All hosts, none of them cleared.
pub(super) fn all(view: &View<'_>) -> Result<Vec<HostRemoval>, OpsError> {
    let home = view.home_row()?.id;
    let of = |server: &Server| {
        let Engine::Ssh(target) = &server.engine else { return Ok(None) };
        Ok::<_, OpsError>(Some(HostRemoval {
            server: server.name.to_string(),
            host: target.host().to_owned(),
            what: left_note(view, server)?,
            cleared: false,
            said: None,
            error: None,
            command: command(target, home),
        }))
    };
    servers(view)?.iter().filter_map(|server| of(server).transpose()).collect()
}

/// One server for each host.
fn servers(view: &View<'_>) -> Result<Vec<Server>, OpsError> {
    let names: Vec<String> = view.servers()?.iter().map(|server| server.name.to_string()).collect();
    last_servers_on_hosts(view, &names)
}

/// Clears all hosts. Nothing runs on them.
pub(super) fn clear(grid: &Grid, hosts: &mut [HostRemoval]) -> Result<(), OpsError> {
    let mut asked = Vec::new();
    for server in servers(&grid.store.view())? {
        asked.push((ask_to_clear(grid, &server), server));
    }
    for (connection, server) in asked {
        let cleared = connection.and_then(|connection| wait_for_clearing(connection, &server));
        let Some(host) = hosts.iter_mut().find(|host| host.server == server.name.as_str()) else { continue };
        match cleared {
            Ok(cleared) => {
                let stays = match cleared.left.as_slice() {
                    [] => String::new(),
                    left => format!("; still there: {}", left.join(", ")),
                };
                host.cleared = true;
                host.said = Some(format!("{} removed{stays}", Bytes(cleared.bytes)));
            }
            Err(error) => host.error = Some(error),
        }
    }
    Ok(())
}

/// Why the home stays, if a host was not cleared.
pub(super) fn refusal(hosts: &[HostRemoval]) -> Option<String> {
    let failed: Vec<&HostRemoval> = hosts.iter().filter(|host| !host.cleared).collect();
    let count = failed.len();
    (count > 0).then(|| {
        let what = if count == 1 { "a host was".to_owned() } else { format!("{count} hosts were") };
        let mut lines = vec![format!(
            "{what} not cleared, so the home stays: try again, or --leave-unreachable removes the home all the same"
        )];
        lines.extend(failed.iter().map(|host| host.line()));
        lines.join("\n")
    })
}

impl HostRemoval {
    /// Why it was not cleared, and what to run there.
    pub fn line(&self) -> String {
        let why = self.error.as_deref().unwrap_or("it was not asked");
        format!("{} was not cleared: {why}; run there: {}", self.host, self.command)
    }
}

/// Removes the spools of this home behind this way to the host; the machine's id is known there only.
fn command(target: &SshTarget, home: HomeId) -> String {
    let spools = format!("spool/*/{}/{home}", target.key());
    let base = match target.remote_dir() {
        // The second where the home directory is a network file system: see the agent's choice of a place.
        None => return format!("rm -rf ~/.local/state/grid/{spools} /var/tmp/grid-$(id -u)/{spools}"),
        Some(dir) => {
            let plain = shlex::try_quote(dir).map_or_else(|_| dir.to_owned(), |quoted| quoted.into_owned());
            if dir.starts_with('/') { plain } else { format!("~/{plain}") }
        }
    };
    format!("rm -rf {base}/{spools}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_the_spools_of_this_home_alone() {
        let home = HomeId("019a0000-0000-7000-8000-00000000000a".parse().unwrap());
        let of = |dir: Option<&str>| {
            let target = SshTarget::new("h1", Vec::new(), dir.map(str::to_owned)).unwrap();
            let command = command(&target, home);
            command.replace(&target.key().to_string(), "KEY").replace(&home.to_string(), "HOME")
        };
        assert_eq!(of(None), "rm -rf ~/.local/state/grid/spool/*/KEY/HOME /var/tmp/grid-$(id -u)/spool/*/KEY/HOME");
        assert_eq!(of(Some("/scratch/g")), "rm -rf /scratch/g/spool/*/KEY/HOME");
        assert_eq!(of(Some("it's here")), "rm -rf ~/\"it's here\"/spool/*/KEY/HOME");
    }
}
