//! `grid hold` and `grid release`.

use super::super::args::tasks::ChosenArgs;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::model::selector::Selector;
use crate::ops::report::TaskChange;
use crate::ops::selecting::{self, All};
use crate::ops::{hold as verb, release as opposite};

pub fn hold(args: ChosenArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Unended, args.everyone)?;
        let changes = verb::hold(grid, &what)?;
        print(&changes, "held", args.json, out)?;
        Ok(code(&args.ids, &changes))
    })
}

pub fn release(args: ChosenArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Held, args.everyone)?;
        let changes = opposite::release(grid, &what)?;
        print(&changes, "released", args.json, out)?;
        Ok(code(&args.ids, &changes))
    })
}

/// A task that was named and is as it was is a refusal. Of `all` those on which it has no effect are only named.
pub fn code(words: &[Selector], changes: &[TaskChange]) -> Code {
    let named = words.iter().any(|word| *word != Selector::All);
    if named && changes.iter().any(|change| change.changed == 0) { Code::REFUSED } else { Code::OK }
}

/// Ids that a sentence names.
const NAMED: usize = 20;

/// `held: 12`, `queued again 25: 12.1 12.4 ..`.
fn sentence(done: &str, ids: &[&str]) -> String {
    let many = if ids.len() > 1 { format!(" {}", ids.len()) } else { String::new() };
    let more = if ids.len() > NAMED { " .." } else { "" };
    let named: Vec<&str> = ids.iter().take(NAMED).copied().collect();
    format!("{done}{many}: {}{more}", named.join(" "))
}

/// Tells what was done; what is worth knowing goes to stderr. `done`: what was done to those that changed.
pub fn print(changes: &[TaskChange], done: &str, json: bool, out: &mut Out) -> Result<(), Failure> {
    let changed: Vec<&str> = changes.iter().filter(|c| c.changed > 0).map(|c| c.id.as_str()).collect();
    if !changed.is_empty() {
        out.did(format!("{done}: {}", changed.join(" ")), "the report");
    }
    if json {
        return out.json(changes);
    }
    if !changed.is_empty() {
        out.line(&sentence(done, &changed))?;
    }
    for change in changes {
        if let Some(note) = &change.note {
            out.note(&format!("{}: {note}", change.id));
        }
    }
    Ok(())
}
