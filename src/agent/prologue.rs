//! Shell lines of a server, and the environment that they lead to: `module load`, `conda activate`, `. /opt/x/setup.sh`.

use super::tool::{self, on_path};
use crate::model::inherited::EnvironmentBlock;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use std::time::Duration;

/// Longer than any prologue takes.
const LIMIT: Duration = Duration::from_secs(60);
/// Variables that the shell sets are not results of the lines.
const OF_THE_SHELL: [&str; 4] = ["_", "SHLVL", "PWD", "OLDPWD"];

/// An environment.
pub type Variables = Vec<(OsString, OsString)>;

/// The environments of prologues; each text is run once in each environment.
#[derive(Debug, Default)]
pub struct Prologues {
    known: HashMap<(String, Option<EnvironmentBlock>), Variables>,
}

/// Environments that are kept; with more, all are forgotten.
const KNOWN_MAX: usize = 16;

impl Prologues {
    /// The environment that these lines make of another one, or of ours; an error is the last line of their complaints.
    pub fn environment(&mut self, lines: &str, of: Option<&EnvironmentBlock>) -> Result<Variables, String> {
        let key = (lines.to_owned(), of.cloned());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let variables = carry_out(lines, of, LIMIT)?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key, variables.clone());
        Ok(variables)
    }
}

/// Runs these lines in an environment, or in ours, and gives the resulting one; an error is the last line of their complaints.
pub fn carry_out(lines: &str, of: Option<&EnvironmentBlock>, limit: Duration) -> Result<Variables, String> {
    // Such lines are mostly written for bash.
    let shell = on_path("bash").unwrap_or_else(|| "/bin/sh".into());
    let mut complaints = File::from(memfd_create(c"prologue", MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?);
    let mut command = Command::new(shell);
    if let Some(block) = of {
        command.env_clear();
        command.envs(block.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    }
    // The environment is read from /proc, because the lines may print. `cat` is found before they change PATH.
    let cat = on_path("cat").map_or_else(|| "cat".to_owned(), |path| path.display().to_string());
    let cat = shlex::try_quote(&cat).unwrap_or_default();
    command.arg("-c").arg(format!("{{\n{lines}\n}} >&2 || exit\nexec {cat} /proc/self/environ\n")).current_dir("/");
    command.stderr(complaints.try_clone().map_err(|error| error.to_string())?);
    match tool::run_bytes(&mut command, limit) {
        Ok(said) => Ok(parse(&said)),
        Err(error) => {
            let mut text = Vec::new();
            let _ = complaints.rewind().and_then(|()| complaints.read_to_end(&mut text));
            let text = String::from_utf8_lossy(&text);
            Err(text.lines().rev().find(|line| !line.trim().is_empty()).map_or(error, str::to_owned))
        }
    }
}

fn parse(said: &[u8]) -> Variables {
    let pair = |part: &[u8]| {
        let at = part.iter().position(|b| *b == b'=').filter(|at| *at > 0)?;
        Some((OsString::from_vec(part[..at].to_vec()), OsString::from_vec(part[at + 1..].to_vec())))
    };
    let all = said.split(|b| *b == 0).filter_map(pair);
    all.filter(|(name, _)| !OF_THE_SHELL.iter().any(|of_shell| name == of_shell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(variables: &Variables, name: &str) -> Option<String> {
        variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn prologue_changes_the_environment_and_may_print() {
        let lines = "echo noise\nexport A='x\ny'\nPATH=/opt/x/bin:$PATH\nB=not-exported";
        let variables = Prologues::default().environment(lines, None).unwrap();
        assert_eq!(value(&variables, "A").as_deref(), Some("x\ny"));
        assert!(value(&variables, "PATH").unwrap().starts_with("/opt/x/bin:"));
        assert_eq!(value(&variables, "B"), None);
        assert_eq!(value(&variables, "SHLVL"), None);
    }

    #[test]
    fn prologue_that_fails_gives_its_last_complaint() {
        let said = Prologues::default().environment("echo working\n. /no/such/file", None).unwrap_err();
        assert!(said.contains("/no/such/file"), "{said}");
        let said = Prologues::default().environment("exit 3", None).unwrap_err();
        assert!(said.contains("exit status: 3"), "{said}");
        assert!(Prologues::default().environment("{ unclosed", None).is_err());
    }
}
