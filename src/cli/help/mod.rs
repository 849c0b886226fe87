//! What `--help` and the manual pages say behind the options: notes, examples, exit codes. One topic a command.

mod databases;
mod distributors;
mod home;
pub mod manual;
mod places;
mod servers;
mod tasks;
#[cfg(test)]
mod tests;

use super::args::Args;
use super::exit::Code;
use clap::{Command, CommandFactory};
use std::fmt::Write;

/// The texts of one command.
#[derive(Debug)]
pub struct Topic {
    /// The words after `grid`, as `server add`; empty for `grid` itself.
    pub command: &'static str,
    /// Paragraphs; a terminal may wrap them.
    pub notes: &'static str,
    /// Lines that can be pasted into a shell; never wrapped.
    pub examples: &'static [Example],
    /// Codes worth naming in `--help`, each with what it means here; an empty text stands for that of the table.
    pub exit: &'static [(Code, &'static str)],
}

/// A line for a shell.
#[derive(Debug)]
pub struct Example {
    pub line: &'static str,
    /// What it does, where the line does not say it.
    pub what: &'static str,
}

const fn example(line: &'static str) -> Example {
    Example { line, what: "" }
}

const fn explained(line: &'static str, what: &'static str) -> Example {
    Example { line, what }
}

/// All topics.
pub fn topics() -> impl Iterator<Item = &'static Topic> {
    [tasks::TOPICS, servers::TOPICS, databases::TOPICS, distributors::TOPICS, home::TOPICS].into_iter().flatten()
}

/// The topic of a command.
pub fn topic(command: &str) -> Option<&'static Topic> {
    topics().find(|topic| topic.command == command)
}

/// The whole command line with its topics; parsing does without them.
pub fn command() -> Command {
    with_topics(Args::command(), "")
}

fn with_topics(command: Command, path: &str) -> Command {
    let command = match topic(path) {
        Some(topic) => command.after_help(topic.text()),
        None => command,
    };
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        with_topics(below, path.trim_start())
    })
}

/// Help as clap renders it, with the examples whole.
pub fn unwrapped(rendered: &str) -> String {
    rendered.replace(NO_BREAK, " ")
}

/// clap wraps at spaces; an example has none until it is rendered.
const NO_BREAK: char = '\u{a0}';

impl Topic {
    /// The text behind the options; its examples are to be [`unwrapped`].
    fn text(&self) -> String {
        let mut text = String::new();
        let mut section = |title: &str, lines: String| {
            let gap = if text.is_empty() { "" } else { "\n\n" };
            let _ = write!(text, "{gap}{title}{}", lines.trim_end());
        };
        if !self.notes.is_empty() {
            section("", self.notes.to_owned());
        }
        if !self.examples.is_empty() {
            section("Examples:\n", self.examples.iter().map(Example::text).collect());
        }
        if !self.exit.is_empty() {
            let line = |(code, here): &(Code, &'static str)| format!("  {:>5}  {}\n", code.shown(), code.meaning(here));
            section("Exit codes:\n", self.exit.iter().map(line).collect());
        }
        text
    }
}

impl Example {
    fn text(&self) -> String {
        let line = self.line.replace(' ', &NO_BREAK.to_string());
        let what = if self.what.is_empty() { String::new() } else { format!("      {}\n", self.what) };
        format!("  {line}\n{what}")
    }
}
