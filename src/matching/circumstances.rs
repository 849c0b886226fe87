//! State of a fleet beside its servers: the time, servers that are kept for a task, applications that probes look for.

use super::index::Fleet;
use crate::model::id::{HostId, ServerId, TaskId};
use crate::model::time::Timestamp;
use std::time::Duration;

impl Fleet {
    /// Sets the time to `now`; probes of remote hosts are fresh for so long.
    pub fn trust(&mut self, stale_after: Duration, now: Timestamp) {
        self.now = now;
        if self.stale_after != stale_after {
            self.stale_after = stale_after;
            (0..self.servers.len()).for_each(|row| self.refresh(row));
        }
    }

    /// Is its probe still fresh?
    pub(super) fn is_fresh(&self, row: usize) -> bool {
        self.hot[row].believed.is_none_or(|(from, until)| (from..=until).contains(&self.now))
    }

    /// The other task that a row is kept for, or that a server on the same host is kept for: what ends there is that task's.
    pub(super) fn kept_from(&self, row: usize, for_task: Option<TaskId>) -> Option<TaskId> {
        let server = &self.servers[row];
        let host = server.pool.as_ref().map(|pool| pool.host);
        let here = |(id, (_, kept)): &(&ServerId, &(TaskId, Option<HostId>))| {
            **id == server.id || (host.is_some() && host == *kept)
        };
        self.kept.iter().filter(here).map(|(_, (task, _))| *task).find(|task| Some(*task) != for_task)
    }

    /// Sets the applications that probes look for. An explanation says if a missing one is not among them.
    pub fn watch(&mut self, apps: Vec<String>) {
        self.watch = Some(apps);
    }

    /// Do probes look for this application?
    pub(super) fn is_watched(&self, app: &str) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.iter().any(|other| other == app))
    }
}
