//! Help is complete, its examples are whole, and they are what the parser takes.

use super::super::args::Args;
use super::{command, topics, unwrapped};
use clap::{Command, CommandFactory};

/// Every command with its path, also hidden ones.
fn all() -> Vec<(String, Command)> {
    fn walk(path: &str, command: &Command, into: &mut Vec<(String, Command)>) {
        into.push((path.to_owned(), command.clone()));
        for below in command.get_subcommands() {
            walk(format!("{path} {}", below.get_name()).trim_start(), below, into);
        }
    }
    let mut found = Vec::new();
    let mut whole = command();
    whole.build();
    walk("", &whole, &mut found);
    found
}

fn visible() -> impl Iterator<Item = (String, Command)> {
    let hidden = ["agent", "inherit", "supervise", "serve", "dispatcher serve"];
    all().into_iter().filter(move |(path, _)| !hidden.contains(&path.as_str()))
}

/// As a terminal of this width shows it.
pub fn rendered(command: &Command, width: usize) -> String {
    let mut command = command.clone().term_width(width);
    unwrapped(&command.render_long_help().to_string())
}

#[test]
fn every_command_and_argument_has_help() {
    for (path, command) in all() {
        assert!(command.get_about().is_some(), "grid {path}: no help");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "grid {path}: {} has no help", argument.get_id());
        }
    }
}

#[test]
fn every_command_has_one_topic_with_an_example_and_every_topic_a_command() {
    let commands: Vec<String> = visible().map(|(path, _)| path).collect();
    for path in &commands {
        let found: Vec<_> = topics().filter(|topic| topic.command == path).collect();
        assert_eq!(found.len(), 1, "topics of grid {path}");
        assert!(!found[0].examples.is_empty(), "grid {path}: no example");
    }
    for topic in topics() {
        assert!(commands.iter().any(|path| path == topic.command), "no command: grid {}", topic.command);
    }
}

#[test]
fn examples_stay_whole_at_every_width() {
    for (path, command) in visible() {
        for width in [40, 80, 100] {
            let help = rendered(&command, width);
            assert!(!help.contains(super::NO_BREAK), "grid {path}");
            for example in topics().filter(|topic| topic.command == path).flat_map(|topic| topic.examples) {
                let whole = help.lines().any(|line| line.trim() == example.line);
                assert!(whole, "grid {path} at {width}: {}\n{help}", example.line);
            }
        }
    }
}

#[test]
fn prose_of_help_is_wrapped() {
    for (path, command) in visible() {
        let Some(topic) = topics().find(|topic| topic.command == path) else { continue };
        let help = rendered(&command, 80);
        let is_example = |line: &str| topic.examples.iter().any(|example| example.line == line.trim());
        for line in help.lines().filter(|line| !is_example(line) && !line.starts_with("Usage:")) {
            assert!(line.chars().count() <= 80, "grid {path}: {line}");
        }
    }
}

#[test]
fn examples_are_parsed() {
    for topic in topics() {
        for example in topic.examples {
            let words = shlex::split(example.line).unwrap_or_else(|| panic!("{}", example.line));
            let from = words.iter().position(|word| word == "grid").unwrap_or_else(|| panic!("{}", example.line));
            let ends = |word: &String| ["|", ">", ">>", "<", ";"].contains(&word.as_str());
            let until = words[from..].iter().position(ends).map_or(words.len(), |at| from + at);
            let parsed = Args::command().try_get_matches_from(&words[from..until]);
            assert!(parsed.is_ok(), "{}: {}", example.line, parsed.unwrap_err());
        }
    }
}

#[test]
fn help_of_every_command() {
    for (path, command) in visible() {
        let name = format!("grid {path}").trim_end().replace(' ', "-");
        insta::assert_snapshot!(name, rendered(&command, 100));
    }
}
