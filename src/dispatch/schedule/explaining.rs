//! Why blocked classes wait, for people: found between turns, some classes at a time, each at most once a second. What was found is
//! found anew every few seconds, in a small share of the time: a server may be free, and its load too high by now.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::pass::compile_by;
use crate::dispatch::schedule::queue::{Key, Queue};
use crate::dispatch::sealed;
use crate::distributor::avoided::Avoiding;
use crate::matching::Fleet;
use crate::model::ambient::Now;
use crate::model::bounds;
use crate::model::id::{ClassId, DistributorId, ServerId, TaskId};
use crate::store::classes::Head;
use crate::store::{Durability, Store, StoreError, View};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Least time between two explanations of a class.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for explanations between two turns; at least one class is explained.
const MOMENT: Duration = Duration::from_millis(5);
/// To explain classes again may take one part in so many of the time.
const SHARE: u32 = 20;
/// How many blocked classes are put together to be explained again.
const AGAIN: usize = 1_000;

/// Classes to explain, first come first.
#[derive(Debug, Default)]
pub struct ToExplain {
    queue: VecDeque<ClassId>,
    there: HashSet<ClassId>,
    /// Classes that were explained in the last second, oldest first.
    fresh: VecDeque<(Instant, ClassId)>,
    looked_at: HashSet<ClassId>,
    /// Classes whose reasons may be of the past, after all others.
    again: VecDeque<ClassId>,
    /// The last class that was put there.
    last_again: Option<(DistributorId, Key)>,
    /// When the next of them is due.
    again_at: Option<Instant>,
}

impl ToExplain {
    /// Adds a class that was blocked.
    pub fn add(&mut self, class: ClassId) {
        if self.there.insert(class) {
            self.queue.push_back(class);
        }
    }

    /// Adds some blocked classes that were explained before, unless such are left: those behind the last of the time before, else
    /// the first.
    pub fn add_again(&mut self, queue: &Queue) {
        if !self.again.is_empty() {
            return;
        }
        let mut found: Vec<_> = queue.blocked_behind(self.last_again).take(AGAIN).collect();
        if found.is_empty() {
            found.extend(queue.blocked().take(AGAIN));
        }
        self.last_again = found.last().map(|(key, distributor)| (*distributor, *key));
        self.again.extend(found.into_iter().map(|(key, _)| key.2));
    }

    /// When the next class is explained; None: there is none.
    pub fn due_at(&self, now: Instant) -> Option<Instant> {
        match (self.queue.is_empty(), self.again.is_empty()) {
            // Most often a turn comes first.
            (false, _) => Some(now + Duration::from_millis(50)),
            (true, false) => Some(self.again_at.unwrap_or(now)),
            (true, true) => None,
        }
    }

    /// The next class that was not explained within the last second.
    fn next(&mut self, now: Instant) -> Option<ClassId> {
        while let Some((_, class)) = self.fresh.front().filter(|(at, _)| now.saturating_duration_since(*at) >= PAUSE) {
            self.looked_at.remove(class);
            self.fresh.pop_front();
        }
        for _ in 0..self.queue.len().min(self.fresh.len() + 1) {
            let class = self.queue.pop_front()?;
            if self.looked_at.insert(class) {
                self.there.remove(&class);
                self.fresh.push_back((now, class));
                return Some(class);
            }
            self.queue.push_back(class);
        }
        while self.again_at.is_none_or(|at| at <= now) {
            let class = self.again.pop_front()?;
            if !self.there.contains(&class) && self.looked_at.insert(class) {
                self.fresh.push_back((now, class));
                return Some(class);
            }
        }
        None
    }

    /// Explanations took until now.
    fn rest(&mut self, begun: Instant, now: Instant) {
        self.again_at = Some(now + now.saturating_duration_since(begun) * SHARE);
    }
}

impl Dispatcher {
    /// Writes for some blocked classes why they wait. The reasons are found outside the transaction that writes them.
    pub(in crate::dispatch) fn explain_some(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let begun = self.ambient.now();
        let Some(first) = self.schedule.to_explain.next(begun.mono) else { return Ok(()) };
        self.schedule.users.forget();
        let found = store.read(|view| {
            let (mut found, mut next) = (Vec::new(), Some(first));
            while let Some(class) = next {
                let why = self.why_it_waits(view, class, begun)?;
                let known = view.class_reason(class)?;
                found.extend(why.filter(|why| known.as_ref() != Some(why)).map(|why| (class, why)));
                let now = self.ambient.now();
                next = if now.since(begun.mono) < MOMENT { self.schedule.to_explain.next(now.mono) } else { None };
            }
            Ok::<_, DispatchError>(found)
        })?;
        if !found.is_empty() {
            sealed::write(store, Durability::Normal, |tx| {
                found.iter().try_for_each(|(class, why)| tx.set_class_reason(*class, Some(why)))
            })?;
        }
        self.schedule.to_explain.rest(begun.mono, self.ambient.now().mono);
        Ok(())
    }

    /// Why a class waits, if it is blocked and its reason is not another one.
    fn why_it_waits(&mut self, view: &View<'_>, class: ClassId, now: Now) -> Result<Option<String>, StoreError> {
        let Some((key, distributor)) = self.schedule.queue.blocked_at(class) else { return Ok(None) };
        if self.schedule.spools.is_waiting(class) {
            return Ok(None);
        }
        match compile_by(self, view, class)? {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        }
        if self.schedule.compiled.get(&class).is_some_and(|compiled| compiled.query.wants_apps()) {
            self.schedule.fleets.watch(distributor, view)?;
        }
        self.why_blocked(view, key, distributor, now)
    }

    /// Why a blocked class waits: what its servers lack, and those that its first task is kept from though they may fit.
    fn why_blocked(
        &self,
        view: &View<'_>,
        key: Key,
        distributor: DistributorId,
        now: Now,
    ) -> Result<Option<String>, StoreError> {
        let (_, first, class) = key;
        let (Some(compiled), Some(fleet)) = (self.schedule.compiled.get(&class), self.schedule.fleets.get(distributor))
        else {
            return Ok(None);
        };
        let mut reasons = Vec::new();
        if let Some(head) = view.head(class, TaskId(0))? {
            let avoiding = Avoiding::new(view, fleet, &compiled.query, class, now.wall)?;
            reasons = self.own_avoidances(&avoiding, fleet, &head)?;
            // Other tasks share the reason.
            if !reasons.is_empty() && view.head(class, head.task)?.is_some() {
                reasons[0] = format!("the first of these tasks: {}", reasons[0]);
            }
            // What holds for all of them comes before what holds for the first.
            let paused = self.paused(&avoiding, fleet, &head, now)?;
            reasons.splice(0..0, paused);
        }
        match fleet.why_waits(&compiled.query, Some(first), now.wall) {
            Some(why) => reasons.insert(0, why),
            None if reasons.is_empty() => reasons.push("others come first".to_owned()),
            None => {}
        }
        let mut why = reasons.join("; ");
        bounds::cut(&mut why);
        Ok(Some(why))
    }

    /// Servers that a task is kept from: they refused it, or it failed there.
    fn own_avoidances(&self, avoiding: &Avoiding<'_>, fleet: &Fleet, head: &Head) -> Result<Vec<String>, StoreError> {
        let refused = avoiding.refused(head.task)?;
        let first = refused.iter().find_map(|(server, why)| Some((fleet.get(*server)?.name.as_str(), why)));
        let more = and_more(refused.len());
        let mut words: Vec<String> =
            first.map(|(name, why)| format!("refused: {why} on {name}{more}")).into_iter().collect();
        let refused_by: Vec<ServerId> = refused.iter().map(|(server, _)| *server).collect();
        let failed = avoiding.failed_there(head.task, head.waiting, None, &refused_by)?;
        if let Some(failed) = named(fleet, failed.into_iter().map(|(server, _)| server)) {
            words.push(format!("not yet again on {failed}, where it failed"));
        }
        Ok(words)
    }

    /// Servers that all tasks of a class are kept from, for much fails there.
    fn paused(
        &self,
        avoiding: &Avoiding<'_>,
        fleet: &Fleet,
        head: &Head,
        now: Now,
    ) -> Result<Option<String>, StoreError> {
        let closed = self.attempts.suspects.closed_to(avoiding.class(), now.mono);
        if closed.is_empty() {
            return Ok(None);
        }
        let refused: Vec<ServerId> = avoiding.refused(head.task)?.into_iter().map(|(server, _)| server).collect();
        let paused = avoiding.paused(&refused)?.into_iter().map(|(server, _)| server);
        Ok(named(fleet, paused.filter(|server| closed.contains(server)))
            .map(|paused| format!("{paused} pauses, for much fails there")))
    }
}

/// The first of these servers by name, and how many more there are.
fn named(fleet: &Fleet, servers: impl Iterator<Item = ServerId>) -> Option<String> {
    let names: BTreeSet<&str> = servers.filter_map(|id| Some(fleet.get(id)?.name.as_str())).collect();
    names.first().map(|first| format!("{first}{}", and_more(names.len())))
}

/// What follows the first of several.
fn and_more(all: usize) -> String {
    if all > 1 { format!(" (and {} more)", all - 1) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many classes of a distributor, all blocked.
    fn blocked(classes: i64) -> Queue {
        let mut queue = Queue::default();
        for id in 1..=classes {
            queue.ready(ClassId(id), 0, TaskId(id), DistributorId(1));
        }
        while let Some((key, _)) = queue.first() {
            queue.block(key);
        }
        queue
    }

    #[test]
    fn classes_behind_the_first_thousand_are_explained_again_too() {
        let (mut classes, queue) = (ToExplain::default(), blocked(AGAIN as i64 + 2));
        for first in [1, AGAIN as i64 + 1, 1] {
            classes.add_again(&queue);
            assert_eq!(classes.again.front(), Some(&ClassId(first)));
            classes.again.clear();
        }
    }

    #[test]
    fn classes_are_explained_again_after_the_others_in_a_share_of_the_time() {
        let (mut classes, now) = (ToExplain::default(), Instant::now());
        classes.add_again(&blocked(3));
        classes.add(ClassId(4));
        classes.add(ClassId(2));
        let both: Vec<_> = [now; 2].into_iter().filter_map(|at| classes.next(at)).collect();
        assert_eq!(both, [ClassId(4), ClassId(2)]);
        let took = Duration::from_millis(5);
        classes.rest(now, now + took);
        assert_eq!((classes.next(now + took), classes.due_at(now)), (None, Some(now + took * (SHARE + 1))));
        let later = now + took * (SHARE + 1);
        let rest: Vec<_> = [later; 3].into_iter().filter_map(|at| classes.next(at)).collect();
        assert_eq!(rest, [ClassId(1), ClassId(3)], "the second was explained a moment ago");
        assert_eq!(classes.due_at(later), None);
    }
}
