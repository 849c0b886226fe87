//! The queue: waiting classes by priority, then by their oldest task. Ready classes are placed in this order; a class that fits
//! nowhere is blocked until a server changes on which it may fit.

use crate::dispatch::schedule::rounds::Rounds;
use crate::model::id::{ClassId, DistributorId, ServerId, TaskId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;

/// The position of a class in the queue.
pub type Key = (Reverse<i32>, TaskId, ClassId);

/// Waiting classes.
#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeMap<Key, DistributorId>,
    blocked: BTreeMap<DistributorId, Blocked>,
    keys: HashMap<ClassId, (Key, DistributorId)>,
}

/// The blocked classes of a distributor, and the rounds in which they are matched with servers that changed.
#[derive(Debug, Default)]
struct Blocked {
    keys: BTreeSet<Key>,
    rounds: Rounds,
}

/// A blocked class to match with servers that changed.
#[derive(Debug)]
pub struct Freed {
    pub key: Key,
    pub distributor: DistributorId,
    pub servers: Rc<BTreeSet<ServerId>>,
}

impl Queue {
    /// Marks a class as ready, with this task at its head.
    pub fn ready(&mut self, class: ClassId, priority: i32, head: TaskId, distributor: DistributorId) {
        self.forget(class);
        let key = (Reverse(priority), head, class);
        self.keys.insert(class, (key, distributor));
        self.ready.insert(key, distributor);
    }

    /// The first ready class.
    pub fn first(&self) -> Option<(Key, DistributorId)> {
        self.ready.first_key_value().map(|(key, distributor)| (*key, *distributor))
    }

    /// Marks a ready class as blocked: it fits nowhere.
    pub fn block(&mut self, key: Key) {
        if let Some(distributor) = self.ready.remove(&key) {
            self.blocked.entry(distributor).or_default().keys.insert(key);
        }
    }

    /// Removes a class: nothing of it waits any more.
    pub fn forget(&mut self, class: ClassId) {
        if let Some((key, distributor)) = self.keys.remove(&class) {
            self.ready.remove(&key);
            if let Some(blocked) = self.blocked.get_mut(&distributor) {
                blocked.keys.remove(&key);
            }
        }
    }

    /// Notes that a server has changed: blocked classes may fit there.
    pub fn free(&mut self, distributor: DistributorId, server: ServerId) {
        // Classes that are blocked later were matched with the changed server already.
        if let Some(blocked) = self.blocked.get_mut(&distributor).filter(|blocked| !blocked.keys.is_empty()) {
            blocked.rounds.add(server);
        }
    }

    /// Notes that no task has room on a server any more: no class is matched with it.
    pub fn full(&mut self, distributor: DistributorId, server: ServerId) {
        if let Some(blocked) = self.blocked.get_mut(&distributor) {
            blocked.rounds.remove(server);
        }
    }

    /// The first blocked class to match with servers that changed, if it comes before everything that is ready.
    pub fn next_freed(&mut self) -> Option<Freed> {
        let ready = self.ready.first_key_value().map(|(key, _)| *key);
        let next = self.blocked.iter_mut().filter_map(|(distributor, blocked)| {
            let (key, servers) = blocked.rounds.next(&blocked.keys, ready)?;
            Some(Freed { key, distributor: *distributor, servers })
        });
        next.min_by_key(|freed| freed.key)
    }

    /// Notes that a blocked class was matched: the next one is the class behind it.
    pub fn asked(&mut self, freed: &Freed) {
        if let Some(blocked) = self.blocked.get_mut(&freed.distributor) {
            blocked.rounds.asked(freed.key);
        }
    }

    /// Marks a blocked class as ready.
    pub fn unblock(&mut self, freed: &Freed) {
        let blocked = self.blocked.get_mut(&freed.distributor);
        if blocked.is_some_and(|blocked| blocked.keys.remove(&freed.key)) {
            self.ready.insert(freed.key, freed.distributor);
        }
    }

    /// Marks a class as ready if it is blocked: it is matched with all servers again.
    pub fn match_anew(&mut self, class: ClassId) {
        if let Some((key, distributor)) = self.blocked_at(class) {
            self.blocked.entry(distributor).or_default().keys.remove(&key);
            self.ready.insert(key, distributor);
        }
    }

    /// True if a class, ready or blocked, comes before this position.
    pub fn has_class_before(&self, key: Key) -> bool {
        let blocked = self.blocked.values().filter_map(|blocked| blocked.keys.first());
        self.ready.first_key_value().map(|(first, _)| first).into_iter().chain(blocked).any(|first| *first < key)
    }

    /// The position of a class, if it waits.
    pub fn key(&self, class: ClassId) -> Option<Key> {
        self.keys.get(&class).map(|(key, _)| *key)
    }

    /// The distributor of a class, if it waits.
    pub fn distributor(&self, class: ClassId) -> Option<DistributorId> {
        self.keys.get(&class).map(|(_, distributor)| *distributor)
    }

    /// The position of a class and its distributor, if it is blocked.
    pub fn blocked_at(&self, class: ClassId) -> Option<(Key, DistributorId)> {
        let (key, distributor) = *self.keys.get(&class)?;
        self.blocked.get(&distributor)?.keys.contains(&key).then_some((key, distributor))
    }

    /// Blocked classes, those of each distributor in their order.
    pub fn blocked(&self) -> impl Iterator<Item = (Key, DistributorId)> {
        self.blocked.iter().flat_map(|(distributor, blocked)| blocked.keys.iter().map(|key| (*key, *distributor)))
    }

    /// Blocked classes behind this one, in the order of [`Self::blocked`].
    pub fn blocked_behind(&self, last: Option<(DistributorId, Key)>) -> impl Iterator<Item = (Key, DistributorId)> {
        let from = last.map_or(Bound::Unbounded, |(distributor, _)| Bound::Included(distributor));
        self.blocked.range((from, Bound::Unbounded)).flat_map(move |(distributor, blocked)| {
            let behind = last.filter(|(of, _)| of == distributor);
            let from = behind.map_or(Bound::Unbounded, |(_, key)| Bound::Excluded(key));
            blocked.keys.range((from, Bound::Unbounded)).map(|key| (*key, *distributor))
        })
    }

    /// True if a class is ready, or a blocked class may fit on a server that changed.
    pub fn is_dirty(&self) -> bool {
        !self.ready.is_empty()
            || self.blocked.values().any(|blocked| !blocked.keys.is_empty() && !blocked.rounds.is_empty())
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIER: DistributorId = DistributorId(1);

    /// Three blocked classes; the first has the oldest task.
    fn blocked() -> Queue {
        let mut queue = Queue::default();
        for class in 1..=3 {
            queue.ready(ClassId(class), 0, TaskId(class), TIER);
            queue.block((Reverse(0), TaskId(class), ClassId(class)));
        }
        queue
    }

    /// Asks the next class. Gives the class and the servers; no class is asked twice about a server.
    fn ask(queue: &mut Queue) -> Option<(i64, Vec<i64>)> {
        let freed = queue.next_freed()?;
        queue.asked(&freed);
        Some((freed.key.2.0, freed.servers.iter().map(|server| server.0).collect()))
    }

    #[test]
    fn each_class_is_asked_once_about_each_server_in_order() {
        let mut queue = blocked();
        queue.free(TIER, ServerId(1));
        assert_eq!(ask(&mut queue), Some((1, vec![1])));
        assert_eq!(ask(&mut queue), Some((2, vec![1])));
        // A change in between restarts at the first class; the rounds merge where they meet.
        queue.free(TIER, ServerId(2));
        assert_eq!(ask(&mut queue), Some((1, vec![2])));
        assert_eq!(ask(&mut queue), Some((2, vec![2])));
        assert_eq!(ask(&mut queue), Some((3, vec![1, 2])));
        assert_eq!(ask(&mut queue), None);
        assert!(!queue.is_dirty());
    }

    #[test]
    fn endless_changes_starve_no_class() {
        let mut queue = Queue::default();
        for class in 1..=100 {
            queue.ready(ClassId(class), 0, TaskId(class), TIER);
            queue.block((Reverse(0), TaskId(class), ClassId(class)));
        }
        queue.free(TIER, ServerId(1));
        let asked_last = (0..10_000).any(|ask_number| {
            let asked = ask(&mut queue);
            queue.free(TIER, ServerId(2 + ask_number % 5));
            asked.is_some_and(|(class, servers)| class == 100 && servers.contains(&1))
        });
        assert!(asked_last);
    }

    #[test]
    fn ready_class_does_not_pass_an_earlier_class_that_is_asked() {
        let mut queue = blocked();
        // The first round has reached the last class, which gets one query of eight; a server that frees starts another round.
        queue.free(TIER, ServerId(1));
        assert_eq!(ask(&mut queue), Some((1, vec![1])));
        assert_eq!(ask(&mut queue), Some((2, vec![1])));
        queue.ready(ClassId(9), 0, TaskId(2), TIER);
        for server in 2..20 {
            queue.free(TIER, ServerId(server));
            assert_eq!(
                ask(&mut queue).map(|(class, _)| class),
                Some(1),
                "it comes before the ready class, others do not"
            );
        }
        assert_eq!(ask(&mut queue), Some((2, (2..20).collect())), "rounds that came equally far are one");
        assert_eq!(ask(&mut queue), None, "the third one stands behind");
    }

    #[test]
    fn full_server_is_dropped_from_the_rounds() {
        let mut queue = blocked();
        queue.free(TIER, ServerId(1));
        queue.free(TIER, ServerId(2));
        assert_eq!(ask(&mut queue), Some((1, vec![1, 2])));
        queue.full(TIER, ServerId(1));
        assert_eq!(ask(&mut queue), Some((2, vec![2])));
        queue.full(TIER, ServerId(2));
        assert!(!queue.is_dirty());
        assert_eq!(ask(&mut queue), None);
    }

    #[test]
    fn removed_or_unblocked_class_is_not_asked() {
        let mut queue = blocked();
        queue.free(TIER, ServerId(1));
        queue.forget(ClassId(1));
        let freed = queue.next_freed().unwrap();
        queue.unblock(&freed);
        assert_eq!(queue.first().map(|(key, _)| key.2), Some(ClassId(2)));
        // The class is placed; no class behind it was asked before.
        assert_eq!(ask(&mut queue), None);
        queue.forget(ClassId(2));
        assert_eq!(ask(&mut queue), Some((3, vec![1])));
    }
}
