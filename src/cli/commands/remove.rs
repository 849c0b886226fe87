//! `grid remove`.

use super::super::args::remove::Remove;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::model::selector::Selector;
use crate::model::time::Timestamp;
use crate::ops::remove::{self as verb, Removal, RemoveReport};
use crate::ops::selecting::{self, All};

pub fn run(args: Remove, out: &mut Out) -> CommandResult {
    if args.ids.is_empty() && !args.ended && args.older.is_none() {
        return Err(Failure::usage(
            "remove: say which tasks: 12, 12-15 or `last`, or --ended or --older 7d for all of yours that ended",
        ));
    }
    with_grid(out, |grid, out| {
        let before = args.older.map(|age| Timestamp::now().minus(age));
        let words = if args.ids.is_empty() { vec![Selector::All] } else { args.ids };
        let named = words.iter().any(|word| *word != Selector::All);
        let mut what = selecting::select(grid, &words, All::Ended, args.everyone)?;
        if let Some(before) = before {
            verb::retain_older(grid, &mut what, before)?;
        }
        let how = Removal {
            discard: args.discard,
            everywhere: args.everywhere,
            dry_run: args.dry_run,
            all_or_none: named,
            by_client: false,
        };
        let removed = verb::remove(grid, &what, how)?;
        if !removed.dry_run && !removed.tasks.is_empty() {
            out.did(format!("removed {}", counted(removed.tasks.len() as u64, "task")), "the report");
        }
        if args.json {
            out.json(&removed)?;
        } else {
            out.line(&sentence(&removed))?;
            for kept in &removed.kept {
                out.note(&format!("{} stays: {}", kept.id, kept.why));
            }
        }
        Ok(if named && !removed.kept.is_empty() { Code::REFUSED } else { Code::OK })
    })
}

/// `removed 3 tasks, 5 small outputs, 2 files (12.3M); 1.2G on servers`.
fn sentence(removed: &RemoveReport) -> String {
    let verb = if removed.dry_run { "would remove" } else { "removed" };
    let there = match removed.on_servers.0 {
        0 => String::new(),
        _ => format!("; {} on servers", removed.on_servers),
    };
    format!(
        "{verb} {}, {}, {} ({}){there}",
        counted(removed.tasks.len() as u64, "task"),
        counted(removed.outputs, "small output"),
        counted(removed.files, "file"),
        removed.bytes
    )
}

pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
