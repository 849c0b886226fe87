//! `grid retry`.

use super::super::args::tasks::RetryArgs;
use super::super::caller;
use super::super::output::Out;
use super::{CommandResult, hold, with_grid};
use crate::ops::retry;
use crate::ops::selecting::{self, All};

pub fn run(args: RetryArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.chosen.ids, All::Failed, args.chosen.everyone)?;
        let changes = retry::retry(grid, &what, args.failed, Some(&caller::submitter()))?;
        hold::print(&changes, "retried", args.chosen.json, out)?;
        Ok(hold::code(&args.chosen.ids, &changes))
    })
}
