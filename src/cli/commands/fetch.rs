//! `grid fetch`, and what `run`, `wait` and `submit --wait` say of files at their end.

use super::super::args::tasks::FetchArgs;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, with_grid};
use crate::ops::fetch::{self, ResultsToFetch};
use crate::ops::report::{FetchedFiles, Landing};
use crate::ops::selecting::{self, All};
use crate::ops::{Grid, OpsError};

pub fn run(args: FetchArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Any, args.everyone)?;
        if let Some(dir) = &args.to {
            let made = std::fs::create_dir_all(dir);
            made.map_err(|error| OpsError::Refused(format!("--to {}: {error}", dir.display())))?;
        }
        let to = args.to.as_deref().map(std::path::absolute).transpose().map_err(Failure::from)?;
        let all = fetch::fetch(grid, &what, to.as_deref(), ResultsToFetch::All)?;
        out.did("what the tasks brought back is unpacked", "the list of files");
        if args.json {
            out.json(&all)?;
        } else {
            for fetched in &all {
                list(fetched, out)?;
            }
        }
        for fetched in &all {
            say(fetched, out);
        }
        Ok(if all.iter().all(is_whole) { Code::OK } else { Code::REFUSED })
    })
}

/// Unpacks what is new at the end of a wait. A task that did well and whose files are not there did not do well.
pub fn bring(grid: &mut Grid, what: &[selecting::Chosen], code: Code, out: &mut Out) -> Result<FetchOutcome, Failure> {
    let all = fetch::fetch(grid, what, None, ResultsToFetch::New)?;
    for fetched in &all {
        say(fetched, out);
    }
    let code = if code == Code::OK && !all.iter().all(is_whole) { Code::GRID_FAILED } else { code };
    Ok(FetchOutcome { code, files: all })
}

/// What came of files at the end of a wait, and the code that the command ends with.
pub struct FetchOutcome {
    pub code: Code,
    pub files: Vec<FetchedFiles>,
}

fn is_whole(fetched: &FetchedFiles) -> bool {
    fetched.not_whole().is_none()
}

fn list(fetched: &FetchedFiles, out: &mut Out) -> Result<(), Failure> {
    for file in &fetched.files {
        match &file.landing {
            Landing::Written | Landing::Same => out.line(&file.path)?,
            Landing::Beside { name } => out.line(name)?,
            Landing::LeftOut { .. } | Landing::Refused { .. } => {}
        }
    }
    Ok(())
}

/// What is not as one would expect.
fn say(fetched: &FetchedFiles, out: &mut Out) {
    let id = &fetched.id;
    for remark in &fetched.remarks {
        out.note(&format!("task {id}: {remark}"));
    }
    for file in &fetched.files {
        match &file.landing {
            // A remark says it.
            Landing::Written | Landing::Same | Landing::LeftOut { .. } => {}
            Landing::Beside { name } => {
                out.note(&format!("{}: changed here since the submit; the task's is {name}", file.path));
            }
            Landing::Refused { why } => out.complain(&format!("{}: not unpacked: {why}", file.path)),
        }
    }
    if let Some(error) = &fetched.error {
        out.complain(&format!("task {id}: {error}"));
    }
}
