//! Removes everything of one home from a host, and the unused agents.

use super::attempt_table::AttemptState;
use super::installed;
use super::serve::Agent;
use crate::model::filesystem::{remove_tree, taken};
use crate::protocol::agent::{Clearing, FromAgent};
use std::path::Path;

/// From a home's spool up to the directory of all spools: by link, by machine, `spool`.
const LEVELS: usize = 3;

impl Agent {
    /// Answers [`crate::protocol::agent::ToAgent::Clear`]. Once everything is removed this agent exits.
    pub fn clear(&mut self) {
        let result = self.clear_home();
        self.leaving = result.is_ok();
        self.send(&FromAgent::Cleared { result });
    }

    fn clear_home(&mut self) -> Result<Clearing, String> {
        let running = self.attempts.iter().filter(|(_, a)| !matches!(a.state, AttemptState::Ended { .. })).count();
        if running > 0 || !self.orphans.is_empty() || !self.supervisors.is_empty() {
            return Err(format!("{} of its attempts still run there", running.max(1)));
        }
        for lane in self.lanes.values_mut() {
            lane.stop_supervisor();
        }
        self.lanes.clear();
        self.runs.clear();
        let dir = self.spool.dir().to_owned();
        let bytes = taken(&dir);
        remove_tree(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for parent in dir.ancestors().skip(1).take(LEVELS) {
            // Fails where other homes, links or machines have a spool there.
            if std::fs::remove_dir(parent).is_err() {
                break;
            }
        }
        if let Some(base) = dir.ancestors().nth(LEVELS + 1) {
            remove_if_ours(base);
        }
        drop(self.in_use.take());
        let (agents, left) = installed::remove_unused();
        Ok(Clearing { bytes: bytes + agents, left })
    }
}

/// Removes a directory with nothing in it, if grid has chosen its name: one that `--remote-dir` names is the person's.
pub fn remove_if_ours(dir: &Path) {
    if [".local/state/grid", ".cache/grid"].iter().any(|usual| dir.ends_with(usual)) {
        // Fails where something is in it.
        let _ = std::fs::remove_dir(dir);
    }
}
