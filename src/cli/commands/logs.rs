//! `grid logs`.

use super::super::args::tasks::Logs;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::model::attempt::Stream;
use crate::ops::follow::{self, FollowEvent};
use crate::ops::logs::{self, LogRequest};
use crate::ops::reader::Follower;
use crate::ops::selecting;

pub fn run(args: Logs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select_one(grid, args.id, args.everyone)?;
        let streams = match (args.out, args.err) {
            (true, _) => vec![Stream::Out],
            (_, true) => vec![Stream::Err],
            _ => vec![Stream::Out, Stream::Err],
        };
        if args.follow {
            let reader = caller::reader(if args.err { Stream::Err } else { Stream::Out })?;
            let follower = &mut Follower { interrupts: None, reader: Some(&reader) };
            follow::follow(grid, what, &streams, follower, &mut |event| give(out, event))?;
        } else {
            let wanted = LogRequest { streams, attempt: args.attempt };
            logs::logs(grid, what, &wanted, &mut |event| give(out, event))?;
        }
        Ok(Code::OK)
    })
}

/// The task's stdout on ours, its stderr on ours, talk on stderr.
pub fn give(out: &mut Out, event: FollowEvent<'_>) -> std::io::Result<()> {
    match event {
        FollowEvent::Output { stream: Stream::Out, bytes, .. } => out.task_stdout(bytes),
        FollowEvent::Output { stream: Stream::Err, bytes, .. } => out.task_stderr(bytes),
        FollowEvent::Member(task, index) => out.heading(&format!("==> {task}.{index} <==")),
        FollowEvent::Note(text) => {
            out.note(text);
            Ok(())
        }
        FollowEvent::Waits { task, place, reason } => {
            let place = place.map_or_else(String::new, |distributor| format!(" in {distributor}"));
            out.note(&format!("task {task} waits{place}: {reason}"));
            Ok(())
        }
        FollowEvent::NeverStarted { task, state } => {
            out.note(&format!("{task} has no output: it never started ({state})"));
            Ok(())
        }
        FollowEvent::Still => Ok(()),
    }
}
