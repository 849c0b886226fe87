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
mod moving;
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
mod uninstall;
mod users;
mod wait;

use super::args::SubCommand;
use super::caller;
use super::exit::Code;
use super::failure::Failure;
use super::output::Out;
use crate::model::ambient::System;
use crate::model::open_files;
use crate::ops::{Grid, OpsError, dispatcher as process};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Every command's result.
type CommandResult = Result<Code, Failure>;

/// Carries out what was typed.
pub fn run(command: SubCommand, out: &mut Out) -> CommandResult {
    match command {
        SubCommand::Submit(args) => submit::run(*args, out),
        SubCommand::Run(args) => run::run(*args, out),
        SubCommand::Status(args) => status::run(args, out),
        SubCommand::Show(args) => show::run(args, out),
        SubCommand::Explain(args) => explain::run(args, out),
        SubCommand::Logs(args) => logs::run(args, out),
        SubCommand::Fetch(args) => fetch::run(args, out),
        SubCommand::Wait(args) => wait::run(args, out),
        SubCommand::Cancel(args) => cancel::run(args, out),
        SubCommand::Hold(args) => hold::hold(args, out),
        SubCommand::Release(args) => hold::release(args, out),
        SubCommand::Move(args) => moving::run(args, out),
        SubCommand::Retry(args) => retry::run(args, out),
        SubCommand::Remove(args) => remove::run(args, out),
        SubCommand::Server(verb) => servers::run(verb, out),
        SubCommand::User(verb) => users::run(verb, out),
        SubCommand::Task(verb) => profiles::run(verb, out),
        SubCommand::Client(verb) => clients::run(verb, out),
        SubCommand::Distributor(verb) => distributors::run(verb, out),
        SubCommand::Refresh(args) => refresh::all(args, out),
        SubCommand::Dispatcher(verb) => dispatcher::run(verb, out),
        SubCommand::Config(verb) => config::run(verb, out),
        SubCommand::Cron(verb) => cron::run(verb, out),
        SubCommand::Backup { file, no_env } => backup::backup(&file, no_env, out),
        SubCommand::Restore { file } => backup::restore(&file, out),
        SubCommand::Sql(args) => sql::run(args, out),
        SubCommand::Doctor(args) => doctor::run(args, out),
        SubCommand::Gc(args) => gc::run(args, out),
        SubCommand::Uninstall(args) => uninstall::run(args, out),
        SubCommand::Completions { shell } => shell::completions(shell, out),
        SubCommand::Man { dir } => shell::man(dir.as_deref(), out),
        SubCommand::Agent(args) => agent(args),
        SubCommand::Supervise(args) => supervise(&args),
        SubCommand::Inherit(args) => inherit(&args, out),
        SubCommand::Serve(args) => serve::run(args),
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
fn agent(args: super::args::AgentArgs) -> CommandResult {
    use crate::agent::place::AgentPlace;
    use std::os::fd::AsFd;
    args.files.iter().for_each(|files| open_files::handed_down(*files));
    let place = match (args.spool, args.link) {
        (Some(spool), _) => AgentPlace::At(absolute(&spool)?),
        (None, Some(key)) => AgentPlace::OfLink { key, dir: args.dir },
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
    crate::agent::serve::serve(&place, args.expecting, Rc::new(System), input, output)
        .map_err(|error| OpsError::Grid(format!("grid agent: {error}")))?;
    Ok(Code::OK)
}

/// Becomes the supervisor of a run.
fn supervise(args: &super::args::SuperviseArgs) -> CommandResult {
    args.files.iter().for_each(|files| open_files::keep_to(*files));
    crate::agent::supervise::supervise(&args.dir, Rc::new(System))
        .map_err(|error| OpsError::Grid(format!("grid supervise: {error}")))?;
    Ok(Code::OK)
}

/// Becomes a command; returns where it can't be executed.
fn inherit(args: &super::args::InheritArgs, out: &mut Out) -> CommandResult {
    let Err(not) = crate::agent::inheriting::become_program(&args.words);
    out.complain(&not.error);
    Ok(Code(not.code))
}

#[cfg(test)]
mod looks_test;
