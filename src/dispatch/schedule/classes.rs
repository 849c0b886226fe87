//! Classes with waiting members: they enter the queue.

use crate::dispatch::dispatcher::Dispatcher;
use crate::model::id::{ClassId, TaskId};
use crate::store::classes::ReadyClass;
use crate::store::{StoreError, Tx};

impl Dispatcher {
    /// Puts the classes that changed into the queue.
    pub(in crate::dispatch) fn load_classes(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        const SLICE: u32 = 1_000;
        let changes = tx.changes()?;
        let mut limit = SLICE;
        loop {
            let stirred = tx.classes_stirred(self.schedule.seen_classes, limit)?;
            let whole = stirred.len() < limit as usize;
            let last = stirred.last().map_or(changes, |(_, changed)| *changed);
            // Several classes may share a change count, and those with the last count may continue after the slice.
            let upto = if whole { changes } else { last - 1 };
            if !whole && upto <= self.schedule.seen_classes {
                limit *= 8;
                continue;
            }
            for (class, changed) in stirred {
                if changed <= upto {
                    self.schedule.compiled.remove(&class.id);
                    self.insert_class(tx, class)?;
                }
            }
            self.schedule.seen_classes = upto;
            self.activity.dirty |= !whole;
            return Ok(());
        }
    }

    /// Puts a class into the queue by its oldest waiting task.
    pub(in crate::dispatch) fn load_class(&mut self, tx: &Tx<'_>, id: ClassId) -> Result<(), StoreError> {
        match tx.stirred(id)? {
            Some(class) => self.insert_class(tx, class),
            None => {
                self.schedule.queue.forget(id);
                Ok(())
            }
        }
    }

    fn insert_class(&mut self, tx: &Tx<'_>, class: ReadyClass) -> Result<(), StoreError> {
        match tx.head(class.id, TaskId(0))? {
            Some(head) => self.schedule.queue.ready(class.id, class.priority, head.task, class.distributor),
            None => self.schedule.queue.forget(class.id),
        }
        Ok(())
    }
}
