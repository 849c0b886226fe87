//! `grid cancel`.

use super::super::args::tasks::CancelArgs;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::progress::Bar;
use super::{CommandResult, hold, with_grid};
use crate::ops::report::TaskChange;
use crate::ops::selecting::{self, All};
use crate::ops::{cancel, wait};

pub fn run(args: CancelArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Unended, args.everyone)?;
        let changes = if args.forget { cancel::forget(grid, &what)? } else { cancel::cancel(grid, &what, args.grace)? };
        hold::print(&changes, "cancel asked", args.json, out)?;
        // A task whose cancel is recorded nowhere may never end.
        let refused = |change: &TaskChange| change.changed == 0 && !change.state.ended();
        let cancelled: Vec<_> =
            what.iter().zip(&changes).filter(|(_, change)| !refused(change)).map(|(chosen, _)| *chosen).collect();
        if args.wait && !cancelled.is_empty() {
            out.finish()?;
            let bar = Bar::new();
            // How they ended is not how the cancel went.
            wait::wait(grid, &cancelled, &mut |told| bar.tell(told, out))?;
        }
        Ok(if changes.iter().any(refused) { Code::REFUSED } else { Code::OK })
    })
}
