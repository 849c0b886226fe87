//! Why blocked classes wait, for people: found between turns, some classes at a time, each at most once a second.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::pass::{COMPILED_MAX, compile};
use crate::dispatch::sealed;
use crate::distributor::tier2::summary;
use crate::model::id::ClassId;
use crate::store::{Durability, Store};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Least time between two explanations of a class.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for explanations between two turns; at least one class is explained.
const MOMENT: Duration = Duration::from_millis(5);

/// Classes to explain, first come first.
#[derive(Debug, Default)]
pub struct ToExplain {
    queue: VecDeque<ClassId>,
    there: HashSet<ClassId>,
    /// Classes that were explained in the last second, oldest first.
    fresh: VecDeque<(Instant, ClassId)>,
    looked_at: HashSet<ClassId>,
    /// Servers that tasks of a class are kept from, for people.
    kept_from: HashMap<ClassId, String>,
}

impl ToExplain {
    /// Adds a class that was blocked.
    pub fn add(&mut self, class: ClassId) {
        if self.there.insert(class) {
            self.queue.push_back(class);
        }
    }

    /// Notes that a task of a class waits though it would fit: on some servers it failed, others are paused.
    pub fn kept_from(&mut self, class: ClassId, failed: &str, paused: &str) {
        let failed = (!failed.is_empty()).then(|| format!("not yet again on {failed}, where it failed"));
        let paused = (!paused.is_empty()).then(|| format!("{paused} pauses, for much fails there"));
        if self.kept_from.len() > COMPILED_MAX {
            self.kept_from.clear();
        }
        self.kept_from.insert(class, failed.into_iter().chain(paused).collect::<Vec<_>>().join("; "));
    }

    /// True if there is no class to explain.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
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
        None
    }
}

impl Dispatcher {
    /// Writes for some blocked classes why they wait.
    pub(in crate::dispatch) fn explain_some(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let begun = self.ambient.now();
        let Some(mut class) = self.schedule.to_explain.next(begun.mono) else { return Ok(()) };
        sealed::write(store, Durability::Normal, |tx| {
            self.schedule.users.forget();
            loop {
                if let Some((key, distributor)) = self.schedule.queue.blocked_at(class)
                    && compile(self, tx, class)?
                {
                    if self.schedule.compiled.get(&class).is_some_and(|compiled| compiled.query.wants_apps()) {
                        self.schedule.fleets.watch(distributor, tx)?;
                    }
                    if let (Some(compiled), Some(fleet)) =
                        (self.schedule.compiled.get(&class), self.schedule.fleets.get(distributor))
                    {
                        let verdicts = fleet.explain(&compiled.query, Some(key.1), begun.wall);
                        let kept_from = self.schedule.to_explain.kept_from.remove(&class).into_iter();
                        let reasons: Vec<String> = std::iter::once(summary(&verdicts)).chain(kept_from).collect();
                        tx.set_class_reason(class, Some(&reasons.join("; ")))?;
                    }
                }
                let now = self.ambient.now();
                let next = if now.since(begun.mono) < MOMENT { self.schedule.to_explain.next(now.mono) } else { None };
                let Some(next) = next else { return Ok::<_, DispatchError>(()) };
                class = next;
            }
        })
    }
}
