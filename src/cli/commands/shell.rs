//! `grid completions` and `grid man`.

use super::super::args::Args;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::help::manual;
use super::super::output::Out;
use super::CommandResult;
use clap::CommandFactory;
use std::path::Path;

pub fn completions(shell: clap_complete::Shell, out: &mut Out) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "grid", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Code::OK)
}

pub fn man(dir: Option<&Path>, out: &mut Out) -> CommandResult {
    match dir {
        None => {
            let mut page = Vec::new();
            manual::page(&mut page)?;
            out.text(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            manual::pages(dir).map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))?;
        }
    }
    Ok(Code::OK)
}
