//! `grid explain`, and what a dry run says.

use super::super::args::tasks::Explain;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, with_grid};
use crate::model::time::{Timestamp, short};
use crate::ops::report::{Explained, ServerVerdict};
use crate::ops::{explain, selecting};

pub fn run(args: Explain, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select_one(grid, args.id, args.everyone)?;
        let report = explain::explain(grid, what)?;
        print(&report, args.json, out)
    })
}

/// The report for people: the outcome, each tier, each server.
pub fn print(report: &Explained, json: bool, out: &mut Out) -> CommandResult {
    if json {
        out.json(report)?;
        return Ok(Code::OK);
    }
    out.line(&headline(report))?;
    for tier in &report.tiers {
        for answer in &tier.searched {
            out.line(&format!("tier {}  {}: {}", tier.tier, answer.distributor, answer.answer))?;
        }
        if tier.searched.is_empty() {
            out.line(&format!("tier {}  no search is noted", tier.tier))?;
        }
    }
    if let Some(at) = report.judged_at {
        out.line(&format!("servers, as judged {} ago:", short(at.age_at(Timestamp::now()))))?;
    }
    out.table(&servers(report))?;
    if report.left_out > 0 {
        out.line(&format!("and {} more servers", report.left_out))?;
    }
    for change in &report.relaxed {
        out.line(change)?;
    }
    for (at, what) in &report.steps {
        out.line(&format!("{}  {what}", at.local()))?;
    }
    Ok(Code::OK)
}

fn headline(report: &Explained) -> String {
    let task = report.task.as_ref().map_or_else(|| "it".to_owned(), |id| format!("task {id}"));
    let state = report.state.map_or_else(String::new, |state| format!(" is {state}"));
    let reason = report.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    match (&report.chosen, report.task.is_some()) {
        (Some(server), true) => {
            let at = report.remote.as_ref().map_or_else(String::new, |remote| format!("{}/", remote.distributor));
            format!("{task}{state} on {at}{server}{reason}")
        }
        (Some(server), false) => {
            // As `-w` takes it: it may be a server of another home.
            let of = report.servers.iter().find(|verdict| verdict.server.as_str() == server);
            let at = of.map_or_else(String::new, |verdict| format!("{}/", verdict.distributor));
            format!("{task} would run on {at}{server} now{reason}")
        }
        (None, true) => format!("{task}{state}{reason}"),
        (None, false) => format!("{task} would wait{reason}"),
    }
}

fn servers(report: &Explained) -> Table {
    let mut table = Table::new(&["SERVER", "FITS", "SCORE", "WHY"]);
    for verdict in &report.servers {
        let chosen = report.chosen.as_deref() == Some(verdict.server.as_str());
        table.row([
            verdict.server.to_string(),
            if chosen {
                "chosen"
            } else if verdict.qualifies {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            score(verdict),
            verdict.reasons.join("; "),
        ]);
    }
    table
}

fn score(verdict: &ServerVerdict) -> String {
    verdict.score.map_or_else(String::new, |score| format!("{score:.2}"))
}
