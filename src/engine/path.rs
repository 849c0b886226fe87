//! Another home on this host: `grid serve` as a child.

use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::endpoint::no_home;
use crate::protocol::distributor::MAGIC;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A home by its path.
#[derive(Debug)]
pub struct HomeByPath<'a> {
    pub home: &'a std::path::Path,
    /// Where it complains.
    pub log: &'a std::path::Path,
}

impl HomeByPath<'_> {
    /// Opens a link to it. A path without a database is no home, and nothing here makes one.
    pub fn open(&self) -> Result<Link, LinkError> {
        if !self.home.join("grid.db").exists() {
            return Err(LinkError::Trouble(Trouble::Other(no_home(self.home))));
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg0("grid").arg("serve").arg("--home").arg(self.home);
        // The person may sit in an ssh session; this home asks from here.
        command.env_remove("SSH_CONNECTION");
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log);
        command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        Ok(Link::open_to(command, MAGIC, false)?)
    }
}
