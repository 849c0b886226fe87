//! `grid logs`.

use super::super::args::tasks::Logs;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::log_lines::LogLines;
use super::{CommandResult, with_grid};
use crate::model::attempt::Stream;
use crate::ops::OpsError;
use crate::ops::follow;
use crate::ops::logs::{self, LogRequest};
use crate::ops::reader::Follower;
use crate::ops::selecting::{self, All};

pub fn run(args: Logs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let all = selecting::select(grid, &args.ids, All::Any, args.everyone)?;
        let streams = match (args.out, args.err) {
            (true, _) => vec![Stream::Out],
            (_, true) => vec![Stream::Err],
            _ => vec![Stream::Out, Stream::Err],
        };
        // It may be foreign text.
        out.colours_only();
        let mut lines = LogLines::new(args.tail, args.tag);
        if args.follow {
            let [what] = all.as_slice() else {
                return Err(Failure::usage("logs -f follows one task, one member or one array: 12, 12.3 or last"));
            };
            lines.of(&what.to_string(), out)?;
            let reader = caller::reader(if args.err { Stream::Err } else { Stream::Out })?;
            let follower = &mut Follower { interrupts: None, reader: Some(&reader) };
            follow::follow(grid, *what, &streams, follower, &mut |event| lines.give(event, out))?;
            lines.end(out)?;
            return Ok(Code::OK);
        }
        let wanted = LogRequest { streams, attempt: args.attempt };
        let mut failed = None;
        for what in &all {
            lines.of(&what.to_string(), out)?;
            if all.len() > 1 && !args.tag {
                out.heading(&format!("==> {what} <=="))?;
            }
            match logs::logs(grid, *what, &wanted, &mut |event| lines.give(event, out)) {
                Ok(()) => {}
                // The others have theirs.
                Err(error) if all.len() > 1 && !matches!(error, OpsError::Output(_)) => {
                    lines.end(out)?;
                    out.note(&error.to_string());
                    failed = Some(Code::REFUSED);
                }
                Err(error) => return Err(error.into()),
            }
        }
        lines.end(out)?;
        Ok(failed.unwrap_or(Code::OK))
    })
}
