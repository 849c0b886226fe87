//! `grid submit`.

use super::super::args::tasks::SubmitArgs;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::progress::Bar;
use super::{CommandResult, explain, fetch, typed, with_grid};
use crate::model::task::State;
use crate::ops::report::Submitted;
use crate::ops::submit::SubmitRequest;
use crate::ops::{members, submit, targets, wait};

pub fn run(args: SubmitArgs, out: &mut Out) -> CommandResult {
    let dry_run = args.task.dry_run;
    let draft = typed::draft(args.task, args.hold, out)?;
    if dry_run {
        return with_grid(out, |grid, out| {
            targets::unknown(grid, &draft)?.iter().for_each(|line| out.note(line));
            explain::print(&submit::dry_run(grid, draft, &caller::submitter())?, args.json, out)
        });
    }
    let submitter = caller::submitter();
    let mut request = SubmitRequest::new(caller::client(), draft)?;
    let mut accepted = request.submit_via_dispatcher(&caller::places(), &caller::ssh(), &submitter);
    request.remark.take().iter().for_each(|remark| out.note(remark));
    if let Some(accepted) = &mut accepted {
        accepted.report.notes.drain(..).for_each(|line| out.note(&line));
        say(&accepted.report, args.json, args.parsable, out)?;
        if !args.wait {
            return Ok(Code::OK);
        }
        out.finish()?;
        // Somebody who looks on is shown how far it is, from the database.
        if !Bar::is_shown()
            && let Some(code) = accepted.wait()
            && (code == 0 || accepted.report.size.is_none())
        {
            return Ok(Code(code));
        }
    }
    with_grid(out, |grid, out| {
        let report = match accepted {
            Some(accepted) => accepted.report,
            None => {
                targets::unknown(grid, &request.draft)?.iter().for_each(|line| out.note(line));
                let taken = submit::take_in(grid, &request)?;
                taken.notes.iter().for_each(|line| out.note(line));
                let mut report = submit::submit(grid, request, taken, &submitter)?;
                report.notes.drain(..).for_each(|line| out.note(&line));
                say(&report, args.json, args.parsable, out)?;
                report
            }
        };
        if !args.wait {
            return Ok(Code::OK);
        }
        // Whoever reads the id may act on it while we wait.
        out.finish()?;
        let what = submit::chosen(grid, &report)?;
        let bar = Bar::new();
        let waited = wait::wait(grid, &[what], &mut |told| bar.tell(told, out))?;
        drop(bar);
        members::failures(grid, &[what])?.iter().for_each(|failures| out.note(&failures.to_string()));
        Ok(fetch::bring(grid, &[what], Code(waited.code), out)?.code)
    })
}

fn say(report: &Submitted, json: bool, parsable: bool, out: &mut Out) -> Result<(), Failure> {
    out.did(format!("task {} is queued", report.id), "its id");
    match (json, parsable) {
        (true, _) => out.json(report),
        (_, true) => out.line(&report.id),
        _ => out.line(&sentence(report)),
    }
}

/// `12 on fast`, `12 PENDING: no server is free`, `12 PENDING in lab-x: no server fits now`.
fn sentence(report: &Submitted) -> String {
    let size = match report.size {
        None => String::new(),
        Some(1) => " (1 member)".to_owned(),
        Some(size) => format!(" ({size} members)"),
    };
    let reason = report.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    match (&report.server, report.state) {
        (Some(server), State::Pending | State::Running) => format!("{}{size} on {server}", report.id),
        (_, state) => format!("{}{size} {state}{}{reason}", report.id, report.in_words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentence on a task that waits, on this way and for this reason.
    fn said(route: [&str; 2], waits_in: Option<&str>, reason: Option<&str>) -> String {
        sentence(&Submitted {
            id: "5".to_owned(),
            uuid: String::new(),
            state: State::Pending,
            server: None,
            route: route.map(str::to_owned).to_vec(),
            waits_in: waits_in.map(str::to_owned),
            reason: reason.map(str::to_owned),
            size: None,
            notes: Vec::new(),
        })
    }

    #[test]
    fn distributor_is_named_with_and_without_a_reason_and_none_while_it_is_searched_for() {
        let (lab, full) = (Some("lab-x"), Some("no server fits now"));
        assert_eq!(said(["front-a", "lab-x"], lab, full), "5 PENDING in lab-x: no server fits now");
        assert_eq!(said(["front-a", "lab-x"], lab, None), "5 PENDING in lab-x");
        assert_eq!(said(["tier1", "tier2"], None, full), "5 PENDING: no server fits now");
        assert_eq!(said(["front-a", ""], None, None), "5 PENDING");
    }
}
