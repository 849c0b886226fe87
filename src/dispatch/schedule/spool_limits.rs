//! Spool limits of users from elsewhere (`user_spool`): a user whose spool is full starts nothing more until there is room,
//! because each end would leave more.

use crate::dispatch::dispatcher::Dispatcher;
use crate::distributor::quotas;
use crate::model::id::{ClassId, UserId};
use crate::store::{StoreError, Tx};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Least age at which the usage of a spool is counted again; and how many times as old as counting takes, because that grows with
/// the spool.
const FRESH: Duration = Duration::from_millis(200);
const SHARE: u32 = 20;
/// How often classes that wait for spool room are checked again.
const AGAIN: Duration = Duration::from_secs(2);

/// The usage of spools, and the classes that wait for room.
#[derive(Debug, Default)]
pub struct Spools {
    /// Why a user may start nothing, if so, and until when that is fresh.
    found: HashMap<UserId, (Instant, Option<String>)>,
    waiting: HashSet<ClassId>,
    /// When the waiting classes are checked again.
    pub due: Option<Instant>,
}

impl Spools {
    /// Does a class wait for room?
    pub(super) fn is_waiting(&self, class: ClassId) -> bool {
        self.waiting.contains(&class)
    }
}

impl Dispatcher {
    /// True if a class waits for room in its user's spool; that is then its reason. Tasks of the home's own account have no limit.
    pub(in crate::dispatch) fn waits_for_room(&mut self, tx: &Tx<'_>, class: ClassId) -> Result<bool, StoreError> {
        let Some(user) = self.schedule.compiled.get(&class).and_then(|compiled| compiled.guest) else {
            return Ok(false);
        };
        let now = self.ambient.now();
        let why = match self.schedule.spools.found.get(&user).filter(|(until, _)| *until > now.mono) {
            Some((_, why)) => why.clone(),
            None => {
                let why = quotas::no_room(tx, user, now.wall)?;
                let fresh = FRESH.max(self.ambient.now().since(now.mono) * SHARE);
                self.schedule.spools.found.insert(user, (now.mono + fresh, why.clone()));
                why
            }
        };
        let Some(why) = why else { return Ok(false) };
        tx.set_class_reason(class, Some(&why))?;
        self.schedule.spools.waiting.insert(class);
        self.schedule.spools.due.get_or_insert(now.mono + AGAIN);
        Ok(true)
    }

    /// Puts the classes that wait for spool room into the queue again, if it is time.
    pub(in crate::dispatch) fn requeue_full_spools(&mut self) {
        let now = self.ambient.now().mono;
        if self.schedule.spools.due.is_none_or(|at| at > now) {
            return;
        }
        self.schedule.spools.due = None;
        for class in std::mem::take(&mut self.schedule.spools.waiting) {
            self.schedule.queue.match_anew(class);
        }
    }
}
