//! `grid hold` and `grid release`.

use super::super::args::tasks::ChosenArgs;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::report::TaskChange;
use crate::ops::selecting::{self, All};
use crate::ops::{hold as verb, release as opposite};

pub fn hold(args: ChosenArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Unended, args.everyone)?;
        print(&verb::hold(grid, &what)?, "held", args.json, out)?;
        Ok(Code::OK)
    })
}

pub fn release(args: ChosenArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Held, args.everyone)?;
        print(&opposite::release(grid, &what)?, "released", args.json, out)?;
        Ok(Code::OK)
    })
}

/// Silence is success; what is worth knowing goes to stderr. `done`: what was done to those that changed.
pub fn print(changes: &[TaskChange], done: &str, json: bool, out: &mut Out) -> Result<(), Failure> {
    if json {
        let changed: Vec<&str> = changes.iter().filter(|c| c.changed > 0).map(|c| c.id.as_str()).collect();
        if !changed.is_empty() {
            out.did(format!("{done}: {}", changed.join(" ")), "the report");
        }
        return out.json(changes);
    }
    for change in changes {
        if let Some(note) = &change.note {
            out.note(&format!("{}: {note}", change.id));
        }
    }
    Ok(())
}
