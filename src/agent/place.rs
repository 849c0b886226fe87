//! Where an agent keeps its spools: beside the home on the home's own host, else on a local disk of the server, apart by
//! machine (many may share one $HOME) and by link (several links may lead to one machine).

use super::{AgentError, facts};
use crate::model::filesystem::network_fs;
use crate::model::ssh::LinkKey;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where an agent is to keep its spools.
#[derive(Debug, Clone)]
pub enum AgentPlace {
    /// In this directory.
    At(PathBuf),
    /// In a directory that suits this host; below `dir` if one was given.
    OfLink { key: LinkKey, dir: Option<PathBuf> },
}

impl AgentPlace {
    /// Was this agent started by a login?
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::OfLink { .. })
    }

    /// The directory above all homes' spools, made if it is missing.
    pub fn find(&self) -> Result<PathBuf, AgentError> {
        match self {
            // It belongs to a home: if the home was moved away since, nothing is made.
            Self::At(dir) if !dir.is_dir() => {
                Err(AgentError::Unfit(format!("{}: there is no such spool", dir.display())))
            }
            Self::At(dir) => Ok(dir.clone()),
            Self::OfLink { key, dir } => {
                let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
                let base = match (dir, home) {
                    (Some(dir), _) => dir.clone(),
                    (None, Some(home)) => home.join(".local/state/grid"),
                    (None, None) => return Err(AgentError::Unfit("HOME is not set; give --remote-dir".to_owned())),
                };
                let base = if network_fs(&base).is_some() { local_disk()? } else { base };
                let machine = facts::machine().replace('/', "_");
                let spool = base.join("spool").join(machine).join(key.to_string());
                make(&spool)?;
                Ok(spool)
            }
        }
    }
}

fn make(dir: &Path) -> Result<(), AgentError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| AgentError::Unfit(format!("{}: {error}; --remote-dir names another place", dir.display())))
}

/// A directory of this account that survives a reboot. Another account may have made one of that name first: its owner is checked.
fn local_disk() -> Result<PathBuf, AgentError> {
    let uid = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/var/tmp/grid-{uid}"));
    make(&dir)?;
    let ours = fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir() && m.uid() == uid && m.mode() & 0o077 == 0);
    if ours {
        return Ok(dir);
    }
    Err(AgentError::Unfit(format!(
        "{}: must be yours alone (owner you, mode 0700); --remote-dir names another",
        dir.display()
    )))
}
