//! Why blocked classes wait, for people: looked at in quiet moments, some at a time, each at most once a second.

use crate::dispatch::schedule::pass::compile;
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::distributor::tier2::summary;
use crate::model::id::ClassId;
use crate::model::time::Timestamp;
use crate::store::{Durability, Store};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// A class is looked at so often at most.
const PAUSE: Duration = Duration::from_secs(1);
/// One quiet moment; at least one class is looked at in it.
const MOMENT: Duration = Duration::from_millis(5);

/// Classes of which is to be said why they wait, the first ones first.
#[derive(Debug, Default)]
pub struct ToExplain {
    queue: VecDeque<ClassId>,
    there: HashSet<ClassId>,
    /// Those that were looked at in the last second, oldest first.
    fresh: VecDeque<(Instant, ClassId)>,
    looked_at: HashSet<ClassId>,
}

impl ToExplain {
    /// A class was blocked.
    pub fn add(&mut self, class: ClassId) {
        if self.there.insert(class) {
            self.queue.push_back(class);
        }
    }

    /// Nothing is to be said.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next one that was not looked at just now.
    fn next(&mut self) -> Option<ClassId> {
        while let Some((_, class)) = self.fresh.front().filter(|(at, _)| at.elapsed() >= PAUSE) {
            self.looked_at.remove(class);
            self.fresh.pop_front();
        }
        for _ in 0..self.queue.len().min(self.fresh.len() + 1) {
            let class = self.queue.pop_front()?;
            if self.looked_at.insert(class) {
                self.there.remove(&class);
                self.fresh.push_back((Instant::now(), class));
                return Some(class);
            }
            self.queue.push_back(class);
        }
        None
    }
}

impl Dispatcher {
    /// Says of some blocked classes why they wait.
    pub(in crate::dispatch) fn explain_some(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let Some(mut class) = self.to_explain.next() else { return Ok(()) };
        let end = Instant::now() + MOMENT;
        store.write(Durability::Normal, |tx| {
            self.people.forget();
            loop {
                if let Some((key, distributor)) = self.queue.blocked_at(class)
                    && compile(self, tx, class)?
                    && let (Some(compiled), Some(fleet)) = (self.compiled.get(&class), self.fleets.get(distributor))
                {
                    let verdicts = fleet.explain(&compiled.query, Some(key.1), Timestamp::now());
                    tx.set_class_reason(class, Some(&summary(&verdicts)))?;
                }
                let next = if Instant::now() < end { self.to_explain.next() } else { None };
                let Some(next) = next else { return Ok::<_, DispatchError>(()) };
                class = next;
            }
        })
    }
}
