//! `grid completions` and `grid man`.

use super::super::args::Args;
use super::super::exit::Code;
use super::super::failure::Failure;
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
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            out.text(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            let failed = |error| Failure::usage(format!("{}: {error}", dir.display()));
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(Args::command(), dir).map_err(failed)?;
        }
    }
    Ok(Code::OK)
}
