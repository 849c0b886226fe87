//! `grid distributor`.

use super::super::args::databases::{Distributor, DistributorAdd};
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{Done, entries, not_yet, with_grid};
use crate::model::distributor::Tier;
use crate::ops::attributes::assignments;
use crate::ops::distributors::{self, RESERVED, Searching};
use crate::ops::report::Entry;

pub fn run(verb: Distributor, out: &mut Out) -> Done {
    match verb {
        Distributor::Add(args) => add(args, out),
        Distributor::List(listing) => with_grid(out, |grid, out| {
            entries::list(&distributors::list(grid)?, listing.json, table, out)?;
            Ok(Code::OK)
        }),
        Distributor::Show(args) => with_grid(out, |grid, out| {
            entries::show(&distributors::show(grid, &args.name)?, args.listing.json, out)?;
            Ok(Code::OK)
        }),
        Distributor::Set(args) => {
            let values = assignments(&args.set, &RESERVED)?;
            with_grid(out, |grid, _| {
                distributors::set(grid, &args.name, &values)?;
                Ok(Code::OK)
            })
        }
        Distributor::Unset(args) => with_grid(out, |grid, _| {
            distributors::unset(grid, &args.name, &args.what)?;
            Ok(Code::OK)
        }),
        Distributor::Remove(args) => with_grid(out, |grid, _| {
            distributors::remove(grid, &args.names)?;
            Ok(Code::OK)
        }),
        Distributor::Drain(args) => with_grid(out, |grid, _| {
            distributors::drain(grid, &args.names, args.reason.as_deref())?;
            Ok(Code::OK)
        }),
        Distributor::Resume(args) => with_grid(out, |grid, _| {
            distributors::resume(grid, &args.names)?;
            Ok(Code::OK)
        }),
        Distributor::Order(args) => with_grid(out, |grid, out| {
            let searching = distributors::order(grid, tier(args.tier)?, &args.names)?;
            out.line(&sentence(&searching))?;
            Ok(Code::OK)
        }),
        Distributor::Search(args) => with_grid(out, |grid, out| {
            let searching = distributors::search(grid, tier(args.tier)?, args.policy)?;
            out.line(&sentence(&searching))?;
            Ok(Code::OK)
        }),
        Distributor::Register(_) => not_yet("distributor register"),
        Distributor::Allow(_) => not_yet("distributor allow"),
        Distributor::Push(_) => not_yet("distributor push"),
    }
}

fn add(args: DistributorAdd, out: &mut Out) -> Done {
    if args.endpoint.is_some() {
        return not_yet("distributor add --endpoint");
    }
    let values = assignments(&args.set, &RESERVED)?;
    let tier = tier(args.tier)?;
    with_grid(out, |grid, _| {
        distributors::add(grid, &args.name, tier, &values)?;
        Ok(Code::OK)
    })
}

fn tier(number: u8) -> Result<Tier, Failure> {
    Tier::try_from(number).map_err(Failure::usage)
}

/// `tier 2 is searched in-order: lab-x, lab-y, tier2`.
fn sentence(searching: &Searching) -> String {
    format!("tier {} is searched {}: {}", searching.tier, searching.policy, searching.order.join(", "))
}

fn table(all: &[Entry]) -> Table {
    const TEXTS: [&str; 2] = ["policy", "endpoint"];
    const COUNTS: [&str; 4] = ["servers", "slots", "running", "waiting"];
    const COLUMNS: [&str; 8] = ["policy", "endpoint", "servers", "slots", "running", "waiting", "idle_cpus", "power"];
    let header = [
        "TIER", "NAME", "STATE", "SEARCH", "ENDPOINT", "SERVERS", "SLOTS", "RUNNING", "WAITING", "IDLE", "POWER",
        "DECLARED", "WHY",
    ];
    let mut table = Table::new(&header)
        .right(&["SERVERS", "SLOTS", "RUNNING", "WAITING", "IDLE", "POWER"])
        .spare(&["POWER", "IDLE", "ENDPOINT", "SLOTS", "SEARCH", "SERVERS", "RUNNING"]);
    for entry in all {
        let mut row = vec![
            entry.tier.map(|tier| tier.to_string()).unwrap_or_default(),
            entry.name.clone(),
            entry.state.to_owned(),
        ];
        row.extend(TEXTS.iter().chain(&COUNTS).map(|name| entries::cell(entry, name)));
        row.extend([entries::number(entry, "idle_cpus", 1), entries::number(entry, "power", 0)]);
        row.push(entries::others(entry, &COLUMNS));
        row.push(entry.reason.clone().unwrap_or_default());
        table.row(row);
    }
    table
}
