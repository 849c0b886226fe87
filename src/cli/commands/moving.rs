//! `grid move`.

use super::super::args::tasks::ChosenArgs;
use super::super::output::Out;
use super::{CommandResult, hold, with_grid};
use crate::model::selector::Selector;
use crate::ops::moving;
use crate::ops::selecting::{self, All};

pub fn run(args: ChosenArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let mut what = selecting::select(grid, &args.ids, All::Unended, args.everyone)?;
        if args.ids.contains(&Selector::All) {
            moving::retain_waiting(grid, &mut what)?;
        }
        let changes = moving::move_tasks(grid, &what)?;
        hold::print(&changes, "moved", args.json, out)?;
        Ok(hold::code(&args.ids, &changes))
    })
}
