//! The order of what waits: classes by priority, then by their oldest task. Ready ones are looked at in this order;
//! one that fits nowhere is blocked until a server changes on which it may fit.

use crate::model::id::{ClassId, DistributorId, ServerId, TaskId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The place of a class in the order.
pub type Key = (Reverse<i32>, TaskId, ClassId);

/// Classes that wait.
#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeMap<Key, DistributorId>,
    blocked: BTreeMap<Key, DistributorId>,
    keys: HashMap<ClassId, Key>,
    /// Servers that changed since the blocked classes were looked at.
    freed: HashMap<DistributorId, HashSet<ServerId>>,
}

impl Queue {
    /// A class is to be looked at, with this task at its head.
    pub fn ready(&mut self, class: ClassId, priority: i32, head: TaskId, distributor: DistributorId) {
        self.forget(class);
        let key = (Reverse(priority), head, class);
        self.keys.insert(class, key);
        self.ready.insert(key, distributor);
    }

    /// The first class that is ready.
    pub fn first(&self) -> Option<(Key, DistributorId)> {
        self.ready.first_key_value().map(|(key, distributor)| (*key, *distributor))
    }

    /// A ready class fits nowhere.
    pub fn block(&mut self, key: Key) {
        if let Some(distributor) = self.ready.remove(&key) {
            self.blocked.insert(key, distributor);
        }
    }

    /// A class has nothing waiting any more.
    pub fn forget(&mut self, class: ClassId) {
        if let Some(key) = self.keys.remove(&class) {
            self.ready.remove(&key);
            self.blocked.remove(&key);
        }
    }

    /// Something changed on a server: blocked classes may fit there.
    pub fn free(&mut self, distributor: DistributorId, server: ServerId) {
        self.freed.entry(distributor).or_default().insert(server);
    }

    /// What changed since the last time, and the classes that may fit there, in their order.
    pub fn take_freed(&mut self) -> Vec<(Key, DistributorId, Vec<ServerId>)> {
        let freed: HashMap<DistributorId, Vec<ServerId>> =
            self.freed.drain().map(|(distributor, servers)| (distributor, servers.into_iter().collect())).collect();
        if freed.is_empty() {
            return Vec::new();
        }
        self.blocked.iter().filter_map(|(key, d)| freed.get(d).map(|servers| (*key, *d, servers.clone()))).collect()
    }

    /// A blocked class may fit again.
    pub fn unblock(&mut self, key: Key) {
        if let Some(distributor) = self.blocked.remove(&key) {
            self.ready.insert(key, distributor);
        }
    }

    /// Does a class stand before this place in the order, ready or blocked?
    pub fn anything_before(&self, key: Key) -> bool {
        let before = |set: &BTreeMap<Key, DistributorId>| set.first_key_value().is_some_and(|(first, _)| *first < key);
        before(&self.ready) || before(&self.blocked)
    }

    /// The place of a class, if it waits.
    pub fn key(&self, class: ClassId) -> Option<Key> {
        self.keys.get(&class).copied()
    }

    /// Blocked classes in their order.
    pub fn blocked(&self) -> impl Iterator<Item = (Key, DistributorId)> {
        self.blocked.iter().map(|(key, distributor)| (*key, *distributor))
    }

    /// Is any class ready, or has a server changed on which a blocked one may fit?
    pub fn stirs(&self) -> bool {
        !self.ready.is_empty() || (!self.freed.is_empty() && !self.blocked.is_empty())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
