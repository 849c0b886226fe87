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
    if verb == "inherit" {
        // The words behind it are those of a command.
        return Some(SubCommand::Inherit(args::InheritArgs { words: words.get(2..)?.to_vec() }));
    }
    if let Some(command) = switches_only(words) {
        return Some(command);
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

/// `submit` and `run` with nothing but switches before `--`: clap has nothing to parse there, and all behind `--` is the command.
fn switches_only(words: &[OsString]) -> Option<SubCommand> {
    let (verb, rest) = words.get(1..)?.split_first()?;
    let (switches, command) = rest.split_at(rest.iter().position(|word| word == "--")?);
    let command = command.get(1..).filter(|command| !command.is_empty())?.to_vec();
    let task = tasks::TaskOptions { command, ..tasks::TaskOptions::default() };
    match verb.to_str()? {
        "submit" => {
            let mut submit = tasks::SubmitArgs { task, ..tasks::SubmitArgs::default() };
            for switch in switches {
                let on = match switch.to_str()? {
                    "-H" | "--hold" => &mut submit.hold,
                    "-W" | "--wait" => &mut submit.wait,
                    "--parsable" => &mut submit.parsable,
                    "--json" => &mut submit.json,
                    _ => return None,
                };
                set_once(on)?;
            }
            (!(submit.parsable && submit.json)).then(|| SubCommand::Submit(Box::new(submit)))
        }
        "run" => {
            let mut run = tasks::RunArgs { task, ..tasks::RunArgs::default() };
            for switch in switches {
                set_once((switch == "--keep-going").then_some(&mut run.keep_going)?)?;
            }
            Some(SubCommand::Run(Box::new(run)))
        }
        _ => None,
    }
}

/// None if it was set before: clap complains of a switch that is written twice.
fn set_once(switch: &mut bool) -> Option<()> {
    (!std::mem::replace(switch, true)).then_some(())
}

fn only<V: Subcommand>(words: &[OsString]) -> Option<V> {
    // Taking it apart again would take as long as building it.
    let mut command = ManuallyDrop::new(Only::<V>::command());
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(words).ok()?);
    Only::from_arg_matches_mut(&mut matches).ok().map(|only| only.verb)
}
