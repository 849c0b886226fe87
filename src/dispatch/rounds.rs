//! Servers that changed, and how far the blocked classes have been asked about them. A change begins a round at the first class,
//! also while another round is under way: whoever stands first is asked first about every server, and nobody twice.

use super::queue::Key;
use crate::model::id::ServerId;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;

/// The rounds of a distributor's blocked classes, the one that has come farthest first.
#[derive(Debug, Default)]
pub struct Rounds(Vec<Round>);

#[derive(Debug)]
struct Round {
    servers: Rc<BTreeSet<ServerId>>,
    /// The class that was asked last; None: it has not begun.
    upto: Option<Key>,
}

impl Rounds {
    /// A server changed.
    pub fn add(&mut self, server: ServerId) {
        match self.0.last_mut().filter(|round| round.upto.is_none()) {
            Some(round) => {
                Rc::make_mut(&mut round.servers).insert(server);
            }
            None => self.0.push(Round { servers: Rc::new(BTreeSet::from([server])), upto: None }),
        }
    }

    /// Nobody needs to be asked about a server any more.
    pub fn remove(&mut self, server: ServerId) {
        self.0.retain_mut(|round| {
            if round.servers.contains(&server) {
                Rc::make_mut(&mut round.servers).remove(&server);
            }
            !round.servers.is_empty()
        });
    }

    /// Who is asked next, and about which servers.
    pub fn next(&mut self, blocked: &BTreeSet<Key>) -> Option<(Key, Rc<BTreeSet<ServerId>>)> {
        loop {
            let last = self.0.last()?;
            let behind = last.upto.map_or(Bound::Unbounded, Bound::Excluded);
            let Some(key) = blocked.range((behind, Bound::Unbounded)).next().copied() else {
                // The others have come as far at least.
                self.0.clear();
                return None;
            };
            let caught_up = self.0.len().checked_sub(2).filter(|before| self.0[*before].upto < Some(key));
            let Some(before) = caught_up else { return Some((key, Rc::clone(&last.servers))) };
            // From here on they go together.
            if let Some(round) = self.0.pop() {
                Rc::make_mut(&mut self.0[before].servers).extend(round.servers.iter().copied());
            }
        }
    }

    /// That one was asked.
    pub fn asked(&mut self, key: Key) {
        if let Some(round) = self.0.last_mut() {
            round.upto = Some(key);
        }
    }

    /// Nobody is to be asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
