//! Talks to the person: reads the command line, calls a verb of `ops`, shows its report.

pub mod args;
mod caller;
mod commands;
pub mod exit;
mod failure;
pub mod help;
mod often;
mod output;
mod peers;

#[cfg(test)]
mod tests;

use crate::ops::home::tell_waits_by;
use args::{Args, SubCommand};
use clap::Parser;
use exit::{Code, Speaks};
use failure::Failure;
use output::Out;
use rustix::fs::Mode;
use rustix::process::umask;
use std::ffi::OsString;
use std::process::ExitCode;

/// The whole program: from the arguments to the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Others' bits are the umask's to take, not the owner's: what we make has to be opened again.
    let mask = umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
    umask(mask & (Mode::RWXG | Mode::RWXO));
    caller::note_umask(mask.as_raw_mode());
    let mut out = Out::standard();
    tell_waits_by(|words| Out::standard().note(words));
    let words = help_last(arguments.into_iter().collect());
    let command = match often::parse(&words) {
        Some(command) => command,
        None => match Args::try_parse_from(&words) {
            Ok(args) => args.command.unwrap_or_else(|| SubCommand::Status(args::tasks::StatusArgs::plain())),
            Err(error) if is_help(&error) => return show_help(words, &mut out).into(),
            Err(error) => return refused(&error, &words, &mut out).into(),
        },
    };
    let speaks = match &command {
        SubCommand::Run(_) | SubCommand::Wait(_) => Speaks::Task,
        SubCommand::Submit(submit) if submit.wait => Speaks::Task,
        _ => Speaks::Grid,
    };
    let done = commands::run(command, &mut out).and_then(|code| out.finish().map(|()| code));
    let signal = done.as_ref().err().and_then(Failure::signal);
    let code = done.unwrap_or_else(|failure| failure.tell(&mut out, speaks));
    if let Some(fault) = crate::model::zone::fault() {
        out.complain(fault);
    }
    signal.map_or(code, exit::by_signal).into()
}

/// `grid help submit` is `grid submit --help`.
fn help_last(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// Is it no complaint, but what was asked for, or what a group of verbs says without a verb?
fn is_help(error: &clap::Error) -> bool {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
    matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand)
}

/// Help with its topics, which parsing does without.
fn show_help(words: Vec<OsString>, out: &mut Out) -> Code {
    let Err(error) = help::command().try_get_matches_from(words) else { return Code::OK };
    let rendered = error.render();
    // A closed pipe is no complaint.
    if error.use_stderr() {
        out.talk(&help::unwrapped(&rendered.to_string()));
        return Code::USAGE;
    }
    let text = if out.look.bold { rendered.ansi().to_string() } else { rendered.to_string() };
    let _ = out.text(&help::unwrapped(&text)).and_then(|()| out.finish());
    Code::OK
}

/// A version is data; anything else is a complaint in clap's words and our form.
fn refused(error: &clap::Error, words: &[OsString], out: &mut Out) -> Code {
    if !error.use_stderr() {
        // clap knows whether stdout is a terminal; a closed pipe is no complaint.
        let _ = error.print();
        return Code::OK;
    }
    if let Some((word, verb)) = of_peer(error, words) {
        out.complain(&format!("no verb {word:?}; here it is {verb}"));
        return Code::USAGE;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.lines().map(clipped).collect::<Vec<_>>().join("\n");
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    out.complain(lines.next().unwrap_or("wrong usage"));
    for line in lines {
        out.complaint_below(line.trim_start());
    }
    Code::USAGE
}

/// The first word, if it is of another queue, and the verb that does it here.
fn of_peer<'w>(error: &clap::Error, words: &'w [OsString]) -> Option<(&'w str, &'static str)> {
    let word = words.get(1)?.to_str().filter(|_| error.kind() == clap::error::ErrorKind::InvalidSubcommand)?;
    Some((word, peers::verb(word)?))
}

/// clap repeats what was typed; its beginning is enough.
fn clipped(line: &str) -> String {
    const LONGEST: usize = 400;
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
