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
    /// Where its stderr goes.
    pub log: &'a std::path::Path,
}

impl HomeByPath<'_> {
    /// Opens a link. A path without a database is not a home, and none is made.
    pub fn open(&self) -> Result<Link, LinkError> {
        if !self.home.join("grid.db").exists() {
            return Err(LinkError::Trouble(Trouble::Other(no_home(self.home))));
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg0("grid").arg("serve").arg("--home").arg(self.home);
        // The caller may have an ssh session; the question comes from this host.
        command.env_remove("SSH_CONNECTION");
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log);
        command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        Ok(Link::open_to(command, MAGIC, false)?)
    }
}
