//! `grid wait`.

use super::super::args::tasks::Wait;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::progress::Bar;
use super::{CommandResult, fetch, with_grid};
use crate::model::attempt::Stream;
use crate::model::selector::Selector;
use crate::ops::reader::Follower;
use crate::ops::selecting::{self, All};
use crate::ops::{members, wait};

pub fn run(args: Wait, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let words = if args.ids.is_empty() { vec![Selector::All] } else { args.ids };
        let what = selecting::select(grid, &words, All::Active, args.everyone)?;
        let bar = Bar::new();
        // A report has a reader; without one, the code is what is waited for.
        let reader = if args.json { Some(caller::reader(Stream::Out)?) } else { None };
        let follower = Follower { interrupts: None, reader: reader.as_ref() };
        let mut waited = wait::wait_until(grid, &what, &follower.stop()?, &mut |told| bar.tell(told, out))?;
        drop(bar);
        members::failures(grid, &what)?.iter().for_each(|failures| out.note(&failures.to_string()));
        follower.reader_gone()?;
        let brought = fetch::bring(grid, &what, Code(waited.code), out)?;
        (waited.code, waited.files) = (brought.code.0, brought.files);
        if args.json {
            out.json(&waited)?;
        }
        Ok(brought.code)
    })
}
