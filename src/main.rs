//! Stands in for the command line until there is one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let result = match arguments.get(1).and_then(|a| a.to_str()) {
        Some("supervise") => grid::agent::supervise::supervise(Path::new(&arguments[2])),
        Some("agent") => agent(Path::new(&arguments[3])),
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn agent(spool: &Path) -> Result<(), grid::agent::AgentError> {
    grid::agent::close_inherited();
    let unfit = |e: std::io::Error| grid::agent::AgentError::Unfit(e.to_string());
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(unfit)?);
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(unfit)?);
    grid::agent::serve::serve(spool, input, output)
}
