//! When hosts are read: after starts and ends, for a caller, and every few seconds while something is blocked.

use super::links::Route;
use super::serve::{DispatchError, Dispatcher};
use crate::model::time::Timestamp;
use crate::protocol::agent::ToAgent;
use crate::store::Store;
use std::time::{Duration, Instant};

/// Readings of hosts are asked for at most this often after starts and ends.
const PROBE_PAUSE: Duration = Duration::from_secs(2);

impl Dispatcher {
    /// Events refresh: after starts and ends, for a caller, and every few seconds while something is blocked.
    pub(super) fn ask_for_readings(&mut self, store: &Store) -> Result<(), DispatchError> {
        let now = Instant::now();
        if self.moved && self.probe_at.is_none() {
            self.probe_at = Some(now + PROBE_PAUSE);
        }
        if self.queue.blocked().next().is_some() && self.probe_at.is_none() {
            self.probe_at = Some(now + 2 * PROBE_PAUSE);
        }
        if self.probe_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.probe_at = None;
        self.moved = false;
        let view = store.view();
        let watch = crate::store::settings::watch_list(view.setting("watch")?.as_deref());
        let script = view.setting("probe_script")?;
        let routes: Vec<Route> = self
            .links
            .iter()
            .filter(|(_, slot)| slot.boot().is_some() && slot.probing.is_none())
            .map(|(r, _)| *r)
            .collect();
        for route in routes {
            self.tell(route, &ToAgent::Probe { watch: watch.clone(), script: script.clone() });
            if let Some(slot) = self.links.get_mut(&route) {
                slot.probing = Some(Timestamp::now());
            }
        }
        Ok(())
    }
}
