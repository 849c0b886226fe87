//! What a task executes: arguments as bytes, a working directory, an environment.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Bytes without NUL, as `execve` takes them; need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(#[serde(with = "serde_bytes")] Vec<u8>);

impl Text {
    /// The text as the operating system's string.
    pub fn as_os(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A text of bytes without NUL, from a database or a checked message.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (!bytes.contains(&0)).then_some(Self(bytes))
    }

    /// The text for people: UTF-8, with invalid bytes replaced.
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_os().fmt(f)
    }
}

impl From<OsString> for Text {
    /// The operating system's strings come from C and hold no NUL.
    fn from(text: OsString) -> Self {
        Self(text.into_vec())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// The longest single argument on Linux: MAX_ARG_STRLEN less the final NUL (execve(2)).
pub const ARGUMENT_MAX: usize = 128 * 1024 - 1;
/// The largest size of arguments and environment together; the kernel's limit is a quarter of the stack (8 MiB / 4).
pub const ARGUMENTS_MAX: usize = 1 << 20;

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    #[error("no command: put it after `--`, as in `grid submit -- echo hi`")]
    Empty,
    #[error("argument {0} holds a NUL byte, which no program can be given")]
    Nul(usize),
    #[error(
        "argument {at} is {len} bytes long; the system executes at most {ARGUMENT_MAX} in one argument: pass it in a file or with --stdin"
    )]
    LongArgument { at: usize, len: usize },
    #[error(
        "the arguments are {0} bytes together; at most {ARGUMENTS_MAX} are taken: pass them in a file or with --stdin"
    )]
    LongTotal(usize),
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(Vec<Text>);

impl Command {
    /// Makes a command, checked before anything is queued.
    pub fn new(arguments: Vec<Text>) -> Result<Self, BadCommand> {
        let command = Self(arguments);
        command.check()?;
        Ok(command)
    }

    /// Checks that it can be executed: a command that was decoded or read was not made by [`Command::new`].
    pub fn check(&self) -> Result<(), BadCommand> {
        if self.0.first().is_none_or(|program| program.0.is_empty()) {
            return Err(BadCommand::Empty);
        }
        for (at, argument) in self.0.iter().enumerate() {
            if argument.0.contains(&0) {
                return Err(BadCommand::Nul(at));
            }
            if argument.0.len() > ARGUMENT_MAX {
                return Err(BadCommand::LongArgument { at, len: argument.0.len() });
            }
        }
        let total = self.0.iter().map(|a| a.0.len() + 9).sum();
        if total > ARGUMENTS_MAX {
            return Err(BadCommand::LongTotal(total));
        }
        Ok(())
    }

    /// The longest line that can stand for `{}` in these arguments and for GRID_ENTRY.
    pub fn entry_max(&self) -> usize {
        let places = |argument: &Text| argument.0.windows(2).filter(|two| two == b"{}").count();
        let room = |limit: usize, taken: usize, places: usize| (limit.saturating_sub(taken) / places).saturating_add(2);
        let mut longest = ARGUMENT_MAX - "GRID_ENTRY=".len();
        for argument in self.0.iter().filter(|argument| places(argument) > 0) {
            longest = longest.min(room(ARGUMENT_MAX, argument.0.len(), places(argument)));
        }
        let all: usize = self.0.iter().map(places).sum();
        let total = self.0.iter().map(|a| a.0.len() + 9).sum();
        if all > 0 { longest.min(room(ARGUMENTS_MAX, total, all)) } else { longest }
    }

    /// Program first.
    pub fn arguments(&self) -> &[Text] {
        &self.0
    }

    /// The arguments joined by NUL, as the database stores them.
    pub fn to_blob(&self) -> Vec<u8> {
        self.0.iter().map(|a| a.as_bytes()).collect::<Vec<_>>().join(&0)
    }

    /// Reads the result of [`Command::to_blob`].
    pub fn from_blob(blob: &[u8]) -> Self {
        Self(blob.split(|b| *b == 0).map(|part| Text(part.to_vec())).collect())
    }

    /// One line that a shell would read back to the same arguments, control characters escaped.
    pub fn shown(&self) -> String {
        self.0.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// The same of a member with this line.
    pub fn shown_for(&self, entry: &Text) -> String {
        let fill = |argument: &Text| Text(fill(argument.as_bytes(), Some(entry.as_bytes())).into_owned());
        Self(self.0.iter().map(fill).collect()).shown()
    }
}

/// Every `{}` of an argument becomes the entry.
pub fn fill<'a>(argument: &'a [u8], entry: Option<&[u8]>) -> Cow<'a, [u8]> {
    let Some(entry) = entry.filter(|_| argument.windows(2).any(|w| w == b"{}")) else { return argument.into() };
    let mut filled = Vec::with_capacity(argument.len() + entry.len());
    let mut rest = argument;
    while let Some(at) = rest.windows(2).position(|w| w == b"{}") {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(entry);
        rest = &rest[at + 2..];
    }
    filled.extend_from_slice(rest);
    filled.into()
}

/// A word as a shell reads it back, for a line that a person may paste.
pub fn quoted(argument: &Text) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-^".contains(c);
    match std::str::from_utf8(argument.as_bytes()) {
        // A shell gives `{}` alone no meaning.
        Ok("{}") => "{}".to_owned(),
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Ok(text) if !text.chars().any(unprintable) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut out = String::from("$'");
            for chunk in argument.as_bytes().utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '\n' => out.push_str("\\n"),
                        '\t' => out.push_str("\\t"),
                        '\'' | '\\' => out.extend(['\\', c]),
                        c if unprintable(c) => out.push_str(&format!("\\u{:04x}", c as u32)),
                        c => out.push(c),
                    }
                }
                for byte in chunk.invalid() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
            out.push('\'');
            out
        }
    }
}

/// True if a character would move the cursor, hide text or change its direction on a terminal.
pub fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// Text for one line of a terminal, with unprintable characters escaped.
pub fn printable(text: &str) -> String {
    if !text.chars().any(unprintable) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            c if unprintable(c) => format!("\\u{{{:x}}}", c as u32),
            c => c.to_string(),
        })
        .collect()
}

/// Environment variables that the task gets in addition to those of the server's login.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub Vec<(Text, Text)>);

impl Environment {
    /// `NAME=VALUE` joined by NUL, as the database stores them.
    pub fn to_blob(&self) -> Vec<u8> {
        let pairs = self.0.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
        pairs.collect::<Vec<_>>().join(&0)
    }

    /// Reads the result of [`Environment::to_blob`].
    pub fn from_blob(blob: &[u8]) -> Self {
        let pair = |part: &[u8]| {
            let at = part.iter().position(|b| *b == b'=')?;
            Some((Text(part[..at].to_vec()), Text(part[at + 1..].to_vec())))
        };
        Self(blob.split(|b| *b == 0).filter_map(pair).collect())
    }

    /// These variables, with others in their place where both have them.
    pub fn with(mut self, others: Self) -> Self {
        self.0.retain(|(name, _)| !others.0.iter().any(|(other, _)| other == name));
        self.0.extend(others.0);
        self
    }

    /// The value of a variable; the last one counts.
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.0.iter().rev().find(|(known, _)| known.as_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// The names only: values are secrets.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.lossy().into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(arguments: &[&str]) -> Command {
        Command::new(arguments.iter().map(|a| Text::from(*a)).collect()).unwrap()
    }

    #[test]
    fn command_that_can_not_be_executed_is_refused_before_it_is_queued() {
        assert_eq!(Command::new(vec![]), Err(BadCommand::Empty));
        assert_eq!(Command::new(vec!["".into()]), Err(BadCommand::Empty));
        assert_eq!(Command::new(vec!["a".into(), "b\0c".into()]), Err(BadCommand::Nul(1)));
        let long = "x".repeat(ARGUMENT_MAX + 1);
        assert!(matches!(
            Command::new(vec!["a".into(), long.as_str().into()]),
            Err(BadCommand::LongArgument { at: 1, .. })
        ));
        let many = vec![Text::from("x".repeat(1000).as_str()); 2000];
        assert!(matches!(Command::new(many), Err(BadCommand::LongTotal(_))));
    }

    #[test]
    fn a_line_must_fit_in_each_argument_that_it_stands_in() {
        assert_eq!(command(&["true"]).entry_max(), ARGUMENT_MAX - 11);
        assert_eq!(command(&["echo", "{}"]).entry_max(), ARGUMENT_MAX - 11, "GRID_ENTRY is the tighter one");
        let long = "x".repeat(ARGUMENT_MAX - 102);
        assert_eq!(command(&["echo", &format!("{long}{{}}")]).entry_max(), 102);
        assert_eq!(command(&["echo", "{}{}"]).entry_max(), (ARGUMENT_MAX - 4) / 2 + 2);
        assert!(command(&["{}"; 20]).entry_max() < ARGUMENTS_MAX / 20);
    }

    #[test]
    fn shown_commands_can_be_pasted_and_do_not_disturb_a_terminal() {
        assert_eq!(command(&["sh", "-c", "echo $A"]).shown(), "sh -c 'echo $A'");
        assert_eq!(command(&["echo", "it's"]).shown(), r"echo 'it'\''s'");
        assert_eq!(command(&["echo", "~", "{a,b}", "{}"]).shown(), "echo '~' '{a,b}' {}");
        assert_eq!(command(&["echo", "a\u{1b}[31m"]).shown(), r"echo $'a\u001b[31m'");
    }

    proptest! {
        #[test]
        fn a_command_survives_the_database(arguments in prop::collection::vec(prop::collection::vec(1u8.., 0..20), 1..8)) {
            prop_assume!(!arguments[0].is_empty());
            let command = Command::new(arguments.into_iter().map(Text).collect()).unwrap();
            prop_assert_eq!(Command::from_blob(&command.to_blob()), command);
        }
    }
}
