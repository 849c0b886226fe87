//! Steps of the wall clock while the dispatcher runs: stored times are shifted, so that ages stay as they were.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::model::clock::Reading;
use crate::model::id::BootId;
use crate::model::time::short;
use crate::store::{Durability, Store};
use std::time::Duration;

/// Other processes may have written times of the new clock this long before the step is noticed.
const SEEN: Duration = Duration::from_secs(1);

/// A step that found no room on the disk is retried after this time.
const AGAIN: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// True if the wall clock was set and the stored times are not shifted yet: ages must not be used.
    pub(in crate::dispatch) fn clock_step_pending(&self) -> bool {
        self.ambient.moment().set_since(self.activity.clock).is_some()
    }

    /// Shifts the stored times if the wall clock was set since the last call.
    pub(in crate::dispatch) fn shift_stored_times(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let (now, last) = (self.ambient.moment(), self.activity.clock);
        let Some(by) = now.set_since(last) else {
            self.activity.clock = now;
            return Ok(());
        };
        let length = short(Duration::from_millis(by.unsigned_abs()));
        let way = if by > 0 { "forward" } else { "back" };
        tracing::warn!("the wall clock was set {way} by {length}: stored times are shifted");
        let since = now.wall.minus(now.since_boot.saturating_sub(last.since_boot) + SEEN);
        let written = sealed::write(store, Durability::Normal, |tx| {
            tx.see_clock(&Reading { moment: now, boot: BootId::of_this_host() }, false)?;
            tx.clock_was_set(by, since..=now.wall)
        });
        match written {
            // The next call sees the step again.
            Err(error) if error.is_full(&self.home) => {
                self.postpone_ages();
                return Ok(());
            }
            written => written?,
        }
        self.activity.clock = now;
        self.instance.began_at.0 = self.instance.began_at.0.saturating_add(by);
        self.links.silent.iter_mut().for_each(|(_, last, _)| last.0 = last.0.saturating_add(by));
        self.links.slots.values_mut().for_each(|slot| slot.clock_was_set(by));
        self.transfers.results.clock_was_set(by);
        self.activity.dirty = true;
        Ok(())
    }

    /// Postpones what depends on ages until the stored times are shifted: it would be due in every turn.
    fn postpone_ages(&mut self) {
        let later = self.ambient.now().mono + AGAIN;
        self.schedule.starving.due = self.schedule.starving.due.max(later);
        self.attempts.lose_at = self.attempts.lose_at.map(|at| at.max(later));
    }
}
