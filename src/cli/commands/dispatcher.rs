//! `grid dispatcher`.

use super::super::args::DispatcherCommand;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::{CommandResult, absolute, open};
use crate::ops::dispatcher as process;
use crate::ops::home::Home;
use crate::ops::report::DispatcherStatus;

pub fn run(verb: DispatcherCommand, out: &mut Out) -> CommandResult {
    if let DispatcherCommand::Serve { home, asked } = verb {
        // stderr is run/dispatcher.log.
        // A line that finds no room in the log must not end the dispatcher: its own words about that would panic.
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
        log.log_internal_errors(false).init();
        process::serve(&Home::at(absolute(&home)?), asked, caller::ssh(), &mut std::io::stdout())?;
        return Ok(Code::OK);
    }
    // Not through with_grid: asking must not start it, and what was stopped stays so until there is work.
    let mut grid = open(out)?;
    match verb {
        DispatcherCommand::Status(listing) => {
            let status = process::status(&mut grid)?;
            if listing.json { out.json(&status)? } else { print(&status, out)? }
        }
        DispatcherCommand::Start => {
            let status = process::start(&mut grid)?;
            out.did("the dispatcher runs", "its status");
            print(&status, out)?;
        }
        DispatcherCommand::Stop => {
            if !process::stop(&mut grid)? {
                out.note("the dispatcher was not running");
            }
        }
        DispatcherCommand::Serve { .. } => {}
    }
    Ok(Code::OK)
}

fn print(status: &DispatcherStatus, out: &mut Out) -> Result<(), Failure> {
    match status.pid {
        None => out.line("not running; it starts when there is work"),
        Some(pid) => out.line(&format!(
            "running as pid {pid}: {}, {}, {}, epoch {}",
            count(status.running, "task"),
            count(status.lanes, "lane"),
            count(status.links, "link"),
            status.epoch
        )),
    }?;
    status.ssh.as_ref().map_or(Ok(()), |ssh| out.line(&format!("logs in by {ssh}")))
}

/// `1 link`, `2 links`.
fn count(n: impl Into<u64>, what: &str) -> String {
    let n = n.into();
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
