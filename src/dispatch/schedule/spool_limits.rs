//! Users from elsewhere of whom as much lies in this home as may (`user_spool`): nothing more of theirs starts until there is room
//! again, for each end would leave more.

use crate::dispatch::dispatcher::Dispatcher;
use crate::distributor::quotas;
use crate::model::id::{ClassId, UserId};
use crate::store::{StoreError, Tx};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How old the count of what lies here may be, and how many times as old as it takes: the more there is, the longer that is.
const FRESH: Duration = Duration::from_millis(200);
const SHARE: u32 = 20;
/// How often classes that wait for room are looked at again.
const AGAIN: Duration = Duration::from_secs(2);

/// What was found of users, and the classes that wait for room.
#[derive(Debug, Default)]
pub struct Spools {
    /// Why nothing more of a user starts, if so, and until when that is fresh.
    found: HashMap<UserId, (Instant, Option<String>)>,
    waiting: HashSet<ClassId>,
    /// When they are looked at again.
    pub due: Option<Instant>,
}

impl Dispatcher {
    /// Does this class wait for its user's room? Then that is its reason. Nothing is asked for tasks of the home's own account.
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

    /// Lets classes that wait for room be looked at again, when it is time.
    pub(in crate::dispatch) fn look_for_room(&mut self) {
        let now = self.ambient.now().mono;
        if self.schedule.spools.due.is_none_or(|at| at > now) {
            return;
        }
        self.schedule.spools.due = None;
        for class in std::mem::take(&mut self.schedule.spools.waiting) {
            if let Some(((Reverse(priority), head, class), distributor)) = self.schedule.queue.blocked_at(class) {
                self.schedule.queue.ready(class, priority, head, distributor);
            }
        }
    }
}
