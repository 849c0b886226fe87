//! `grid cron`.

use super::super::args::Cron;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::OpsError;
use crate::ops::cron::{self, CronReport};

pub fn run(verb: Cron, out: &mut Out) -> CommandResult {
    let caller = caller::cron().map_err(|error| OpsError::Grid(format!("this program's own path: {error}")))?;
    with_grid(out, |grid, out| match verb {
        Cron::Install(args) => {
            let report = cron::install(grid, &caller, args.every)?;
            out.did("the lines are in the crontab", "they");
            let said = if report.changed { "installed" } else { "installed already" };
            print(&report, args.listing.json, said, out)
        }
        Cron::Show(args) if args.systemd => {
            out.text(&cron::systemd(grid, &caller, args.every)?)?;
            Ok(Code::OK)
        }
        Cron::Show(args) => {
            let report = cron::show(grid, &caller)?;
            let said = if report.installed { "" } else { "not installed: `grid cron install`" };
            print(&report, args.listing.json, said, out)?;
            Ok(if report.installed { Code::OK } else { Code::REFUSED })
        }
        Cron::Remove => {
            let report = cron::remove(grid, &caller)?;
            out.did("no line of this grid is in the crontab", "the report");
            print(&report, false, if report.changed { "removed" } else { "there was nothing of this grid" }, out)
        }
    })
}

/// The lines as data, the rest as talk.
fn print(report: &CronReport, json: bool, said: &str, out: &mut Out) -> CommandResult {
    if json {
        out.json(report)?;
        return Ok(Code::OK);
    }
    report.lines.iter().try_for_each(|line| out.line(line))?;
    if !said.is_empty() {
        out.note(said);
    }
    report.notes.iter().for_each(|note| out.note(note));
    Ok(Code::OK)
}
