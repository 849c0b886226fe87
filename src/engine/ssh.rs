//! A host over ssh: the system's ssh, with the agent behind one connection. Keys, jumps and known hosts are left to ssh.

use super::{Transport, trial};
use crate::link::bootstrap::{Binary, Bootstrap, REMOTE_COMMAND};
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::ssh::SshTarget;
use crate::protocol::distributor::MAGIC;
use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A host, and how to log in to it.
#[derive(Debug)]
pub struct Ssh<'a> {
    pub target: &'a SshTarget,
    /// ssh and its options, as the person has set them.
    pub words: &'a [String],
    /// The key agent for the login.
    pub auth_sock: Option<&'a str>,
    /// How long a connect may take.
    pub patience: Duration,
    pub binaries: Vec<Binary>,
}

/// Options that a link needs. They come first, because ssh uses the first value that it is given.
const ALWAYS: [&str; 5] = [
    "BatchMode=yes",
    // A person's own master is used; a master of ours would outlive its link.
    "ControlMaster=no",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
];
/// What a link also needs, of an ssh that knows these words; an older one refuses them, and finds none in its configuration either.
const SINCE_8_7: [&str; 3] = ["SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"];
/// How long a program may take to name its version.
const VERSION_WAIT: Duration = Duration::from_secs(2);
/// Options that override ~/.ssh/config, and that the server's own options override.
const USUALLY: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=3"];

impl Ssh<'_> {
    /// The command line up to the host, and the environment: the common part of all uses of ssh.
    pub fn command(&self) -> Result<Command, Trouble> {
        // Its messages are parsed.
        self.command_with("LogLevel=INFO")
    }

    /// The same command line, with an option before all others.
    pub fn command_with(&self, first: &str) -> Result<Command, Trouble> {
        let (program, own) =
            self.words.split_first().ok_or_else(|| Trouble::NoSsh("ssh.command is empty".to_owned()))?;
        let mut command = Command::new(program);
        command.args(own).arg("-T");
        let connect = format!("ConnectTimeout={}", self.patience.as_secs().max(1));
        let newer: &[&str] = if knows_since_8_7(program) { &SINCE_8_7 } else { &[] };
        let always = ALWAYS.iter().chain(newer).copied();
        let options =
            [first].into_iter().chain(always).chain(self.target.options().iter().map(String::as_str)).chain(USUALLY);
        for option in options.chain([connect.as_str()]) {
            command.args(["-o", option]);
        }
        command.env("LC_ALL", "C").current_dir("/");
        match self.auth_sock {
            Some(socket) => command.env("SSH_AUTH_SOCK", socket),
            None => command.env_remove("SSH_AUTH_SOCK"),
        };
        command.arg("--").arg(self.target.host());
        Ok(command)
    }
}

impl Ssh<'_> {
    /// Opens a link to another home on the host, instead of an agent. `grid` has to be installed there.
    pub fn open_home(&self, home: Option<&str>) -> Result<Link, LinkError> {
        let mut command = self.command().map_err(LinkError::Trouble)?;
        // A forced command replaces this one.
        command.arg(match home {
            Some(home) => format!("exec grid serve --home {}", shlex::try_quote(home).unwrap_or_default()),
            None => "exec grid serve".to_owned(),
        });
        let opened = Link::open_to(command, MAGIC, true);
        opened.map_err(|error| LinkError::Trouble(no_ssh(&self.words[0], &error)))
    }
}

impl Transport for Ssh<'_> {
    fn open(&self) -> Result<Link, LinkError> {
        let mut command = self.command().map_err(LinkError::Trouble)?;
        command.arg(REMOTE_COMMAND);
        let nonce = uuid::Uuid::now_v7().simple().to_string();
        let bootstrap = Bootstrap::new(self.target, self.binaries.clone(), &nonce);
        Link::open_through(command, bootstrap).map_err(|error| LinkError::Trouble(no_ssh(&self.words[0], &error)))
    }
}

/// Is this an OpenSSH from 8.7 on? Each program is asked once.
fn knows_since_8_7(program: &str) -> bool {
    static KNOWN: Mutex<Option<HashMap<String, bool>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(knows) = known.get(program) {
        return *knows;
    }
    let said = trial::run(Command::new(program).arg("-V").current_dir("/"), b"", VERSION_WAIT);
    let knows = said.is_ok_and(|said| is_since_8_7(&said.err));
    known.insert(program.to_owned(), knows);
    knows
}

/// Does `ssh -V` name a version of OpenSSH from 8.7 on?
fn is_since_8_7(said: &str) -> bool {
    let version = said.split("OpenSSH_").nth(1).and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (major, minor) = rest[..end].split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?))
    });
    version.is_some_and(|version| version >= (8, 7))
}

fn no_ssh(program: &str, error: &io::Error) -> Trouble {
    Trouble::NoSsh(format!("{program}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ssh_8_7_are_said_to_those_who_know_them() {
        let versions = [
            "OpenSSH_8.7p1, OpenSSL 3",
            "OpenSSH_9.2p1 Debian-2+deb12u3",
            "OpenSSH_for_Windows_9.5p1",
            "OpenSSH_10.0p2",
        ];
        assert_eq!(versions.map(is_since_8_7), [true, true, false, true]);
        assert_eq!(["OpenSSH_8.4p1", "OpenSSH_7.9", "sshpass 1.09", ""].map(is_since_8_7), [false; 4]);
    }
}
