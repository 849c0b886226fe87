//! `grid user`.

use super::super::args::databases::{UserCommand, UserSet};
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, entries, with_grid};
use crate::ops::attributes::assignments;
use crate::ops::report::DatabaseRow;
use crate::ops::users::{self, RESERVED, UserParts};

pub fn run(verb: UserCommand, out: &mut Out) -> CommandResult {
    match verb {
        UserCommand::Add(args) => {
            let (name, parts) = (args.name.clone(), parts(args)?);
            with_grid(out, |grid, _| users::add(grid, &name, &parts).map(|()| Code::OK).map_err(Failure::from))
        }
        UserCommand::Set(args) => {
            let (name, parts) = (args.name.clone(), parts(args)?);
            with_grid(out, |grid, _| users::set(grid, &name, &parts).map(|()| Code::OK).map_err(Failure::from))
        }
        UserCommand::List(listing) => with_grid(out, |grid, out| {
            entries::list(&users::list(grid)?, listing.json, table, out)?;
            Ok(Code::OK)
        }),
        UserCommand::Show(args) => with_grid(out, |grid, out| {
            entries::show(&users::show(grid, &args.name)?, args.listing.json, out)?;
            if !args.listing.json {
                out.note("share is stored and shown, not used yet");
            }
            Ok(Code::OK)
        }),
        UserCommand::Unset(args) => with_grid(out, |grid, _| {
            users::unset(grid, &args.name, &args.what)?;
            Ok(Code::OK)
        }),
        UserCommand::Allow(args) => with_grid(out, |grid, out| {
            let line = users::allow(grid, &args.name, args.role, args.vouch)?;
            out.did(format!("user {} is allowed", args.name), "the line for authorized_keys");
            out.line(&line)?;
            Ok(Code::OK)
        }),
        UserCommand::Remove(args) => with_grid(out, |grid, _| {
            users::remove(grid, &args.names)?;
            Ok(Code::OK)
        }),
    }
}

fn parts(args: UserSet) -> Result<UserParts, Failure> {
    let attributes = assignments(&args.set, &RESERVED)?;
    let UserSet { groups, share, prefer, constraint, .. } = args;
    Ok(UserParts { groups, share, prefer, constraint, attributes })
}

fn table(all: &[DatabaseRow]) -> Table {
    const COLUMNS: [&str; 4] = ["groups", "share", "prefer", "constraint"];
    let mut table = Table::new(&["NAME", "GROUPS", "SHARE", "PREFER", "CONSTRAINT", "DECLARED"]).right(&["SHARE"]);
    for entry in all {
        let mut row = vec![entry.name.clone()];
        row.extend(COLUMNS.map(|name| entries::cell(entry, name)));
        row.push(entries::others(entry, &COLUMNS));
        table.row(row);
    }
    table
}
