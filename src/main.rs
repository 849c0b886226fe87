//! `grid`: everything is in the library; see lib.rs for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    grid::cli::run(std::env::args_os())
}
