//! `grid distributor`.

use super::super::args::databases::{Allow, Distributor, DistributorAdd, Register};
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, entries, with_grid};
use crate::model::attribute::Source;
use crate::model::endpoint::Endpoint;
use crate::model::time::Timestamp;
use crate::ops::attributes::assignments;
use crate::ops::distributors::{self, RESERVED, Searching};
use crate::ops::registry::{self, RegistrationRequest, ReportState};
use crate::ops::report::DatabaseRow;

pub fn run(verb: Distributor, out: &mut Out) -> CommandResult {
    match verb {
        Distributor::Add(args) => add(args, out),
        Distributor::List(listing) => with_grid(out, |grid, out| {
            let table = |all: &[DatabaseRow]| table(all, Timestamp::now());
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
            let searching = distributors::order(grid, args.tier, &args.names)?;
            out.did("the order is set", "it");
            out.line(&sentence(&searching))?;
            Ok(Code::OK)
        }),
        Distributor::Search(args) => with_grid(out, |grid, out| {
            let searching = distributors::search(grid, args.tier, args.policy)?;
            out.did("the policy is set", "it");
            out.line(&sentence(&searching))?;
            Ok(Code::OK)
        }),
        Distributor::Register(args) => register(args, out),
        Distributor::Unregister(args) => {
            let with = args.with.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>, _>>()?;
            with_grid(out, |grid, out| {
                let told = registry::unregister(grid, &args.distributor, &with)?;
                for one in told.iter().filter(|one| one.farewell) {
                    if let Some(error) = &one.error {
                        out.note(&format!("{} is not told yet, and will be: {error}", one.endpoint));
                    }
                }
                Ok(Code::OK)
            })
        }
        Distributor::Allow(args) => allow(args, out),
        Distributor::Push(listing) => with_grid(out, |grid, out| {
            let sent = registry::push(grid)?;
            let code = told(&sent, listing.json, out)?;
            Ok(if sent.iter().any(|one| one.error.is_some()) { Code::REFUSED } else { code })
        }),
    }
}

fn add(args: DistributorAdd, out: &mut Out) -> CommandResult {
    let values = assignments(&args.set, &RESERVED)?;
    let endpoint = args.endpoint.as_deref().map(endpoint).transpose()?;
    with_grid(out, |grid, out| {
        let at = endpoint.as_ref().map(|endpoint| (endpoint, args.there.as_ref()));
        if let Some(warning) = distributors::add(grid, &args.name, args.tier, at, &values)? {
            out.note(&warning);
        }
        Ok(Code::OK)
    })
}

fn register(args: Register, out: &mut Out) -> CommandResult {
    let with = args.with.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>, _>>()?;
    let offers = args.endpoint.as_deref().map(endpoint).transpose()?;
    let on = registry::on(&args.on)?;
    with_grid(out, |grid, out| {
        let wish = RegistrationRequest {
            name: args.name,
            with,
            offers,
            to_all: args.to == "all",
            on,
            distributor: args.distributor,
        };
        let sent = registry::register(grid, &wish)?;
        told(&sent, false, out)
    })
}

fn allow(args: Allow, out: &mut Out) -> CommandResult {
    let endpoint = args.endpoint.as_deref().map(endpoint).transpose()?;
    with_grid(out, |grid, out| {
        if let Some(key) = registry::allow(grid, &args.name, endpoint.as_ref())? {
            out.did(format!("{} is allowed", args.name), "the line for authorized_keys");
            out.note(&format!("{} comes in here with its own key, in ~/.ssh/authorized_keys:", args.name));
            out.line(&key)?;
        }
        Ok(Code::OK)
    })
}

/// Who has the newest state, and who does not, and why.
fn told(sent: &[ReportState], json: bool, out: &mut Out) -> CommandResult {
    if !sent.is_empty() {
        out.did("the registrations are kept", "the report");
    }
    if json {
        out.json(sent)?;
        return Ok(Code::OK);
    }
    for one in sent {
        match &one.error {
            None if one.farewell => out.line(&format!("{} is told that {} has left", one.endpoint, one.name))?,
            None => {
                out.line(&format!("{} is reported to {} as {}{}", one.distributor, one.endpoint, one.name, one.remark))?
            }
            Some(error) => out.note(&format!("{} is not reported to {} yet: {error}", one.name, one.endpoint)),
        }
    }
    if sent.is_empty() {
        out.note("no distributor of this home is registered anywhere: grid distributor register");
    }
    Ok(Code::OK)
}

/// `ssh:HOST[:PATH]`, or a path, which may be relative where it is typed.
fn endpoint(text: &str) -> Result<Endpoint, Failure> {
    if text.starts_with("ssh:") {
        return text.parse().map_err(|error: crate::model::endpoint::BadEndpoint| Failure::usage(error.to_string()));
    }
    if !text.contains('/') {
        return Err(Failure::usage(format!("endpoint {text:?}: write a path, as ./{text}, or ssh:{text}")));
    }
    let path = std::path::absolute(text).map_err(|error| Failure::usage(format!("{text}: {error}")))?;
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    path.to_string_lossy()
        .parse()
        .map_err(|error: crate::model::endpoint::BadEndpoint| Failure::usage(error.to_string()))
}

/// `tier 2 is searched in-order: lab-x, lab-y, tier2`.
fn sentence(searching: &Searching) -> String {
    format!("tier {} is searched {}: {}", searching.tier, searching.policy, searching.order.join(", "))
}

/// The listing; `now` is what ages are counted from.
fn table(all: &[DatabaseRow], now: Timestamp) -> Table {
    const TEXTS: [&str; 2] = ["policy", "endpoint"];
    const COUNTS: [&str; 4] = ["servers", "slots", "running", "waiting"];
    const COLUMNS: [&str; 8] = ["policy", "endpoint", "servers", "slots", "running", "waiting", "idle_cpus", "power"];
    let header = [
        "TIER", "NAME", "STATE", "SEARCH", "ENDPOINT", "SERVERS", "SLOTS", "RUNNING", "WAITING", "IDLE", "POWER",
        "READ", "REPORTED", "DECLARED", "WHY",
    ];
    let mut table = Table::new(&header)
        .right(&["SERVERS", "SLOTS", "RUNNING", "WAITING", "IDLE", "POWER"])
        .spare(&["REPORTED", "POWER", "IDLE", "ENDPOINT", "SLOTS", "SEARCH", "SERVERS", "RUNNING"]);
    for entry in all {
        let mut row = vec![
            entry.tier.map(|tier| tier.to_string()).unwrap_or_default(),
            entry.name.clone(),
            entry.state.to_owned(),
        ];
        row.extend(TEXTS.iter().chain(&COUNTS).map(|name| entries::cell(entry, name)));
        row.extend([entries::number(entry, "idle_cpus", 1), entries::number(entry, "power", 0)]);
        // What is of this home is counted now; a report of another home has an age.
        row.push(entries::age(entry, &["reported"], now));
        row.push(entries::from(Source::Reported, entry, &COLUMNS));
        row.push(entries::from(Source::Declared, entry, &COLUMNS));
        row.push(entry.reason.clone().unwrap_or_default());
        table.row(row);
    }
    table
}
