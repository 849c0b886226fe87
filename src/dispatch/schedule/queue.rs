//! The order of what waits: classes by priority, then by their oldest task. Ready ones are looked at in this order;
//! one that fits nowhere is blocked until a server changes on which it may fit.

use crate::dispatch::schedule::rounds::Rounds;
use crate::model::id::{ClassId, DistributorId, ServerId, TaskId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The place of a class in the order.
pub type Key = (Reverse<i32>, TaskId, ClassId);

/// Classes that wait.
#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeMap<Key, DistributorId>,
    blocked: BTreeMap<DistributorId, Blocked>,
    keys: HashMap<ClassId, (Key, DistributorId)>,
}

/// The blocked classes of a distributor, and how far they have been asked about servers that changed.
#[derive(Debug, Default)]
struct Blocked {
    keys: BTreeSet<Key>,
    rounds: Rounds,
}

/// A blocked class that is to be asked about servers that changed.
#[derive(Debug)]
pub struct Freed {
    pub key: Key,
    pub distributor: DistributorId,
    pub servers: Rc<BTreeSet<ServerId>>,
}

impl Queue {
    /// A class is to be looked at, with this task at its head.
    pub fn ready(&mut self, class: ClassId, priority: i32, head: TaskId, distributor: DistributorId) {
        self.forget(class);
        let key = (Reverse(priority), head, class);
        self.keys.insert(class, (key, distributor));
        self.ready.insert(key, distributor);
    }

    /// The first class that is ready.
    pub fn first(&self) -> Option<(Key, DistributorId)> {
        self.ready.first_key_value().map(|(key, distributor)| (*key, *distributor))
    }

    /// A ready class fits nowhere.
    pub fn block(&mut self, key: Key) {
        if let Some(distributor) = self.ready.remove(&key) {
            self.blocked.entry(distributor).or_default().keys.insert(key);
        }
    }

    /// A class has nothing waiting any more.
    pub fn forget(&mut self, class: ClassId) {
        if let Some((key, distributor)) = self.keys.remove(&class) {
            self.ready.remove(&key);
            if let Some(blocked) = self.blocked.get_mut(&distributor) {
                blocked.keys.remove(&key);
            }
        }
    }

    /// Something changed on a server: blocked classes may fit there.
    pub fn free(&mut self, distributor: DistributorId, server: ServerId) {
        // Whoever is blocked from now on has seen it.
        if let Some(blocked) = self.blocked.get_mut(&distributor).filter(|blocked| !blocked.keys.is_empty()) {
            blocked.rounds.add(server);
        }
    }

    /// No task has room on a server any more: nobody needs to be asked about it.
    pub fn full(&mut self, distributor: DistributorId, server: ServerId) {
        if let Some(blocked) = self.blocked.get_mut(&distributor) {
            blocked.rounds.remove(server);
        }
    }

    /// The blocked class that stands first of those to be asked about servers that changed, and before all that is ready.
    pub fn next_freed(&mut self) -> Option<Freed> {
        let ready = self.ready.first_key_value().map(|(key, _)| *key);
        let next = self.blocked.iter_mut().filter_map(|(distributor, blocked)| {
            let (key, servers) = blocked.rounds.next(&blocked.keys, ready)?;
            Some(Freed { key, distributor: *distributor, servers })
        });
        next.min_by_key(|freed| freed.key)
    }

    /// It was asked: the next one is the one behind it.
    pub fn asked(&mut self, freed: &Freed) {
        if let Some(blocked) = self.blocked.get_mut(&freed.distributor) {
            blocked.rounds.asked(freed.key);
        }
    }

    /// A blocked class fits again.
    pub fn unblock(&mut self, freed: &Freed) {
        let blocked = self.blocked.get_mut(&freed.distributor);
        if blocked.is_some_and(|blocked| blocked.keys.remove(&freed.key)) {
            self.ready.insert(freed.key, freed.distributor);
        }
    }

    /// Does a class stand before this place in the order, ready or blocked?
    pub fn anything_before(&self, key: Key) -> bool {
        let blocked = self.blocked.values().filter_map(|blocked| blocked.keys.first());
        self.ready.first_key_value().map(|(first, _)| first).into_iter().chain(blocked).any(|first| *first < key)
    }

    /// The place of a class, if it waits.
    pub fn key(&self, class: ClassId) -> Option<Key> {
        self.keys.get(&class).map(|(key, _)| *key)
    }

    /// The distributor of a class, if it waits.
    pub fn distributor(&self, class: ClassId) -> Option<DistributorId> {
        self.keys.get(&class).map(|(_, distributor)| *distributor)
    }

    /// The place of a class and its distributor, if it is blocked.
    pub fn blocked_at(&self, class: ClassId) -> Option<(Key, DistributorId)> {
        let (key, distributor) = *self.keys.get(&class)?;
        self.blocked.get(&distributor)?.keys.contains(&key).then_some((key, distributor))
    }

    /// Blocked classes, those of each distributor in their order.
    pub fn blocked(&self) -> impl Iterator<Item = (Key, DistributorId)> {
        self.blocked.iter().flat_map(|(distributor, blocked)| blocked.keys.iter().map(|key| (*key, *distributor)))
    }

    /// Is any class ready, or has a server changed on which a blocked one may fit?
    pub fn is_dirty(&self) -> bool {
        !self.ready.is_empty()
            || self.blocked.values().any(|blocked| !blocked.keys.is_empty() && !blocked.rounds.is_empty())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIER: DistributorId = DistributorId(1);

    /// Three blocked classes, the first one with the oldest task.
    fn blocked() -> Queue {
        let mut queue = Queue::default();
        for class in 1..=3 {
            queue.ready(ClassId(class), 0, TaskId(class), TIER);
            queue.block((Reverse(0), TaskId(class), ClassId(class)));
        }
        queue
    }

    /// Asks the next one: its class and the servers, which must not be the same twice.
    fn ask(queue: &mut Queue) -> Option<(i64, Vec<i64>)> {
        let freed = queue.next_freed()?;
        queue.asked(&freed);
        Some((freed.key.2.0, freed.servers.iter().map(|server| server.0).collect()))
    }

    #[test]
    fn each_is_asked_once_about_each_server_and_the_first_one_first() {
        let mut queue = blocked();
        queue.free(TIER, ServerId(1));
        assert_eq!(ask(&mut queue), Some((1, vec![1])));
        assert_eq!(ask(&mut queue), Some((2, vec![1])));
        // Somebody else's end comes in between: from the beginning, and together from where both have come.
        queue.free(TIER, ServerId(2));
        assert_eq!(ask(&mut queue), Some((1, vec![2])));
        assert_eq!(ask(&mut queue), Some((2, vec![2])));
        assert_eq!(ask(&mut queue), Some((3, vec![1, 2])));
        assert_eq!(ask(&mut queue), None);
        assert!(!queue.is_dirty());
    }

    #[test]
    fn changes_without_end_keep_nobody_from_being_asked() {
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
    fn what_is_ready_passes_nobody_who_stands_before_it_and_is_asked() {
        let mut queue = blocked();
        // The first round has come to the last class, whose turn it is now and then; a server that frees begins another one.
        queue.free(TIER, ServerId(1));
        assert_eq!(ask(&mut queue), Some((1, vec![1])));
        assert_eq!(ask(&mut queue), Some((2, vec![1])));
        queue.ready(ClassId(9), 0, TaskId(2), TIER);
        for server in 2..20 {
            queue.free(TIER, ServerId(server));
            assert_eq!(
                ask(&mut queue).map(|(class, _)| class),
                Some(1),
                "it stands before what is ready, others do not"
            );
        }
        assert_eq!(ask(&mut queue), Some((2, (2..20).collect())), "rounds that came equally far are one");
        assert_eq!(ask(&mut queue), None, "the third one stands behind");
    }

    #[test]
    fn a_server_that_is_full_is_asked_about_no_more() {
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
    fn who_is_gone_or_unblocked_is_not_asked() {
        let mut queue = blocked();
        queue.free(TIER, ServerId(1));
        queue.forget(ClassId(1));
        let freed = queue.next_freed().unwrap();
        queue.unblock(&freed);
        assert_eq!(queue.first().map(|(key, _)| key.2), Some(ClassId(2)));
        // It is placed; nobody behind it was asked before.
        assert_eq!(ask(&mut queue), None);
        queue.forget(ClassId(2));
        assert_eq!(ask(&mut queue), Some((3, vec![1])));
    }
}
