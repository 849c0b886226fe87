//! `grid server import`.

use super::super::args::servers::ServerImport;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::progress::Bar;
use super::super::output::table::Table;
use super::servers::declared;
use super::{CommandResult, with_grid};
use crate::ops::import::{self, ImportSource, Plan};
use crate::ops::report::Imported;

pub fn run(args: ServerImport, out: &mut Out) -> CommandResult {
    let from_stdin = args.names.iter().any(|name| name == "-");
    let names: Vec<String> = args.names.into_iter().filter(|name| name != "-").collect();
    if from_stdin && (args.config.is_some() || args.ansible.is_some()) {
        return Err(Failure::usage("`-` and a file: one list at a time"));
    }
    let source = match (from_stdin, args.ansible, args.config) {
        (true, ..) => ImportSource::Text(caller::stdin_text()?),
        (_, Some(file), _) => ImportSource::Ansible(file),
        (.., Some(file)) => ImportSource::SshConfig(file),
        _ => ImportSource::SshConfig(
            caller::ssh_config().ok_or_else(|| Failure::usage("HOME is not set; give --config"))?,
        ),
    };
    let declared = declared(args.declared)?;
    let (yes, json) = (args.yes || !names.is_empty(), args.listing.json);
    with_grid(out, |grid, out| {
        let plan = import::plan(grid, &source, &names)?;
        for (name, why) in &plan.skipped {
            out.note(&format!("{name}: passed over: {why}"));
        }
        if plan.servers.is_empty() {
            out.note("there is no host to add");
            if json {
                out.json(&[(); 0])?;
            }
            return Ok(Code::OK);
        }
        if !yes && !agreed(&plan, from_stdin, out)? {
            return Ok(Code::REFUSED);
        }
        let bar = Bar::new();
        let report = import::import(grid, &plan.servers, &declared, &mut |progress| bar.look(progress))?;
        drop(bar);
        tell(&report, json, out)
    })
}

/// Shows what would be added, and asks.
fn agreed(plan: &Plan, from_stdin: bool, out: &mut Out) -> Result<bool, Failure> {
    let mut table = Table::new(&["NAME", "HOST", "OPTIONS"]);
    for server in &plan.servers {
        table.row([server.name.to_string(), server.target.host().to_owned(), server.target.options().join(" ")]);
    }
    out.table(&table)?;
    let count = plan.servers.len();
    let these = if count == 1 { "this server".to_owned() } else { format!("these {count} servers") };
    match out.ask(&format!("Add {these}?"), from_stdin)? {
        Some(yes) => Ok(yes),
        None => Err(Failure::usage("there is no terminal to ask on: use --yes, or name the hosts")),
    }
}

fn tell(report: &[Imported], json: bool, out: &mut Out) -> CommandResult {
    let added: Vec<&str> = report.iter().filter(|r| r.added).map(|r| r.name.as_str()).collect();
    if !added.is_empty() {
        out.did(format!("added {}: {}", added.len(), added.join(" ")), "the report");
    }
    if json {
        out.json(report)?;
    }
    for one in report {
        if let Some(fault) = &one.fault {
            let remedy = fault.remedy.as_ref().map_or_else(String::new, |remedy| format!("; {remedy}"));
            out.note(&format!("{}: not added: {}: {}{remedy}", one.name, fault.step, fault.error));
        }
        if let Some(warning) = &one.warning {
            out.note(&format!("{}: added, but can't be probed: {warning}", one.name));
        }
        if let Some(remark) = &one.remark {
            out.note(&format!("{}: added, but {remark}", one.name));
        }
    }
    if !json {
        match added.as_slice() {
            [] => out.line("added none")?,
            names => out.line(&format!("added {}: {}", names.len(), names.join(" ")))?,
        }
    }
    let well = report.iter().all(|one| one.fault.is_none() && one.warning.is_none());
    Ok(if well { Code::OK } else { Code::REFUSED })
}
