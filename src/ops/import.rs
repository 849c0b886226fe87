//! `grid server import`: makes servers of existing lists of hosts. Each host is checked before the agent is installed.

use super::inventory::{FoundHost, Inventory, ansible, names, ssh_config};
use super::report::{Imported, NotImported};
use super::server_remarks::same_machine;
use super::servers::with_command_of;
use super::{Grid, OpsError, host_doctor, refresh};
use crate::archive::pattern::Patterns;
use crate::archive::select::{self, SelectError};
use crate::archive::walk::Walk;
use crate::dispatch::client::survey::{Surveyor, side_by_side};
use crate::model::attribute::Value;
use crate::model::files::RelPath;
use crate::model::id::ServerId;
use crate::model::name::Name;
use crate::model::server::Engine;
use crate::model::ssh::SshTarget;
use crate::model::ssh_command::SshCommand;
use crate::model::time::Timestamp;
use crate::store::Durability;
use crate::store::declared::Declared;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the list of hosts comes from.
#[derive(Debug, Clone)]
pub enum ImportSource {
    SshConfig(PathBuf),
    Ansible(PathBuf),
    /// Names, as from stdin.
    Text(String),
}

/// A server that could be added.
#[derive(Debug, Clone)]
pub struct Planned {
    pub name: Name,
    pub target: SshTarget,
    groups: Vec<String>,
}

/// The plan of an import.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub servers: Vec<Planned>,
    /// Names that are skipped, and why.
    pub skipped: Vec<(String, String)>,
}

/// Reads the list, or only the names in `only`. Changes nothing and connects to no host.
pub fn plan(grid: &mut Grid, source: &ImportSource, only: &[String]) -> Result<Plan, OpsError> {
    let mut inventory = inventory(source)?;
    if !only.is_empty() {
        let unknown = only.iter().find(|name| !inventory.hosts.iter().any(|host| host.name == **name));
        if let Some(unknown) = unknown {
            let known = inventory.hosts.iter().map(|host| host.name.as_str());
            return Err(match OpsError::unknown("host", unknown, known) {
                OpsError::Unknown { kind, name, hint } if hint.is_empty() => {
                    OpsError::Unknown { kind, name, hint: " in that list".to_owned() }
                }
                near => near,
            });
        }
        inventory.hosts.retain(|host| only.contains(&host.name));
        inventory.skipped.clear();
    }
    let view = grid.store.view();
    let surveyor = Surveyor::new(grid.store.home(), &view, &grid.login)?;
    let servers = view.servers()?;
    let mut plan = Plan { servers: Vec::new(), skipped: Vec::new() };
    plan.skipped.extend(inventory.skipped.into_iter().map(|(name, why)| (name, why.to_owned())));
    let targets: Vec<(FoundHost, Result<Planned, String>)> =
        inventory.hosts.into_iter().map(|host| (host.clone(), planned(&host, grid.login.command.as_ref()))).collect();
    let resolved = side_by_side(
        &targets,
        |(_, planned)| planned.as_ref().ok().and_then(|planned| surveyor.resolved(&planned.target).ok()),
        |_| {},
    );
    let mut seen: Vec<(String, String)> = Vec::new();
    for ((host, planned), resolved) in targets.into_iter().zip(resolved) {
        let skip = |why: String| (host.name.clone(), why);
        let planned = match planned {
            Ok(planned) => planned,
            Err(why) => {
                plan.skipped.push(skip(why));
                continue;
            }
        };
        let known =
            servers.iter().find(|s| matches!(&s.engine, Engine::Ssh(t) if surveyor.is_same(t, &planned.target)));
        if let Some(server) = known {
            plan.skipped.push(skip(format!("is server {0} already; `grid server set {0}` changes it", server.name)));
            continue;
        }
        if servers.iter().any(|server| server.name == planned.name) {
            plan.skipped.push(skip("another server has this name".to_owned()));
            continue;
        }
        if let Some(resolved) = resolved {
            let get = |name: &str| resolved.get(name).cloned().unwrap_or_default();
            if ssh_config::is_git_only(&get("user"), &get("hostname")) {
                plan.skipped.push(skip("for git only".to_owned()));
                continue;
            }
            let way = format!("{}@{}:{} {}", get("user"), get("hostname"), get("port"), get("proxyjump"));
            if let Some((first, _)) = seen.iter().find(|(_, known)| *known == way) {
                plan.skipped.push(skip(format!("the same as {first}")));
                continue;
            }
            seen.push((host.name.clone(), way));
        }
        plan.servers.push(planned);
    }
    Ok(plan)
}

fn inventory(source: &ImportSource) -> Result<Inventory, OpsError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            let hint = match (source, error.kind()) {
                (ImportSource::SshConfig(_), std::io::ErrorKind::NotFound) => {
                    "; `grid server add NAME --ssh HOST` adds one host, a list comes in by `grid server import -`"
                }
                _ => "",
            };
            OpsError::Refused(format!("{}: {error}{hint}", path.display()))
        })
    };
    Ok(match source {
        ImportSource::Text(text) => names(text),
        ImportSource::Ansible(path) => {
            ansible::parse(&read(path)?).map_err(|error| OpsError::Refused(format!("{}: {error}", path.display())))?
        }
        ImportSource::SshConfig(path) => {
            // ssh_config(5): files without a directory are those in ~/.ssh.
            let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
            let list = |pattern: &str| {
                let home = dir.parent().unwrap_or(Path::new("/"));
                let full = match pattern.strip_prefix("~/") {
                    Some(below) => home.join(below),
                    None => dir.join(pattern),
                };
                listed(&full)
            };
            ssh_config::parse(&read(path)?, &|file| std::fs::read_to_string(file).ok(), &list)
        }
    })
}

/// The files that a path with wildcards matches, sorted. Links are followed up to the first wildcard.
fn listed(path: &Path) -> Vec<PathBuf> {
    let is_wild = |name: &std::path::Component<'_>| name.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let names: Vec<_> = path.components().collect();
    let plain = names.iter().position(is_wild).unwrap_or(names.len());
    let dir: PathBuf = names[..plain].iter().collect();
    if plain == names.len() {
        return if dir.exists() { vec![dir] } else { Vec::new() };
    }
    let Ok(pattern) = RelPath::new(&names[plain..].iter().collect::<PathBuf>()) else { return Vec::new() };
    let depth = pattern.names().count();
    let found = Patterns::new(&[pattern])
        .map_err(SelectError::from)
        .and_then(|patterns| select::matching(&dir, &patterns, &mut Walk::bounded(&|| true)));
    // The tree of a directory has its content too, which is not included.
    let tree = found.unwrap_or_default().tree;
    tree.into_iter().filter(|(below, _)| below.names().count() == depth).map(|(_, file)| file).collect()
}

fn planned(host: &FoundHost, caller: Option<&SshCommand>) -> Result<Planned, String> {
    let name: Name = host.name.parse().map_err(|error| format!("{error}"))?;
    let target = SshTarget::new(&host.host, host.options.clone(), None).map_err(|error| error.to_string())?;
    Ok(Planned { name, target: with_command_of(caller, &target), groups: host.groups.clone() })
}

/// Progress of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportProgress {
    pub looked_at: usize,
    pub of: usize,
}

/// Checks the hosts in parallel, adds those that can run tasks, and probes them.
pub fn import(
    grid: &mut Grid,
    servers: &[Planned],
    declared: &Declared,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Vec<Imported>, OpsError> {
    let view = grid.store.view();
    let surveyor = Surveyor::new(grid.store.home(), &view, &grid.login)?;
    let of = servers.len();
    progress(ImportProgress { looked_at: 0, of });
    let looked = side_by_side(
        servers,
        |server| host_doctor::failed_step(&surveyor, &server.target),
        |looked_at| progress(ImportProgress { looked_at, of }),
    );
    let mut ids = Vec::new();
    for (server, fault) in servers.iter().zip(&looked) {
        ids.push(if fault.is_ok() { Some(add(grid, server, declared)?) } else { None });
    }
    let mut errors = refresh::probe_some(grid, &ids.iter().flatten().copied().collect::<Vec<_>>())?;
    let mut remarks: HashMap<ServerId, String> = HashMap::new();
    for (id, survey) in ids.iter().zip(&looked).filter_map(|(id, looked)| (*id).zip(looked.as_ref().ok()?.as_ref())) {
        if let Some(words) = host_doctor::other_machine_note(grid, id, survey)? {
            remarks.insert(id, format!("{words}: {}", host_doctor::POOL_REMEDY));
        } else if let Some(words) = same_machine(&grid.store.view(), id)? {
            remarks.insert(id, words);
        }
    }
    let results = servers.iter().zip(looked).zip(ids).map(|((server, fault), id)| Imported {
        name: server.name.to_string(),
        host: server.target.host().to_owned(),
        added: id.is_some(),
        fault: fault.err().map(|check| NotImported { step: check.what, error: check.found, remedy: check.remedy }),
        warning: id.and_then(|id| errors.remove(&id)),
        remark: id.and_then(|id| remarks.remove(&id)),
    });
    Ok(results.collect())
}

fn add(grid: &mut Grid, server: &Planned, declared: &Declared) -> Result<ServerId, OpsError> {
    let mut declared = declared.clone();
    if !server.groups.is_empty() {
        let groups = Value::texts(server.groups.iter().map(String::as_str));
        declared.attributes.entry("groups".into()).or_insert(groups);
    }
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        if tx.server(server.name.as_str())?.is_some() {
            return Err(super::attributes::taken("server", server.name.as_str()));
        }
        let distributor = super::servers::second_tier(tx, None)?;
        let id = tx.add_server(&server.name, distributor, &Engine::Ssh(server.target.clone()), now)?;
        tx.declare_server(id, &declared, now)?;
        Ok(id)
    })
}

#[cfg(test)]
mod tests {
    use super::listed;
    use std::fs;

    #[test]
    fn included_files_are_found_through_links_and_not_below_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("real/sub")).unwrap();
        ["real/b.conf", "real/a.conf", "real/sub/c.conf", "real/x"]
            .iter()
            .for_each(|f| fs::write(path(f), "").unwrap());
        std::os::unix::fs::symlink("real", path("config.d")).unwrap();
        assert_eq!(listed(&path("config.d/*.conf")), [path("config.d/a.conf"), path("config.d/b.conf")]);
        assert_eq!(listed(&path("config.d/*/c.conf")), [path("config.d/sub/c.conf")]);
        assert_eq!(listed(&path("config.d/s*")), [path("config.d/sub")]);
        assert_eq!(listed(&path("real/x")), [path("real/x")]);
        assert!(listed(&path("nothing/*")).is_empty() && listed(&path("none")).is_empty());
    }
}
