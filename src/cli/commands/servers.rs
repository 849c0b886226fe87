//! `grid server`.

use super::super::args::servers::{ServerAdd, ServerCommand, ServerOptions, ServerRemove, SshArgs};
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, entries, import, refresh, with_grid};
use crate::model::attribute::Source;
use crate::model::demand::Version;
use crate::model::name::Name;
use crate::model::ssh::SshTarget;
use crate::model::ssh_command::SshCommand;
use crate::model::time::Timestamp;
use crate::ops::attributes::assignments;
use crate::ops::report::DatabaseRow;
use crate::ops::server_removal::{self, OnHost};
use crate::ops::servers::{self, Declared, NewEngine, NewWay, RESERVED, SHARED_ACCOUNT, Unprobed};

pub fn run(verb: ServerCommand, out: &mut Out) -> CommandResult {
    match verb {
        ServerCommand::Add(args) => add(*args, out),
        ServerCommand::Import(args) => import::run(*args, out),
        ServerCommand::Refresh(args) => refresh::some(args, out),
        ServerCommand::List(listing) => with_grid(out, |grid, out| {
            entries::list(&servers::list(grid)?, listing.json, |all| table(all, Timestamp::now()), out)?;
            Ok(Code::OK)
        }),
        ServerCommand::Show(args) => with_grid(out, |grid, out| {
            entries::show(&servers::show(grid, &args.name)?, args.listing.json, out)?;
            Ok(Code::OK)
        }),
        ServerCommand::Set(args) => {
            let SshArgs { ssh, ssh_options, remote_dir, ssh_command } = args.way;
            let command = ssh_command.map(|line| command(&args.name, &line)).transpose()?;
            let options = Some(ssh_options).filter(|o| !o.is_empty());
            let way = NewWay { host: ssh, options, remote_dir, command };
            let declared = declared(args.declared)?;
            with_grid(out, |grid, out| {
                if let Some(warning) = servers::set(grid, &args.name, &way, &declared)? {
                    out.note(&warning);
                }
                Ok(Code::OK)
            })
        }
        ServerCommand::Unset(args) => with_grid(out, |grid, _| {
            servers::unset(grid, &args.name, &args.what)?;
            Ok(Code::OK)
        }),
        ServerCommand::Remove(args) => remove(&args, out),
        ServerCommand::Drain(args) => with_grid(out, |grid, _| {
            servers::drain(grid, &args.names, args.reason.as_deref())?;
            Ok(Code::OK)
        }),
        ServerCommand::Resume(args) => with_grid(out, |grid, _| {
            servers::resume(grid, &args.names)?;
            Ok(Code::OK)
        }),
    }
}

fn remove(args: &ServerRemove, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let on_host = match (args.clear, args.keep) {
            (true, _) => OnHost::Clear,
            (_, true) => OnHost::Keep,
            _ => {
                let left = server_removal::left_on_hosts(grid, &args.names)?;
                let question = format!("Remove {} too?", left.join("; "));
                match left.is_empty() || !out.ask(&question, false)?.unwrap_or(false) {
                    true => OnHost::Keep,
                    false => OnHost::Clear,
                }
            }
        };
        for words in server_removal::remove(grid, &args.names, on_host)? {
            out.note(&words);
        }
        Ok(Code::OK)
    })
}

fn add(args: ServerAdd, out: &mut Out) -> CommandResult {
    let SshArgs { ssh, ssh_options, remote_dir, ssh_command } = args.way;
    let engine = match (args.local, ssh, args.of.is_empty()) {
        (_, None, _) if remote_dir.is_some() || !ssh_options.is_empty() || ssh_command.is_some() => {
            let what = "--ssh-option, --ssh-command and --remote-dir go with --ssh HOST";
            return Err(Failure::usage(format!("server {}: {what}", args.name)));
        }
        (true, ..) => NewEngine::Local,
        (_, Some(host), _) => {
            let target = SshTarget::new(&host, ssh_options, remote_dir);
            let target = target.map_err(|error| Failure::usage(format!("server {}: {error}", args.name)))?;
            let command = ssh_command.map(|line| command(&args.name, &line)).transpose()?;
            NewEngine::Ssh(target.by(command))
        }
        (.., false) => NewEngine::Of(args.of),
        _ => {
            let what = "--local, --ssh HOST or --of SERVER,..";
            return Err(Failure::usage(format!("server {}: say what it is: {what}", args.name)));
        }
    };
    let declared = declared(args.declared)?;
    with_grid(out, |grid, out| {
        let unprobed = if args.check { Unprobed::Refused } else { Unprobed::Kept };
        let added = servers::add(grid, &args.name, &engine, args.distributor.as_ref(), &declared, unprobed)?;
        if let Some(warning) = &added.warning {
            out.note(warning);
        }
        Ok(Code::OK)
    })
}

/// A command for ssh, as it was typed here.
fn command(server: &Name, line: &str) -> Result<SshCommand, Failure> {
    let command = caller::ssh_command(line);
    let error = |error| Failure::usage(format!("server {server}: --ssh-command {error}"));
    command.words().map_err(error).map(|_| command)
}

pub(super) fn declared(options: ServerOptions) -> Result<Declared, Failure> {
    let ServerOptions { slots, cpus, mem, max_load, shared_account, accepts, prologue, apps, set } = options;
    let apps = apps.iter().map(|text| app(text)).collect::<Result<_, _>>()?;
    let mut attributes = assignments(&set, &RESERVED)?;
    if shared_account {
        attributes.insert(SHARED_ACCOUNT.into(), true.into());
    }
    Ok(Declared { slots, cpus, mem, max_load, accepts, prologue, apps, attributes })
}

/// `blender` or `blender=4.1`.
fn app(text: &str) -> Result<(Name, Option<String>), Failure> {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let plain = |version: &&str| {
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+".contains(c))
    };
    if let Some(bad) = version.filter(|version| !plain(version)) {
        return Err(Failure::usage(format!("--app {text}: {bad:?} is no version; write NAME=4.1")));
    }
    let name = name.parse().map_err(|error| Failure::usage(format!("--app {text}: {error}")))?;
    Ok((name, version.map(|version| Version::new(version).0.into())))
}

/// The listing; `now` is what ages are counted from.
pub fn table(all: &[DatabaseRow], now: Timestamp) -> Table {
    let several = all.iter().any(|e| e.distributor != all[0].distributor);
    let mut table = Table::new(&[
        "NAME", "STATE", "ENGINE", "IN", "SLOTS", "CPUS", "LOAD", "IDLE", "MEM", "POWER", "READ", "APPS", "DECLARED",
        "WHY",
    ])
    .right(&["SLOTS", "CPUS", "LOAD", "IDLE", "MEM", "POWER"])
    .spare(&["ENGINE", "POWER", "APPS", "IN", "READ", "LOAD", "MEM", "CPUS"])
    .brief();
    for entry in all {
        table.row([
            entry.name.clone(),
            entry.state.to_owned(),
            entry.engine.unwrap_or_default().to_owned(),
            entry.distributor.clone().filter(|_| several).unwrap_or_default(),
            format!("{}/{}", entry.running.unwrap_or(0), entries::cell(entry, "slots")),
            entries::cell(entry, "cpus"),
            entries::number(entry, "load1", 2),
            entries::number(entry, "idle_cpus", 1),
            entries::cell(entry, "mem_available"),
            entries::number(entry, "power", 0),
            entries::age(entry, &["load1", "idle_cpus", "mem_available"], now),
            entries::cell(entry, "apps"),
            entries::from(Source::Declared, entry, &["slots", "cpus", "mem_total", "apps", "app_version"]),
            entry.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::super::output::Style;
    use super::*;
    use crate::ops::fixture;

    #[test]
    fn applications_are_read_with_their_versions() {
        assert_eq!(app("blender=4.1").unwrap().1.as_deref(), Some("4.1"));
        assert_eq!(app("ffmpeg").unwrap().1, None);
        for bad in ["", "=1", "a=", "a=1 2", "-x"] {
            assert!(app(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_list_shows_use_and_age() {
        let (_dir, mut grid) = fixture::grid();
        servers::drain(&mut grid, &["local".into()], Some("fan is loud")).unwrap();
        let text = table(&servers::list(&grid).unwrap(), Timestamp::now()).render(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("NAME   STATE    ENGINE  SLOTS  CPUS  LOAD  IDLE  MEM  POWER"), "{text}");
        assert!(lines[1].starts_with("local  DRAINED  local     0/4     4  0.50   3.5   6G    400"), "{text}");
        assert!(lines[1].ends_with("fan is loud"), "{text}");
    }
}
