//! `grid run`: submit, stream, exit with the task's code.

use super::super::args::tasks::Run;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{Done, explain, fetch, logs, typed, with_grid};
use crate::ops::desk::Sheet;
use crate::ops::interrupts::Interrupts;
use crate::ops::{OpsError, follow, submit, targets};

pub fn run(args: Run, out: &mut Out) -> Done {
    let dry_run = args.task.dry_run;
    let draft = typed::draft(args.task, false, out)?;
    if dry_run {
        return with_grid(out, |grid, out| {
            targets::unknown(grid, &draft)?.iter().for_each(|line| out.note(line));
            explain::print(&submit::dry_run(grid, draft)?, false, out)
        });
    }
    let mut sheet = Sheet::new(caller::client(), draft)?;
    // What is sent is packed first, and an interrupt of that ends us: nothing is submitted yet.
    let mut interrupts = (!sheet.has_files()).then(Interrupts::listen).transpose()?;
    let handed_in = sheet.hand_in(&caller::places(), &caller::ssh());
    sheet.remark.take().iter().for_each(|remark| out.note(remark));
    with_grid(out, |grid, out| {
        let report = match handed_in {
            Some(handed_in) => handed_in.report,
            None => {
                targets::unknown(grid, &sheet.draft)?.iter().for_each(|line| out.note(line));
                let taken = submit::take_in(grid, &sheet)?;
                if interrupts.is_none() {
                    interrupts = Some(Interrupts::listen()?);
                }
                submit::submit(grid, sheet, taken)?
            }
        };
        let interrupts = interrupts.map_or_else(Interrupts::listen, Ok)?;
        let what = submit::chosen(grid, &report)?;
        let ended = follow::run(grid, what, interrupts, &mut |event| logs::give(out, event));
        if matches!(ended, Err(OpsError::Output(_))) && follow::goes_on(grid, what)? {
            out.note(&format!(
                "task {what} goes on, its output is kept: `grid logs -f {what}`, or `grid cancel {what}`"
            ));
        }
        let ending = ended?;
        fetch::bring(grid, &[what], Code(ending.code), out)
    })
}
