//! `grid logs`.

use super::super::args::tasks::Logs;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::{Done, with_grid};
use crate::model::attempt::Stream;
use crate::ops::follow::{self, Event};
use crate::ops::logs::{self, Wanted};
use crate::ops::reader::Follower;
use crate::ops::selecting;

pub fn run(args: Logs, out: &mut Out) -> Done {
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
            let wanted = Wanted { streams, attempt: args.attempt };
            logs::logs(grid, what, &wanted, &mut |event| give(out, event))?;
        }
        Ok(Code::OK)
    })
}

/// The task's stdout on ours, its stderr on ours, talk on stderr.
pub fn give(out: &mut Out, event: Event<'_>) -> std::io::Result<()> {
    match event {
        Event::Output { stream: Stream::Out, bytes, .. } => out.task_stdout(bytes),
        Event::Output { stream: Stream::Err, bytes, .. } => out.task_stderr(bytes),
        Event::Member(task, index) => out.heading(&format!("==> {task}.{index} <==")),
        Event::Note(text) => {
            out.note(text);
            Ok(())
        }
        Event::Still => Ok(()),
    }
}
