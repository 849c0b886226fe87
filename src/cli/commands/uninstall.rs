//! `grid uninstall`.

use super::super::args::UninstallArgs;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::CommandResult;
use super::remove::counted;
use crate::ops::OpsError;
use crate::ops::uninstall::{Uninstall, UninstallReport, Unreachable};

pub fn run(args: UninstallArgs, out: &mut Out) -> CommandResult {
    let cron = caller::cron().map_err(|error| OpsError::Grid(format!("this program's own path: {error}")))?;
    let find = if args.dry_run { Uninstall::look } else { Uninstall::find };
    let uninstall = find(&caller::places(), caller::client(), caller::ssh(), cron)?;
    uninstall.remark().iter().for_each(|remark| out.note(remark));
    let plan = uninstall.plan()?;
    if args.dry_run {
        return print(&plan, args.listing.json, out);
    }
    if let Some(words) = plan.refusal() {
        return Err(OpsError::Refused(words).into());
    }
    if !args.yes && is_anything(&plan) {
        let lines = lines(&plan).join("\n");
        match out.ask(&format!("{lines}\nRemove all of this?"), false)? {
            Some(true) => {}
            Some(false) => return Ok(Code::REFUSED),
            None => {
                let why = "there is no terminal to ask on: --dry-run shows what would be removed, --yes removes it";
                return Err(Failure::usage(why));
            }
        }
    }
    let unreachable = if args.leave_unreachable { Unreachable::Leave } else { Unreachable::Refuse };
    let done = uninstall.carry_out(unreachable)?;
    out.did("what grid made is removed", "the report");
    print(&done, args.listing.json, out)
}

fn is_anything(report: &UninstallReport) -> bool {
    report.found || !report.cron_lines.is_empty()
}

fn print(report: &UninstallReport, json: bool, out: &mut Out) -> CommandResult {
    if json {
        out.json(report)?;
    } else {
        lines(report).iter().try_for_each(|line| out.line(line))?;
    }
    if report.dry_run
        && let Some(words) = report.refusal()
    {
        out.note(&words);
        return Ok(Code::REFUSED);
    }
    Ok(Code::OK)
}

/// What is removed, what is lost with it, and what stays: a line each.
fn lines(report: &UninstallReport) -> Vec<String> {
    let (remove, tell, lose) =
        if report.dry_run { ("would remove", "would tell", "would be lost") } else { ("removed", "told", "lost") };
    let home = report.home.display();
    let mut lines = Vec::new();
    if report.found {
        lines.push(format!("{remove} the home {home}: {}, {}", counted(report.tasks, "task"), report.bytes));
    } else {
        lines.push(format!("there is no home in {home}"));
    }
    for host in &report.hosts {
        lines.push(match (&host.said, &host.error) {
            (Some(said), _) => format!("{}: {said}", host.host),
            (None, Some(_)) => host.line(),
            (None, None) => format!("{remove} {}", host.what),
        });
    }
    if !report.cron_lines.is_empty() {
        lines.push(format!("{remove} {} of the crontab", counted(report.cron_lines.len() as u64, "line")));
    }
    for tier in &report.first_tiers {
        lines.push(match &tier.error {
            None => format!("{tell} {} that {} leaves", tier.endpoint, tier.name),
            Some(error) => format!(
                "{} was not told that {} leaves: {error}; its owner runs `grid distributor remove {}`",
                tier.endpoint, tier.name, tier.name
            ),
        });
    }
    lines.extend(report.lost.iter().map(|what| format!("{lose}: {what}")));
    lines.extend(report.stays.iter().map(|what| format!("stays: {what}")));
    lines
}
