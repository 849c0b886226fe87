//! Servers that changed, and how far the blocked classes have been asked about them. A change begins a round at the first class,
//! also while another round is under way: whoever stands first is asked first about every server, and nobody twice.

use super::queue::Key;
use crate::model::id::ServerId;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;

/// The rounds of a distributor's blocked classes, the one that has come farthest first.
#[derive(Debug, Default)]
pub struct Rounds {
    rounds: Vec<Round>,
    /// The round that asks next.
    at: usize,
    /// How many were asked.
    asked: u32,
}

/// The newest round goes first, for it begins at the first class; but one ask of so many is the farthest round's, so that it ends
/// also where changes never cease.
const FOR_THE_FARTHEST: u32 = 8;

#[derive(Debug)]
struct Round {
    servers: Rc<BTreeSet<ServerId>>,
    /// The class that was asked last; None: it has not begun.
    upto: Option<Key>,
}

impl Rounds {
    /// A server changed.
    pub fn add(&mut self, server: ServerId) {
        match self.rounds.last_mut().filter(|round| round.upto.is_none()) {
            Some(round) => {
                Rc::make_mut(&mut round.servers).insert(server);
            }
            None => self.rounds.push(Round { servers: Rc::new(BTreeSet::from([server])), upto: None }),
        }
    }

    /// Nobody needs to be asked about a server any more.
    pub fn remove(&mut self, server: ServerId) {
        self.rounds.retain_mut(|round| {
            if round.servers.contains(&server) {
                Rc::make_mut(&mut round.servers).remove(&server);
            }
            !round.servers.is_empty()
        });
    }

    /// Who is asked next, and about which servers.
    pub fn next(&mut self, blocked: &BTreeSet<Key>) -> Option<(Key, Rc<BTreeSet<ServerId>>)> {
        loop {
            let newest = self.rounds.len().checked_sub(1)?;
            self.at = if self.asked % FOR_THE_FARTHEST == FOR_THE_FARTHEST - 1 { 0 } else { newest };
            let round = &self.rounds[self.at];
            let behind = round.upto.map_or(Bound::Unbounded, Bound::Excluded);
            let Some(key) = blocked.range((behind, Bound::Unbounded)).next().copied() else {
                // It is over, and so are those that have come as far at least.
                self.rounds.drain(..=self.at);
                continue;
            };
            let caught_up = self.at.checked_sub(1).filter(|before| self.rounds[*before].upto < Some(key));
            let Some(before) = caught_up else { return Some((key, Rc::clone(&round.servers))) };
            // From here on they go together.
            if let Some(round) = self.rounds.pop() {
                Rc::make_mut(&mut self.rounds[before].servers).extend(round.servers.iter().copied());
            }
        }
    }

    /// That one was asked.
    pub fn asked(&mut self, key: Key) {
        if let Some(round) = self.rounds.get_mut(self.at) {
            round.upto = Some(key);
        }
        self.asked = self.asked.wrapping_add(1);
    }

    /// Nobody is to be asked.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }
}
