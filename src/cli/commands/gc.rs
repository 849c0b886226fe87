//! `grid gc`.

use super::super::args::Gc;
use super::super::exit::Code;
use super::super::output::Out;
use super::remove::counted;
use super::{CommandResult, with_grid};
use crate::model::clock::Reading;
use crate::model::resources::Bytes;
use crate::ops::gc;

pub fn run(args: Gc, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let asked = gc::GcRequest { dry_run: args.dry_run, trust_clock: args.trust_clock };
        let report = gc::gc(grid, asked, &Reading::now())?;
        report.clock_doubted_since.iter().for_each(|since| out.note(&gc::held_back(*since)));
        if !report.dry_run && report.clock_doubted_since.is_none() {
            out.did("what was old is removed", "the sums");
        }
        if args.listing.json {
            out.json(&report)?;
        } else if report.clock_doubted_since.is_none() {
            let verb = if report.dry_run { "would remove" } else { "removed" };
            out.line(&format!(
                "{verb} {}, {}, {} ({})",
                counted(report.tasks, "task"),
                counted(report.outputs, "small output"),
                counted(report.files, "file"),
                Bytes(report.bytes)
            ))?;
            if report.environments > 0 {
                out.line(&format!("erased the values of {}", counted(report.environments, "environment")))?;
            }
            for there in &report.there {
                let what = format!("{} ({})", outputs(there.attempts), Bytes(there.bytes));
                let server = &there.server;
                out.line(&match (there.waits, report.dry_run) {
                    (true, false) => {
                        format!("not yet removed on {server}, which does not answer: {what}; they are removed when it answers")
                    }
                    _ => format!("{verb} on {server}: {what}"),
                })?;
            }
        }
        Ok(Code::OK)
    })
}

fn outputs(count: u64) -> String {
    if count == 1 { "1 long output".to_owned() } else { format!("{count} long outputs") }
}
