//! A command that is used in place of `ssh`: a program with its options, in one line, as a person names it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A command line for ssh, quoted as for a shell. Its paths are absolute, because the dispatcher runs in `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SshCommand(pub String);

/// A command line that a shell could not split, or an empty one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no command line: a quote is left open, or it is empty")]
pub struct BadCommandLine(pub String);

/// Options of ssh(1) whose value is a file.
const FILES: &str = "EFIiS";
/// Options of ssh(1) with another value.
const VALUES: &str = "BbcDeJLlmOopQRWw";

impl Default for SshCommand {
    fn default() -> Self {
        Self("ssh".to_owned())
    }
}

impl SshCommand {
    /// A command as it was typed in `dir`: relative paths become absolute. A line that can't be split stays as it is.
    pub fn typed(line: &str, dir: &Path) -> Self {
        let words = Self(line.to_owned()).words();
        let absolute = words.ok().map(|words| absolute(&words, dir)).filter(|(_, changed)| *changed);
        let joined = absolute.and_then(|(words, _)| shlex::try_join(words.iter().map(String::as_str)).ok());
        Self(joined.unwrap_or_else(|| line.trim().to_owned()))
    }

    /// The program and its options.
    pub fn words(&self) -> Result<Vec<String>, BadCommandLine> {
        let words = shlex::split(&self.0).filter(|words| !words.is_empty());
        words.ok_or_else(|| BadCommandLine(self.0.clone()))
    }
}

impl fmt::Display for SshCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of the word after an option.
#[derive(Clone, Copy)]
enum OptionValue {
    File,
    /// `Name=value` of `-o`.
    Setting,
    Value,
}

/// The words with absolute paths, and whether any was relative.
fn absolute(words: &[String], dir: &Path) -> (Vec<String>, bool) {
    let mut next = None;
    let all: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| match next.take() {
            Some(OptionValue::File) => file(word, dir),
            Some(OptionValue::Setting) => setting(word, dir),
            Some(OptionValue::Value) => word.clone(),
            None if word.starts_with('-') && !word.starts_with("--") => {
                let (word, behind) = option(word, dir);
                next = behind;
                word
            }
            // The program, and paths among the arguments of a wrapper.
            None if at == 0 && word.contains('/') => join(word, dir),
            None => dotted(word, dir),
        })
        .collect();
    let changed = all != words;
    (all, changed)
}

/// One word of options with absolute paths, and the kind of the next word.
fn option(word: &str, dir: &Path) -> (String, Option<OptionValue>) {
    let valued = |c: char| c != '-' && (FILES.contains(c) || VALUES.contains(c));
    let Some(at) = word.find(valued) else { return (word.to_owned(), None) };
    let (head, value) = word.split_at(at + 1);
    let kind = match &head[at..] {
        "o" => OptionValue::Setting,
        letter if FILES.contains(letter) => OptionValue::File,
        _ => OptionValue::Value,
    };
    if value.is_empty() {
        return (word.to_owned(), Some(kind));
    }
    let value = match kind {
        OptionValue::File => file(value, dir),
        OptionValue::Setting => setting(value, dir),
        OptionValue::Value => value.to_owned(),
    };
    (format!("{head}{value}"), None)
}

/// A file of an option, made absolute. `none`, `~/key` and `%d/key` are left to ssh.
fn file(word: &str, dir: &Path) -> String {
    let plain = !word.starts_with(['/', '~', '%', '$']);
    if plain && (word.contains('/') || dir.join(word).exists()) { join(word, dir) } else { word.to_owned() }
}

fn setting(word: &str, dir: &Path) -> String {
    match word.split_once(['=', ' ']) {
        Some((name, value)) => format!("{name}{}{}", &word[name.len()..=name.len()], dotted(value, dir)),
        None => word.to_owned(),
    }
}

/// A word made absolute if it is `./x` or `../x`: only these are certainly paths.
fn dotted(word: &str, dir: &Path) -> String {
    if word.starts_with("./") || word.starts_with("../") { join(word, dir) } else { word.to_owned() }
}

fn join(word: &str, dir: &Path) -> String {
    let path = dir.join(word.strip_prefix("./").unwrap_or(word));
    path.to_str().map_or_else(|| word.to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_become_those_of_the_directory_in_which_it_was_typed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), "").unwrap();
        let at = dir.path().to_str().unwrap();
        for (line, expected) in [
            ("ssh", "ssh".to_owned()),
            ("ssh -p 22 -l me", "ssh -p 22 -l me".to_owned()),
            ("ssh -F ./config", format!("ssh -F {at}/config")),
            ("ssh -F config", format!("ssh -F {at}/config")),
            ("ssh -F ./missing", format!("ssh -F {at}/missing")),
            ("ssh -vFconfig -p config", format!("ssh -vF{at}/config -p config")),
            ("ssh -F /etc/x -i ~/.ssh/key -S none", "ssh -F /etc/x -i ~/.ssh/key -S none".to_owned()),
            ("bin/ssh", format!("{at}/bin/ssh")),
            ("sshpass -f ./secret ssh", format!("sshpass -f {at}/secret ssh")),
            (
                "ssh -o UserKnownHostsFile=./known -oIdentityFile=config",
                format!("ssh -o 'UserKnownHostsFile={at}/known' '-oIdentityFile=config'"),
            ),
            ("ssh -F 'open", "ssh -F 'open".to_owned()),
        ] {
            assert_eq!(SshCommand::typed(line, dir.path()).0, expected, "{line}");
        }
        let spaced = SshCommand::typed("ssh -F './my config'", dir.path());
        assert_eq!(spaced.words().unwrap(), ["ssh", "-F", &format!("{at}/my config")]);
    }

    #[test]
    fn a_line_that_can_t_be_split_says_so() {
        for bad in ["", "  ", "ssh -F 'open"] {
            assert!(SshCommand(bad.to_owned()).words().is_err(), "{bad:?}");
        }
    }
}
