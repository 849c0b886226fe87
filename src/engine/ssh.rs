//! A host over ssh: the system's ssh, one connection with the agent behind it. Keys, jumps and known hosts are ssh's own.

use super::Transport;
use crate::link::bootstrap::{Binary, Bootstrap, REMOTE_COMMAND};
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::ssh::SshTarget;
use crate::protocol::distributor::MAGIC;
use std::io;
use std::process::Command;
use std::time::Duration;

/// A host, and how it is logged in to.
#[derive(Debug)]
pub struct Ssh<'a> {
    pub target: &'a SshTarget,
    /// ssh and its options, as the person wants them.
    pub words: &'a [String],
    /// The key agent of whoever logs in.
    pub auth_sock: Option<&'a str>,
    /// How long a connect may take.
    pub patience: Duration,
    pub binaries: Vec<Binary>,
}

/// Without these it would not be our link. ssh takes the first value that it is given.
const ALWAYS: [&str; 5] = [
    "BatchMode=yes",
    // A master of the person's own is used; ours would outlive us.
    "ControlMaster=no",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
];
/// What ~/.ssh/config can't change, but the server's own options can.
const USUALLY: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=3"];

impl Ssh<'_> {
    /// The command line up to the host, and the environment: what every use of ssh here has in common.
    pub fn command(&self) -> Result<Command, Trouble> {
        // Its texts are read, also by us.
        self.command_with("LogLevel=INFO")
    }

    /// The same, with an option that stands before all others.
    pub fn command_with(&self, first: &str) -> Result<Command, Trouble> {
        let (program, own) =
            self.words.split_first().ok_or_else(|| Trouble::NoSsh("ssh.command is empty".to_owned()))?;
        let mut command = Command::new(program);
        command.args(own).arg("-T");
        let connect = format!("ConnectTimeout={}", self.patience.as_secs().max(1));
        let options =
            [first].into_iter().chain(ALWAYS).chain(self.target.options().iter().map(String::as_str)).chain(USUALLY);
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
    /// Another home over there, instead of an agent. `grid` has to be installed there.
    pub fn open_home(&self, home: Option<&str>) -> Result<Link, LinkError> {
        let mut command = self.command().map_err(LinkError::Trouble)?;
        // A forced command takes the place of this one.
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

fn no_ssh(program: &str, error: &io::Error) -> Trouble {
    Trouble::NoSsh(format!("{program}: {error}"))
}
