//! `grid task`: profiles; a number is a task.

use super::super::args::databases::{ProfileSet, TaskCommand};
use super::super::args::tasks::Show;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, entries, show, with_grid};
use crate::model::inherited::EnvironmentChoice;
use crate::model::profile::ProfileSettings;
use crate::ops::attributes::assignments;
use crate::ops::profiles::{self, RESERVED};
use crate::ops::report::DatabaseRow;

pub fn run(verb: TaskCommand, out: &mut Out) -> CommandResult {
    match verb {
        TaskCommand::Add(args) => {
            let (name, settings) = (args.name.clone(), settings(*args)?);
            with_grid(out, |grid, _| profiles::add(grid, &name, settings).map(|()| Code::OK).map_err(Failure::from))
        }
        TaskCommand::Set(args) => {
            let (name, settings) = (args.name.clone(), settings(*args)?);
            with_grid(out, |grid, _| profiles::set(grid, &name, settings).map(|()| Code::OK).map_err(Failure::from))
        }
        TaskCommand::List(listing) => with_grid(out, |grid, out| {
            let all = profiles::list(grid)?;
            if all.is_empty() && !listing.json {
                out.note("no profiles; `grid task add NAME ..` adds one, `grid status` lists the tasks");
            }
            entries::list(&all, listing.json, table, out)?;
            Ok(Code::OK)
        }),
        TaskCommand::Show(args) => match args.name.parse() {
            Ok(id) if args.name.starts_with(|c: char| c.is_ascii_digit()) => {
                show::run(Show { ids: vec![id], everyone: false, json: args.listing.json }, out)
            }
            _ => with_grid(out, |grid, out| {
                entries::show(&profiles::show(grid, &args.name)?, args.listing.json, out)?;
                Ok(Code::OK)
            }),
        },
        TaskCommand::Unset(args) => with_grid(out, |grid, _| {
            profiles::unset(grid, &args.name, &args.what)?;
            Ok(Code::OK)
        }),
        TaskCommand::Remove(args) => with_grid(out, |grid, _| {
            profiles::remove(grid, &args.names)?;
            Ok(Code::OK)
        }),
    }
}

fn settings(args: ProfileSet) -> Result<ProfileSettings, Failure> {
    Ok(ProfileSettings {
        labels: assignments(&args.set, &RESERVED)?,
        cpus: args.cpus,
        mem: args.mem,
        apps: args.apps,
        time_limit_ms: args.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        max_output: args.max_output,
        constraint: args.constraint,
        prefer: args.prefer,
        priority: args.priority,
        retries: args.retries,
        environment: environment_choice(args.env_all, args.env_none),
        env: args.env,
    })
}

/// `--env-all` and `--env-none`.
pub(super) fn environment_choice(all: bool, none: bool) -> Option<EnvironmentChoice> {
    match (all, none) {
        (true, _) => Some(EnvironmentChoice::Everywhere),
        (_, true) => Some(EnvironmentChoice::Minimal),
        _ => None,
    }
}

fn table(all: &[DatabaseRow]) -> Table {
    const COLUMNS: [&str; 8] = ["cpus", "mem", "apps", "time", "priority", "retries", "constraint", "prefer"];
    let header = ["NAME", "CPUS", "MEM", "APPS", "TIME", "PRIORITY", "RETRIES", "CONSTRAINT", "PREFER", "DECLARED"];
    let mut table = Table::new(&header).right(&["CPUS", "MEM", "TIME", "PRIORITY", "RETRIES"]);
    for entry in all {
        let mut row = vec![entry.name.clone()];
        row.extend(COLUMNS.map(|name| entries::cell(entry, name)));
        row.push(entries::others(entry, &COLUMNS));
        table.row(row);
    }
    table
}
