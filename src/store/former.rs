//! The rest of a home whose database is gone, in a directory where a new home is made: it is named and moved aside.

use super::{Home, Result, StoreError};
use crate::model::time::Timestamp;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

/// The rest of a former home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Former {
    /// The agent's spools of other homes on this host: they stay, for supervisors write to them.
    pub spools: Vec<PathBuf>,
    /// Supervisors that live in them.
    pub supervisors: usize,
    /// Where outputs and files that had been brought home are now: the new home's have the same names.
    pub aside: Option<PathBuf>,
}

impl Home {
    /// Supervisors that live in the agent's spools here: of this home, of former ones and of one that it was copied from.
    pub fn supervisors(&self) -> usize {
        let agents = entries(&self.dir().join("spool")).into_iter().filter(|dir| {
            let name = dir.file_name();
            name == "agent" || name.as_encoded_bytes().starts_with(b"agent.")
        });
        agents.flat_map(|dir| entries(&dir.path())).map(|spool| supervisors_in(&spool.path())).sum()
    }

    /// Looks for the rest of a former home, and moves aside what the new one would write over. The caller founds it.
    pub fn keep_former(&self, now: Timestamp) -> Result<Option<Former>> {
        let mut former = Former::default();
        for spool in entries(&self.agent_spool()) {
            if entries(&spool.path().join("runs")).is_empty() {
                continue;
            }
            former.supervisors += supervisors_in(&spool.path());
            former.spools.push(spool.path());
        }
        let aside = self.dir().join(format!("spool/former.{}", now.0));
        for dir in [self.outputs(), self.sent(), self.fetched()] {
            let (Some(name), false) = (dir.file_name(), entries(&dir).is_empty()) else { continue };
            let to = aside.join(name);
            let moved = std::fs::create_dir_all(&aside).and_then(|()| std::fs::rename(&dir, &to));
            moved.map_err(|error| StoreError::Unwritable { path: to, error })?;
            former.aside = Some(aside.clone());
        }
        self.make()?;
        Ok((former != Former::default()).then_some(former))
    }
}

/// Supervisors that live in the spool of one home.
fn supervisors_in(spool: &Path) -> usize {
    entries(&spool.join("runs")).iter().filter(|run| lives(&run.path())).count()
}

/// Where a directory can't be read there is nothing that could be told of it.
fn entries(dir: &Path) -> Vec<DirEntry> {
    std::fs::read_dir(dir).and_then(Iterator::collect::<io::Result<_>>).unwrap_or_default()
}

/// The journal of a run names its supervisor, whose command line names the run.
fn lives(run: &Path) -> bool {
    let journal = std::fs::read_to_string(run.join("journal")).unwrap_or_default();
    let mut lines = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let pid = lines.find_map(|line| line.pointer("/opened/process/pid")?.as_i64());
    let command_line = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok()).unwrap_or_default();
    command_line.split(|byte| *byte == 0).any(|word| word == run.as_os_str().as_encoded_bytes())
}
