//! One file a verb: arguments to a request, report to the person.

mod backup;
mod cancel;
mod clients;
mod config;
mod cron;
mod dispatcher;
mod distributors;
mod doctor;
mod entries;
mod explain;
mod fetch;
mod gc;
mod hold;
mod import;
mod logs;
mod profiles;
mod refresh;
mod remove;
mod retry;
mod run;
mod serve;
mod servers;
mod shell;
mod show;
mod sql;
mod status;
mod submit;
mod typed;
mod users;
mod wait;

use super::args::Command;
use super::caller;
use super::exit::Code;
use super::failure::Failure;
use super::output::Out;
use crate::model::open_files;
use crate::ops::{Grid, OpsError, dispatcher as process};
use std::path::{Path, PathBuf};

/// Every command's result.
type CommandResult = Result<Code, Failure>;

/// Carries out what was typed.
pub fn run(command: Command, out: &mut Out) -> CommandResult {
    match command {
        Command::Submit(args) => submit::run(*args, out),
        Command::Run(args) => run::run(*args, out),
        Command::Status(args) => status::run(args, out),
        Command::Show(args) => show::run(args, out),
        Command::Explain(args) => explain::run(args, out),
        Command::Logs(args) => logs::run(args, out),
        Command::Fetch(args) => fetch::run(args, out),
        Command::Wait(args) => wait::run(args, out),
        Command::Cancel(args) => cancel::run(args, out),
        Command::Hold(args) => hold::hold(args, out),
        Command::Release(args) => hold::release(args, out),
        Command::Retry(args) => retry::run(args, out),
        Command::Remove(args) => remove::run(args, out),
        Command::Server(verb) => servers::run(verb, out),
        Command::User(verb) => users::run(verb, out),
        Command::Task(verb) => profiles::run(verb, out),
        Command::Client(verb) => clients::run(verb, out),
        Command::Distributor(verb) => distributors::run(verb, out),
        Command::Refresh(args) => refresh::all(args, out),
        Command::Dispatcher(verb) => dispatcher::run(verb, out),
        Command::Config(verb) => config::run(verb, out),
        Command::Cron(verb) => cron::run(verb, out),
        Command::Backup { file } => backup::backup(&file, out),
        Command::Restore { file } => backup::restore(&file, out),
        Command::Sql(args) => sql::run(args, out),
        Command::Doctor(args) => doctor::run(args, out),
        Command::Gc(args) => gc::run(args, out),
        Command::Completions { shell } => shell::completions(shell, out),
        Command::Man { dir } => shell::man(dir.as_deref(), out),
        Command::Agent(args) => agent(args),
        Command::Supervise(args) => supervise(&args),
        Command::Serve(args) => serve::run(args),
    }
}

/// Opens the home, does the work, and leaves the dispatcher awake where there is something for it to do.
fn with_grid(out: &mut Out, work: impl FnOnce(&mut Grid, &mut Out) -> CommandResult) -> CommandResult {
    let mut grid = open(out)?;
    let done = work(&mut grid, out).map_err(|failure| failure.in_home(&grid));
    let done = done.and_then(|code| out.finish().map(|()| code));
    // What was asked for is done, also if nobody reads it; that nothing starts now is worth a word, not a failure.
    if let Err(error) = process::wake(&mut grid)
        && !done.as_ref().is_err_and(|failure| failure.says(&error))
    {
        out.note(&format!("dispatcher: {error}"));
    }
    done
}

/// Opens the home; the first command founds it.
fn open(out: &mut Out) -> Result<Grid, Failure> {
    let grid = Grid::open(&caller::places(), caller::client(), caller::ssh())?;
    if let Some(remark) = &grid.remark {
        out.note(remark);
    }
    Ok(grid)
}

/// A path that stays right wherever the process goes.
fn absolute(path: &Path) -> Result<PathBuf, OpsError> {
    std::path::absolute(path).map_err(|error| OpsError::Usage(format!("{}: {error}", path.display())))
}

/// Becomes the agent: frames on stdin and stdout.
fn agent(args: super::args::Agent) -> CommandResult {
    use crate::agent::place::Place;
    use std::os::fd::AsFd;
    args.files.iter().for_each(|files| open_files::handed_down(*files));
    let place = match (args.spool, args.link) {
        (Some(spool), _) => Place::At(absolute(&spool)?),
        (None, Some(key)) => Place::OfLink { key, dir: args.dir },
        (None, None) => return Err(Failure::usage("grid agent: where?")),
    };
    crate::agent::close_inherited();
    // We hold nobody's directory. Over ssh this is the login's own.
    if !place.is_remote() {
        let _ = std::env::set_current_dir("/");
    }
    let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(std::fs::File::from);
    let ends = own(std::io::stdin().as_fd()).and_then(|input| Ok((input, own(std::io::stdout().as_fd())?)));
    let (input, output) = ends.map_err(|error| OpsError::Grid(format!("grid agent has no stdio: {error}")))?;
    crate::agent::serve::serve(&place, args.expecting, input, output)
        .map_err(|error| OpsError::Grid(format!("grid agent: {error}")))?;
    Ok(Code::OK)
}

/// Becomes the supervisor of a run.
fn supervise(args: &super::args::Supervise) -> CommandResult {
    args.files.iter().for_each(|files| open_files::keep_to(*files));
    crate::agent::supervise::supervise(&args.dir)
        .map_err(|error| OpsError::Grid(format!("grid supervise: {error}")))?;
    Ok(Code::OK)
}

#[cfg(test)]
mod looks_test;
