//! Surveys: a script over ssh that reads a host before anything is installed there.

use super::ssh::Ssh;
use super::trial::run;
use crate::link::bootstrap::REMOTE_COMMAND;
use crate::link::trouble::Trouble;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SCRIPT: &str = include_str!("survey.sh");

/// The facts of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    facts: BTreeMap<String, String>,
    /// Bytes that its login shell printed before the script's output.
    pub noise: usize,
    /// Seconds by which its clock is ahead of ours.
    pub skew: i64,
}

impl Survey {
    /// A fact. None if the host does not tell it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Id and host name of the machine, as its agent reports them.
    pub fn machine(&self) -> Option<(String, String)> {
        let hostname = self.get("hostname")?;
        let name = match self.get("machine") {
            None | Some("uninitialized") => format!("host-{hostname}"),
            Some(id) => format!("{id}-{hostname}"),
        };
        Some((name, hostname.to_owned()))
    }

    /// A fact that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// Logs in and runs the survey; `limit` is for all of it.
pub fn survey(ssh: &Ssh<'_>, limit: Duration) -> Result<Survey, Trouble> {
    let mut command = ssh.command()?;
    command.arg(REMOTE_COMMAND);
    let nonce = format!("grid-{}", uuid::Uuid::now_v7().simple());
    let dir = shlex::try_quote(ssh.target.remote_dir().unwrap_or_default());
    let script = SCRIPT.replace("@NONCE@", &nonce).replace("@DIR@", &dir.unwrap_or_default());
    let begun = seconds();
    let said = run(&mut command, script.as_bytes(), limit).map_err(|error| Trouble::NoSsh(error.to_string()))?;
    let between = i64::midpoint(begun, seconds());
    let mut survey = read(&said.out, &nonce);
    if survey.get("end").is_none() {
        let Some(status) = said.status else { return Err(Trouble::NoAnswer) };
        let trouble = Trouble::classify(&said.err, status.code(), survey.get("system").is_some());
        return Err(trouble.with_noise(&said.out));
    }
    survey.skew = survey.get("time").and_then(|time| time.parse::<i64>().ok()).map_or(0, |time| time - between);
    Ok(survey)
}

/// The key of an unknown host, as `ED25519 SHA256:..`. It is shown, never accepted.
pub fn host_key(ssh: &Ssh<'_>, limit: Duration) -> Option<String> {
    let mut command = ssh.command_with("LogLevel=DEBUG1").ok()?;
    let said = run(command.arg("true"), b"", limit).ok()?;
    let line = said.err.lines().find_map(|line| line.split_once("Server host key: "))?.1;
    let mut words = line.split_whitespace();
    let (kind, print) = (words.next()?, words.next()?);
    let kind = kind.trim_start_matches("ssh-").split('-').next().unwrap_or(kind).to_ascii_uppercase();
    Some(format!("{kind} {print}"))
}

/// Runs a server's prologue on the host, as its tasks do. Gives its complaint if it fails.
pub fn prologue(ssh: &Ssh<'_>, lines: &str, limit: Duration) -> Result<Option<String>, Trouble> {
    let mut command = ssh.command()?;
    command.arg(REMOTE_COMMAND);
    let lines = shlex::try_quote(lines).unwrap_or_default();
    let script = format!(
        "{{\nshell=$(command -v bash) || shell=/bin/sh\ncd / && exec \"$shell\" -c {lines} </dev/null >/dev/null\n}}\n"
    );
    let said = run(&mut command, script.as_bytes(), limit).map_err(|error| Trouble::NoSsh(error.to_string()))?;
    let last = said.err.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Ok(match said.status {
        Some(status) if status.success() => None,
        Some(status) => Some(last.map_or_else(|| status.to_string(), str::to_owned)),
        None => Some(format!("it has not ended after {} s", limit.as_secs())),
    })
}

/// What ssh resolves a name to with its configuration: the real host, the account, the port.
pub fn resolved(ssh: &Ssh<'_>, limit: Duration) -> Result<BTreeMap<String, String>, Trouble> {
    let mut command = ssh.command_with("LogLevel=INFO")?;
    // -G goes anywhere before the host; the command ends before the host.
    let program = command.get_program().to_owned();
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new(program);
    let host = words.len().saturating_sub(2);
    command.args(&words[..host]).arg("-G").args(&words[host..]).env("LC_ALL", "C").current_dir("/");
    let said = run(&mut command, b"", limit).map_err(|error| Trouble::NoSsh(error.to_string()))?;
    if !said.status.is_some_and(|status| status.success()) {
        return Err(Trouble::classify(&said.err, Some(255), false));
    }
    let pair = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(said.out.lines().filter_map(pair).collect())
}

fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| i64::try_from(t.as_secs()).unwrap_or(0))
}

fn read(out: &str, nonce: &str) -> Survey {
    let mark = format!("{nonce} ");
    let mut survey = Survey { noise: out.find(&mark).unwrap_or(out.len()), ..Survey::default() };
    for line in out.split(&mark).skip(1) {
        let line = line.split('\n').next().unwrap_or_default();
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        survey.facts.insert(name.to_owned(), value.trim().to_owned());
    }
    survey
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_reads_a_host_in_every_shell() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let script = SCRIPT.replace("@NONCE@", "grid-n").replace("@DIR@", "''");
            let mut command = Command::new(shell[0]);
            let Ok(said) = run(command.args(&shell[1..]).arg("-s"), script.as_bytes(), Duration::from_secs(60)) else {
                continue;
            };
            let survey = read(&format!("hello\n{}", said.out), "grid-n");
            assert_eq!(survey.get("end"), Some("yes"), "{shell:?}: {}", said.err);
            assert_eq!(survey.get("arch"), Some(std::env::consts::ARCH), "{shell:?}");
            assert!(survey.number("cpus").is_some_and(|n| n > 0), "{shell:?}");
            assert!(survey.number("memory").is_some_and(|n| n > 0), "{shell:?}");
            assert!(survey.number("free").is_some(), "{shell:?}: {survey:?}");
            assert_eq!(survey.noise, 6);
        }
    }
}
