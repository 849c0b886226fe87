//! `grid gc`.

use super::super::args::Gc;
use super::super::exit::Code;
use super::super::output::Out;
use super::{Done, with_grid};
use crate::model::resources::Bytes;
use crate::ops::gc;

pub fn run(args: Gc, out: &mut Out) -> Done {
    with_grid(out, |grid, out| {
        let report = gc::gc(grid, args.dry_run)?;
        if args.listing.json {
            out.json(&report)?;
        } else {
            let verb = if report.dry_run { "would remove" } else { "removed" };
            out.line(&format!(
                "{verb} {} tasks, {} small outputs, {} files ({})",
                report.tasks,
                report.outputs,
                report.files,
                Bytes(report.bytes)
            ))?;
        }
        Ok(Code::OK)
    })
}
