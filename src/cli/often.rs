//! The verbs that scripts and agents call thousands of times are parsed by themselves: making all the others known to
//! clap takes longer than all the rest of a submit's client.

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
enum Supervise {
    Supervise(args::Supervise),
}

/// The command, if it is one of these and nothing is wrong with it: complaints and help are those of the whole program.
pub fn parse(words: &[OsString]) -> Option<Command> {
    match words.get(1)?.to_str()? {
        "submit" => only(words).map(|Submit::Submit(submit)| Command::Submit(submit)),
        "run" => only(words).map(|Run::Run(run)| Command::Run(run)),
        "supervise" => only(words).map(|Supervise::Supervise(supervise)| Command::Supervise(supervise)),
        _ => None,
    }
}

fn only<V: Subcommand>(words: &[OsString]) -> Option<V> {
    // Taking it apart again would take as long as building it.
    let mut command = ManuallyDrop::new(Only::<V>::command());
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(words).ok()?);
    Only::from_arg_matches_mut(&mut matches).ok().map(|only| only.verb)
}
