//! `grid cancel`.

use super::super::args::tasks::CancelArgs;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::progress::Bar;
use super::{CommandResult, hold, with_grid};
use crate::ops::selecting::{self, All};
use crate::ops::{cancel, wait};

pub fn run(args: CancelArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Unended, args.everyone)?;
        let changes = if args.forget { cancel::forget(grid, &what)? } else { cancel::cancel(grid, &what, args.grace)? };
        hold::print(&changes, "cancel recorded", args.json, out)?;
        if changes.iter().any(|change| change.changed == 0 && !change.state.ended()) {
            return Ok(Code::REFUSED);
        }
        if args.wait {
            out.finish()?;
            let bar = Bar::new();
            // How they ended is not how the cancel went.
            wait::wait(grid, &what, &mut |told| bar.tell(told, out))?;
        }
        Ok(Code::OK)
    })
}
