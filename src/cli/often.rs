//! The verbs that scripts call thousands of times, and those that grid starts itself with while somebody waits, are parsed
//! by themselves: making all the others known to clap takes longer than all the rest of a submit's client.

use super::args::{self, Command, tasks};
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
enum Submit {
    Submit(Box<tasks::Submit>),
}

#[derive(Debug, Subcommand)]
enum Run {
    Run(Box<tasks::Run>),
}

#[derive(Debug, Subcommand)]
enum Dispatcher {
    #[command(subcommand)]
    Dispatcher(args::Dispatcher),
}

#[derive(Debug, Subcommand)]
enum Agent {
    Agent(args::Agent),
}

#[derive(Debug, Subcommand)]
enum Supervise {
    Supervise(args::Supervise),
}

#[derive(Debug, Subcommand)]
enum Serve {
    Serve(args::Serve),
}

/// The command, if it is one of these and nothing is wrong with it: complaints and help are those of the whole program.
pub fn parse(words: &[OsString]) -> Option<Command> {
    let verb = words.get(1)?.to_str()?;
    if let Some(task) = bare(words) {
        match verb {
            "submit" => return Some(Command::Submit(Box::new(tasks::Submit { task, ..tasks::Submit::default() }))),
            "run" => return Some(Command::Run(Box::new(tasks::Run { task, ..tasks::Run::default() }))),
            _ => {}
        }
    }
    match verb {
        "submit" => only(words).map(|Submit::Submit(submit)| Command::Submit(submit)),
        "run" => only(words).map(|Run::Run(run)| Command::Run(run)),
        "dispatcher" => only(words).map(|Dispatcher::Dispatcher(verb)| Command::Dispatcher(verb)),
        "agent" => only(words).map(|Agent::Agent(agent)| Command::Agent(agent)),
        "supervise" => only(words).map(|Supervise::Supervise(supervise)| Command::Supervise(supervise)),
        "serve" => only(words).map(|Serve::Serve(serve)| Command::Serve(serve)),
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
