//! The verbs that scripts call thousands of times, and those that grid starts itself with while somebody waits, are parsed
//! by themselves: making all the others known to clap takes longer than all the rest of a submit's client.

use super::args::{self, SubCommand, tasks};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::mem::ManuallyDrop;

/// `grid` with one verb.
#[derive(Debug, Parser)]
#[command(name = "grid", bin_name = "grid", disable_help_subcommand = true)]
struct Only<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
}

#[derive(Debug, Subcommand)]
enum QuickSubmit {
    Submit(Box<tasks::SubmitArgs>),
}

#[derive(Debug, Subcommand)]
enum QuickRun {
    Run(Box<tasks::RunArgs>),
}

#[derive(Debug, Subcommand)]
enum QuickDispatcher {
    #[command(subcommand)]
    Dispatcher(args::DispatcherCommand),
}

#[derive(Debug, Subcommand)]
enum QuickAgent {
    Agent(args::AgentArgs),
}

#[derive(Debug, Subcommand)]
enum QuickSupervise {
    Supervise(args::SuperviseArgs),
}

#[derive(Debug, Subcommand)]
enum QuickServe {
    Serve(args::ServeArgs),
}

/// The command, if it is one of these and nothing is wrong with it: complaints and help are those of the whole program.
pub fn parse(words: &[OsString]) -> Option<SubCommand> {
    let verb = words.get(1)?.to_str()?;
    if let Some(task) = bare(words) {
        match verb {
            "submit" => {
                return Some(SubCommand::Submit(Box::new(tasks::SubmitArgs { task, ..tasks::SubmitArgs::default() })));
            }
            "run" => return Some(SubCommand::Run(Box::new(tasks::RunArgs { task, ..tasks::RunArgs::default() }))),
            _ => {}
        }
    }
    match verb {
        "submit" => only(words).map(|QuickSubmit::Submit(submit)| SubCommand::Submit(submit)),
        "run" => only(words).map(|QuickRun::Run(run)| SubCommand::Run(run)),
        "dispatcher" => only(words).map(|QuickDispatcher::Dispatcher(verb)| SubCommand::Dispatcher(verb)),
        "agent" => only(words).map(|QuickAgent::Agent(agent)| SubCommand::Agent(agent)),
        "supervise" => only(words).map(|QuickSupervise::Supervise(supervise)| SubCommand::Supervise(supervise)),
        "serve" => only(words).map(|QuickServe::Serve(serve)| SubCommand::Serve(serve)),
        _ => None,
    }
}

/// All behind `--` is the command: where nothing stands before it, nothing has to be parsed.
fn bare(words: &[OsString]) -> Option<tasks::TaskOptions> {
    let (dashes, command) = words.get(2..)?.split_first()?;
    let is_bare = dashes == "--" && !command.is_empty();
    is_bare.then(|| tasks::TaskOptions { command: command.to_vec(), ..tasks::TaskOptions::default() })
}

fn only<V: Subcommand>(words: &[OsString]) -> Option<V> {
    // Taking it apart again would take as long as building it.
    let mut command = ManuallyDrop::new(Only::<V>::command());
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(words).ok()?);
    Only::from_arg_matches_mut(&mut matches).ok().map(|only| only.verb)
}
