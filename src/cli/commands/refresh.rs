//! `grid refresh` and `grid server refresh`.

use super::super::args;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::report::Refreshed;
use crate::ops::{dispatcher, gc, refresh};

/// For cron: quiet unless something is wrong.
pub fn all(args: args::RefreshArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let Some(report) = refresh::refresh_all(grid)? else {
            if args.listing.json {
                out.json(&[(); 0])?;
            }
            out.note("another refresh is running; this one does nothing");
            return Ok(Code::OK);
        };
        dispatcher::trouble(grid).iter().for_each(|trouble| out.note(trouble));
        gc::doubt(grid)?.iter().for_each(|words| out.note(words));
        print(&report, args.listing.json, out)
    })
}

pub fn some(args: args::servers::ServerRefreshArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let report = refresh::refresh(grid, &args.names)?;
        print(&report, args.listing.json, out)
    })
}

fn print(report: &[Refreshed], json: bool, out: &mut Out) -> Result<Code, Failure> {
    if json {
        out.did("the servers are read", "the report");
        out.json(report)?;
    }
    for server in report {
        if let Some(error) = &server.error {
            out.note(&format!("{}: {error}", server.name));
        }
    }
    Ok(if report.iter().any(|server| server.error.is_some()) { Code::REFUSED } else { Code::OK })
}
