//! `grid run`: submit, stream, exit with the task's code.

use super::super::args::tasks::RunArgs;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::log_lines;
use super::{CommandResult, explain, fetch, typed, with_grid};
use crate::model::attempt::Stream;
use crate::model::task::State;
use crate::ops::abandon::{Abandoned, abandon};
use crate::ops::interrupts::Interrupts;
use crate::ops::reader::Follower;
use crate::ops::selecting::Chosen;
use crate::ops::submit::SubmitRequest;
use crate::ops::{OpsError, follow, members, show, submit, targets};

pub fn run(args: RunArgs, out: &mut Out) -> CommandResult {
    let (dry_run, keep_going) = (args.task.dry_run, args.keep_going);
    let draft = typed::draft(args.task, false, out)?;
    if dry_run {
        return with_grid(out, |grid, out| {
            targets::unknown(grid, &draft)?.iter().for_each(|line| out.note(line));
            explain::print(&submit::dry_run(grid, draft, &caller::submitter())?, false, out)
        });
    }
    let reader = caller::reader(Stream::Out)?;
    let submitter = caller::submitter();
    let mut request = SubmitRequest::new(caller::client(), draft)?;
    // What is sent is packed first, and an interrupt of that ends us: nothing is submitted yet.
    let mut interrupts = (!request.has_files()).then(Interrupts::listen).transpose()?;
    let accepted = request.submit_via_dispatcher(&caller::places(), &caller::ssh(), &submitter);
    request.remark.take().iter().for_each(|remark| out.note(remark));
    with_grid(out, |grid, out| {
        let report = match accepted {
            Some(accepted) => accepted.report,
            None => {
                targets::unknown(grid, &request.draft)?.iter().for_each(|line| out.note(line));
                let taken = submit::take_in(grid, &request)?;
                taken.notes.iter().for_each(|line| out.note(line));
                if interrupts.is_none() {
                    interrupts = Some(Interrupts::listen()?);
                }
                submit::submit(grid, request, taken, &submitter)?
            }
        };
        report.notes.iter().for_each(|line| out.note(line));
        let mut interrupts = interrupts.map_or_else(Interrupts::listen, Ok)?;
        let what = submit::chosen(grid, &report)?;
        let follower = &mut Follower { interrupts: Some(&mut interrupts), reader: Some(&reader) };
        let ending = match follow::run(grid, what, follower, &mut |event| log_lines::give(out, event)) {
            Err(OpsError::Output(error)) => {
                let failure = Failure::from(error);
                // A full disk keeps us from telling the output, not the task from running.
                let keep_going = keep_going || !matches!(failure, Failure::Closed);
                say(what, abandon(grid, what, &reader, keep_going, &interrupts)?, out);
                return Err(failure);
            }
            Err(error @ OpsError::Interrupted { .. }) => return Err(error.into()),
            Err(error) => {
                // Whoever is told of a failure alone would submit it again, and it would run twice.
                out.note(&format!("task {what} is queued nevertheless: `grid wait {what}`, or `grid cancel {what}`"));
                return Err(error.into());
            }
            Ok(ending) => ending,
        };
        if ending.code == NOT_FOUND {
            show::hint(grid, what)?.iter().for_each(|hint| out.note(hint));
        }
        if report.size.is_some() {
            members::failures(grid, &[what])?.iter().for_each(|failures| out.note(&failures.to_string()));
        }
        let code = fetch::bring(grid, &[what], Code(ending.code), out)?.code;
        // A task that ended before the cancel reached it keeps its own code.
        match interrupts.cancelled_by().filter(|_| ending.state == State::Cancelled) {
            Some(signal) => Err(Failure::Cancelled { signal }),
            None => Ok(code),
        }
    })
}

/// The code of a shell for a command that was not found.
const NOT_FOUND: u8 = 127;

/// Nobody reads on: says what becomes of the task.
fn say(what: Chosen, abandoned: Abandoned, out: &mut Out) {
    let kept = format!("its output is kept: `grid logs -f {what}`, or `grid cancel {what}`");
    match abandoned {
        Abandoned::Ended => {}
        Abandoned::Cancelled { ended } => {
            let how = if ended { "was cancelled" } else { "is being cancelled" };
            out.note(&format!("task {what} {how}: the reader of its output has gone (--keep-going keeps it running)"));
        }
        Abandoned::KeptGoing => out.note(&format!("task {what} keeps running; {kept}")),
        Abandoned::SessionDropped => out.note(&format!("task {what} keeps running: the terminal has gone; {kept}")),
    }
}
