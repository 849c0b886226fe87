//! The wall clock is set while a dispatcher lives: what is told by its age, or waited for, is as old after that as it was before.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::model::clock::Reading;
use crate::model::id::BootId;
use crate::model::time::short;
use crate::store::{Durability, Store};
use std::time::Duration;

/// Others may have written something by the clock as it is now before we saw that it was set.
const SEEN: Duration = Duration::from_secs(1);

/// A step that found no room on the disk is followed so much later.
const AGAIN: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// Was it set, and is that not followed yet? Then nothing is told by its age.
    pub(in crate::dispatch) fn clock_is_set(&self) -> bool {
        self.ambient.moment().set_since(self.activity.clock).is_some()
    }

    /// Looks whether the wall clock was set since the last look.
    pub(in crate::dispatch) fn follow_clock(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let (now, last) = (self.ambient.moment(), self.activity.clock);
        let Some(by) = now.set_since(last) else {
            self.activity.clock = now;
            return Ok(());
        };
        let length = short(Duration::from_millis(by.unsigned_abs()));
        let way = if by > 0 { "forward" } else { "back" };
        tracing::warn!("the wall clock was set {way} by {length}: ages go on as they were");
        let since = now.wall.minus(now.since_boot.saturating_sub(last.since_boot) + SEEN);
        let written = sealed::write(store, Durability::Normal, |tx| {
            tx.see_clock(&Reading { moment: now, boot: BootId::of_this_host() }, false)?;
            tx.clock_was_set(by, since..=now.wall)
        });
        match written {
            // It is seen again at the next look.
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

    /// What is told by its age waits until the clock is followed: it would be due in every turn.
    fn postpone_ages(&mut self) {
        let later = self.ambient.now().mono + AGAIN;
        self.schedule.starve_at = self.schedule.starve_at.max(later);
        self.attempts.lose_at = self.attempts.lose_at.map(|at| at.max(later));
    }
}
