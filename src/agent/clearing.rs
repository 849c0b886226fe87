//! Leaving a host for good: everything of one home goes, and agents that nobody uses.

use super::book::AttemptState;
use super::installed;
use super::serve::Agent;
use super::works;
use crate::protocol::agent::{Clearing, FromAgent};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// From a home's spool up to the directory of all spools: by link, by machine, `spool`.
const LEVELS: usize = 3;

impl Agent {
    /// Answers [`crate::protocol::agent::ToAgent::Clear`]. Once all is gone this agent leaves.
    pub fn clear(&mut self) {
        let result = self.clear_home();
        self.leaving = result.is_ok();
        self.send(&FromAgent::Cleared { result });
    }

    fn clear_home(&mut self) -> Result<Clearing, String> {
        let running = self.book.iter().filter(|(_, a)| !matches!(a.state, AttemptState::Ended { .. })).count();
        if running > 0 || !self.orphans.is_empty() || !self.supervisors.is_empty() {
            return Err(format!("{} of its attempts still run there", running.max(1)));
        }
        for lane in self.lanes.values_mut() {
            lane.let_go();
        }
        self.lanes.clear();
        self.runs.clear();
        let dir = self.spool.dir().to_owned();
        let bytes = taken(&dir);
        works::remove(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for parent in dir.ancestors().skip(1).take(LEVELS) {
            // Other homes, links and machines have theirs beside it.
            if std::fs::remove_dir(parent).is_err() {
                break;
            }
        }
        drop(self.in_use.take());
        let (agents, left) = installed::remove_unused();
        Ok(Clearing { bytes: bytes + agents, left })
    }
}

/// Bytes on the disk behind everything in a directory.
pub fn taken(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    all.map(|(path, meta)| if meta.is_dir() { taken(&path) } else { meta.blocks() * 512 }).sum()
}
