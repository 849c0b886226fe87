//! `grid client`.

use super::super::args::databases::ClientCommand;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, entries, with_grid};
use crate::model::time::Timestamp;
use crate::ops::attributes::assignments;
use crate::ops::clients::{self, RESERVED};
use crate::ops::report::DatabaseRow;

pub fn run(verb: ClientCommand, out: &mut Out) -> CommandResult {
    match verb {
        ClientCommand::List(listing) => with_grid(out, |grid, out| {
            entries::list(&clients::list(grid)?, listing.json, table, out)?;
            Ok(Code::OK)
        }),
        ClientCommand::Show(args) => with_grid(out, |grid, out| {
            entries::show(&clients::show(grid, &args.name)?, args.listing.json, out)?;
            Ok(Code::OK)
        }),
        ClientCommand::Set(args) => {
            let values = assignments(&args.set, &RESERVED)?;
            with_grid(out, |grid, _| clients::set(grid, &args.name, &values).map(|()| Code::OK).map_err(Failure::from))
        }
        ClientCommand::Unset(args) => with_grid(out, |grid, _| {
            clients::unset(grid, &args.name, &args.what)?;
            Ok(Code::OK)
        }),
        ClientCommand::Remove(args) => with_grid(out, |grid, _| {
            clients::remove(grid, &args.names)?;
            Ok(Code::OK)
        }),
    }
}

fn table(all: &[DatabaseRow]) -> Table {
    const COLUMNS: [&str; 3] = ["user", "os", "arch"];
    let now = Timestamp::now();
    let mut table = Table::new(&["NAME", "STATE", "USER", "OS", "ARCH", "SEEN", "DECLARED"]);
    for entry in all {
        let mut row = vec![entry.name.clone(), entry.state.to_owned()];
        row.extend(COLUMNS.map(|name| entries::cell(entry, name)));
        row.push(entries::age(entry, &COLUMNS, now));
        row.push(entries::others(entry, &COLUMNS));
        table.row(row);
    }
    table
}
