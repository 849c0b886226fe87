//! This host: its agent is a child process with the same protocol as any other.

use super::Transport;
use crate::link::{Link, LinkError};
use crate::model::open_files;
use crate::model::processors::Processors;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The agent of this host, with the spool of one home.
#[derive(Debug, Clone)]
pub struct Local {
    pub spool: PathBuf,
    /// Where the agent's stderr goes.
    pub log: PathBuf,
    /// A start follows soon: the agent is started early.
    pub expecting: bool,
}

impl Transport for Local {
    fn open(&self) -> Result<Link, LinkError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("grid").arg("agent").arg("--spool").arg(&self.spool);
        command.arg("--files").arg(open_files::given().to_string());
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        if !self.expecting {
            return Ok(Link::open(command)?);
        }
        let processors = Processors::own();
        command.arg("--expecting").arg(processors.to_string());
        let link = Link::open(command)?;
        if let Some(pid) = link.pid() {
            processors.keep_aside(pid);
        }
        Ok(link)
    }
}
