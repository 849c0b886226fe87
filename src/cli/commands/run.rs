//! `grid run`: submit, stream, exit with the task's code.

use super::super::args::tasks::Run;
use super::super::exit::Code;
use super::super::output::Out;
use super::{Done, explain, fetch, logs, typed, with_grid};
use crate::ops::{OpsError, follow, selecting, submit, targets};

pub fn run(args: Run, out: &mut Out) -> Done {
    let dry_run = args.task.dry_run;
    let draft = typed::draft(args.task, false, out)?;
    with_grid(out, |grid, out| {
        targets::unknown(grid, &draft)?.iter().for_each(|line| out.note(line));
        if dry_run {
            let report = submit::dry_run(grid, draft)?;
            return explain::print(&report, false, out);
        }
        let report = submit::submit(grid, draft)?;
        let word = report.id.parse().map_err(|error| OpsError::Grid(format!("{error}")))?;
        let what = selecting::select_one(grid, word, true)?;
        let ending = follow::run(grid, what, &mut |event| logs::give(out, event))?;
        fetch::bring(grid, &[what], Code(ending.code), out)
    })
}
