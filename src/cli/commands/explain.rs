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
        let what = selecting::select_one(grid, &args.id, args.everyone)?;
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
    if let Some(at) = report.searched_at {
        out.line(&format!("tiers, as they answered {} ago:", short(at.age_at(Timestamp::now()))))?;
    }
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
    if !report.servers.is_empty() {
        out.table(&servers(report))?;
    }
    let more = report.left_out + report.servers.len().saturating_sub(SHOWN);
    if more > 0 {
        let all = if report.left_out == 0 { "; --json shows all" } else { "" };
        out.line(&format!("and {more} more server{}{all}", if more == 1 { "" } else { "s" }))?;
    }
    for change in &report.relaxed {
        out.line(change)?;
    }
    if let (Some(member), Some(id)) = (&report.elsewhere, &report.task) {
        out.line(&format!(
            "{member} could start it now: a task stays where it waits; `grid move {id}` takes it there"
        ))?;
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
            let at = chosen(report).map_or_else(String::new, |verdict| format!("{}/", verdict.distributor));
            format!("{task} would run on {at}{server} now{reason}")
        }
        (None, true) => format!("{task}{state}{}{reason}", report.in_words()),
        (None, false) => format!("{task} would wait{reason}"),
    }
}

/// The verdict on the server that is chosen. The member that would take it was asked last.
fn chosen(report: &Explained) -> Option<&ServerVerdict> {
    let server = report.chosen.as_deref()?;
    report.servers.iter().rfind(|verdict| verdict.server.as_str() == server)
}

/// So many servers are shown.
const SHOWN: usize = 20;

fn servers(report: &Explained) -> Table {
    let mut table = Table::new(&["SERVER", "FITS", "SCORE", "WHY"]);
    let chosen = chosen(report);
    let is_chosen = |verdict: &ServerVerdict| chosen.is_some_and(|chosen| std::ptr::eq(chosen, verdict));
    let mut all: Vec<&ServerVerdict> = report.servers.iter().collect();
    if all.len() > SHOWN {
        // The nearest first: of many servers few matter.
        all.sort_by_key(|verdict| {
            (!is_chosen(verdict), !verdict.qualifies, verdict.outlook, verdict.reasons.len(), &verdict.server)
        });
    }
    // A bare name is a server of this home.
    let several = report.remote.is_some() || all.iter().any(|verdict| verdict.distributor != all[0].distributor);
    for verdict in all.into_iter().take(SHOWN) {
        let of = if several { format!("{}/", verdict.distributor) } else { String::new() };
        table.row([
            format!("{of}{}", verdict.server),
            if is_chosen(verdict) {
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
