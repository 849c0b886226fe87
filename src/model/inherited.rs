//! What a task inherits from the process that submitted it, as a child inherits it (execve(2)): variables and process attributes.

use super::command::{Environment, Text};
use super::name::Name;
use super::process_attributes::ProcessAttributes;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Most variables that a task gets.
pub const VARIABLES_MAX: usize = 10_000;
/// Variables that travel with a task to wherever it runs: the language and the time zone. They hold no secrets.
const LANGUAGE: [&str; 4] = ["LANG", "LANGUAGE", "LC_*", "TZ"];
/// Directories of an environment that is switched on. Where they exist, their programs come first.
pub const PREFIXES: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];
/// Variables that name the account and its directories on this host. Elsewhere they are those of the login there.
const OF_THE_LOGIN: [&str; 6] = ["HOME", "USER", "LOGNAME", "SHELL", "MAIL", "XDG_RUNTIME_DIR"];
/// Variables of a shell, a terminal or a service that mean nothing to a task, and those that grid sets. The last byte may be `*`.
const LEFT_OUT: [&str; 29] = [
    "_",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "TMUX*",
    "STY",
    "MAKEFLAGS",
    "SLURM_*",
    // Of systemd: descriptors and sockets that the task does not get.
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "WATCHDOG_*",
    // Of an outer task.
    "GRID_TASK_ID",
    "GRID_CPUS",
    "GRID_MEM",
    "GRID_GPUS",
    "GRID_SERVER",
    "GRID_SUBMIT_HOST",
    "GRID_SUBMIT_DIR",
    "GRID_ATTEMPT",
    "GRID_ATTEMPT_ID",
    "GRID_ARRAY_INDEX",
    "GRID_ENTRY",
    // Set anew, to the home of the task.
    "GRID_HOME",
    "GRID_FAILPOINT*",
];

/// Variables as a process has them: `NAME=VALUE` joined by NUL. They are carried as they are; few are ever looked at.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentBlock(#[serde(with = "serde_bytes")] Vec<u8>);

impl EnvironmentBlock {
    /// Variables out of `/proc/PID/environ` or out of the database.
    pub const fn new(block: Vec<u8>) -> Self {
        Self(block)
    }

    /// `NAME=VALUE` joined by NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Names and values; what has no name is left out.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|byte| *byte == 0).filter_map(|pair| {
            // A shell may pass names that begin with `=`.
            let at = pair.iter().skip(1).position(|byte| *byte == b'=')? + 1;
            Some((&pair[..at], &pair[at + 1..]))
        })
    }

    /// The value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name.as_ref().as_bytes()).map(|(_, value)| value)
    }

    /// Those whose names are wanted.
    fn only(&self, wanted: impl Fn(&[u8]) -> bool) -> Self {
        let mut block = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| wanted(name)) {
            if !block.is_empty() {
                block.push(0);
            }
            block.extend_from_slice(name);
            block.push(b'=');
            block.extend_from_slice(value);
        }
        Self(block)
    }

    /// The same variables by name: shells pass them on in different orders.
    fn sorted(&self) -> Self {
        let mut pairs: Vec<&[u8]> = self.0.split(|byte| *byte == 0).collect();
        pairs.sort_by_key(|pair| pair.split(|byte| *byte == b'=').next());
        Self(pairs.join(&0))
    }

    /// As pairs.
    pub fn to_environment(&self) -> Environment {
        let pair = |(name, value): (&[u8], &[u8])| Some((Text::from_bytes(name)?, Text::from_bytes(value)?));
        Environment(self.iter().filter_map(pair).collect())
    }
}

impl std::fmt::Debug for EnvironmentBlock {
    /// Names only: values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// A process that submits, as it is read there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitter {
    pub variables: EnvironmentBlock,
    pub attributes: ProcessAttributes,
}

/// Which variables of its submitter a task gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentChoice {
    /// Only the language, the time zone and those that `--env` names; the others are those of a login.
    Minimal,
    /// All on the home's own host; elsewhere as `minimal`.
    #[default]
    All,
    /// All, on every server.
    Everywhere,
}

impl EnvironmentChoice {
    /// The word for people.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::All => "all",
            Self::Everywhere => "everywhere",
        }
    }
}

/// What a task inherits on the home's own host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// None: those of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<EnvironmentBlock>,
    pub attributes: ProcessAttributes,
}

impl Submitter {
    /// As a command sends it to its dispatcher.
    pub fn to_bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).unwrap_or_default()
    }

    /// Reads the result of [`Submitter::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }

    /// What its tasks inherit. `exclude` are further names that are left out.
    pub fn inherited(&self, choice: EnvironmentChoice, exclude: &[String]) -> Inherited {
        let variables = (choice != EnvironmentChoice::Minimal).then(|| self.passed_on(exclude).sorted());
        Inherited { variables, attributes: self.attributes }
    }

    /// All variables that mean something to a task.
    pub fn passed_on(&self, exclude: &[String]) -> EnvironmentBlock {
        let exclude: Vec<&str> = LEFT_OUT.into_iter().chain(exclude.iter().map(String::as_str)).collect();
        self.variables.only(|name| !exclude.iter().any(|pattern| names(pattern, name)))
    }

    /// The variables that travel to every server.
    pub fn travelling(&self, choice: EnvironmentChoice, exclude: &[String]) -> Environment {
        let wanted = |name: &[u8]| {
            LANGUAGE.iter().any(|pattern| names(pattern, name))
                || (choice == EnvironmentChoice::All && PREFIXES.iter().any(|prefix| name == prefix.as_bytes()))
        };
        match choice {
            EnvironmentChoice::Everywhere => {
                let elsewhere = |name: &[u8]| !OF_THE_LOGIN.iter().any(|own| name == own.as_bytes());
                self.passed_on(exclude).only(elsewhere).to_environment()
            }
            _ => self.passed_on(exclude).only(wanted).to_environment(),
        }
    }
}

/// The words on a task that runs without a virtual environment of its submit.
pub fn absent_words(name: &str, dir: &Text, server: &Name) -> String {
    format!("{} ({name}) is not on {server}: the task runs without it", dir.lossy())
}

/// Does this pattern name a variable? Its last byte may be `*`.
fn names(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::process_attributes::SoftLimits;

    const ATTRIBUTES: ProcessAttributes =
        ProcessAttributes { umask: 0o022, nice: 0, oom_score: 0, limits: SoftLimits::NONE };

    fn submitter(block: &[u8]) -> Submitter {
        Submitter { variables: EnvironmentBlock::new(block.to_vec()), attributes: ATTRIBUTES }
    }

    fn shown(variables: &EnvironmentBlock) -> Vec<String> {
        let both = |(name, value): (&[u8], &[u8])| [name, b"=", value].concat();
        variables.iter().map(|pair| String::from_utf8(both(pair)).unwrap()).collect()
    }

    #[test]
    fn variables_of_the_shell_and_of_an_outer_task_are_left_out() {
        let block =
            b"PATH=/bin\0PWD=/x\0_=/bin/sh\0TMUX_PANE=%1\0GRID_TASK_ID=7\0GRID_SIZE=9\0SLURM_JOB_ID=1\0A==b\0EMPTY=\0";
        let all = submitter(block).passed_on(&[]);
        assert_eq!(shown(&all), ["PATH=/bin", "GRID_SIZE=9", "A==b", "EMPTY="]);
        let fewer = submitter(block).passed_on(&["GRID_*".to_owned(), "A".to_owned()]);
        assert_eq!(shown(&fewer), ["PATH=/bin", "EMPTY="]);
    }

    #[test]
    fn only_the_language_and_the_zone_travel() {
        let some = submitter(
            b"LANG=de_DE.UTF-8\0LC_NUMERIC=C\0TZ=Asia/Tokyo\0VIRTUAL_ENV=/v\0TOKEN=x\0HOME=/home/me\0USER=me",
        );
        let travelling = |choice| some.travelling(choice, &[]).names();
        assert_eq!(
            some.travelling(EnvironmentChoice::All, &["TZ".into(), "V*".into()]).names(),
            ["LANG", "LC_NUMERIC"]
        );
        assert_eq!(travelling(EnvironmentChoice::Minimal), ["LANG", "LC_NUMERIC", "TZ"]);
        assert_eq!(travelling(EnvironmentChoice::All), ["LANG", "LC_NUMERIC", "TZ", "VIRTUAL_ENV"]);
        assert_eq!(travelling(EnvironmentChoice::Everywhere), ["LANG", "LC_NUMERIC", "TZ", "VIRTUAL_ENV", "TOKEN"]);
    }

    #[test]
    fn minimal_environment_has_none_of_the_submitters_variables() {
        let some = submitter(b"A=1");
        assert_eq!(some.inherited(EnvironmentChoice::Minimal, &[]).variables, None);
        assert_eq!(shown(&some.inherited(EnvironmentChoice::All, &[]).variables.unwrap()), ["A=1"]);
    }

    #[test]
    fn equal_environments_are_equal_in_any_order() {
        let of = |block: &[u8]| submitter(block).inherited(EnvironmentChoice::All, &[]);
        assert_eq!(of(b"B=1\0A=2\0C=3"), of(b"C=3\0A=2\0B=1"));
        assert_ne!(of(b"B=1\0A=2"), of(b"B=2\0A=1"));
    }

    #[test]
    fn values_are_not_printed() {
        assert_eq!(format!("{:?}", EnvironmentBlock::new(b"TOKEN=secret".to_vec())), r#"["TOKEN"]"#);
    }

    #[test]
    fn bytes_that_are_no_variables_are_passed_over() {
        let odd = EnvironmentBlock::new(b"\0=\0=C:=x\0novalue\0A=1\0\0".to_vec());
        assert_eq!(shown(&odd), ["=C:=x", "A=1"]);
        assert_eq!(odd.get("A"), Some(&b"1"[..]));
    }
}
