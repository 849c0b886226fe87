//! Rounds: how far the blocked classes have been asked about servers that changed. A change starts a round at the first class,
//! also while another round runs: the first class is asked first about every server, and no class twice.

use crate::dispatch::schedule::queue::Key;
use crate::model::id::ServerId;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;

/// The rounds of a distributor's blocked classes, the most advanced round first.
#[derive(Debug, Default)]
pub struct Rounds {
    rounds: Vec<Round>,
    /// The round of the last query.
    at: usize,
    /// How many queries there were.
    asked: u32,
}

/// One query of this many serves the oldest round, so that it ends even if changes never cease. All other queries serve the newest
/// round, which starts at the first class.
const FOR_THE_FARTHEST: u32 = 8;

#[derive(Debug)]
struct Round {
    servers: Rc<BTreeSet<ServerId>>,
    /// The class that was asked last; None: no class yet.
    upto: Option<Key>,
}

impl Rounds {
    /// Starts a round for a server that changed.
    pub fn add(&mut self, server: ServerId) {
        match self.rounds.last_mut().filter(|round| round.upto.is_none()) {
            Some(round) => {
                Rc::make_mut(&mut round.servers).insert(server);
            }
            None => {
                self.join_last();
                self.rounds.push(Round { servers: Rc::new(BTreeSet::from([server])), upto: None });
            }
        }
    }

    /// Merges the last two rounds if they are equally far: there are never more rounds than classes.
    fn join_last(&mut self) {
        let [.., before, last] = &mut self.rounds[..] else { return };
        if before.upto == last.upto {
            Rc::make_mut(&mut before.servers).extend(last.servers.iter().copied());
            self.rounds.pop();
        }
    }

    /// Removes a server from all rounds.
    pub fn remove(&mut self, server: ServerId) {
        self.rounds.retain_mut(|round| {
            if round.servers.contains(&server) {
                Rc::make_mut(&mut round.servers).remove(&server);
            }
            !round.servers.is_empty()
        });
    }

    /// The next class to ask, and about which servers; with `before`, only a class before that position.
    pub fn next(&mut self, blocked: &BTreeSet<Key>, before: Option<Key>) -> Option<(Key, Rc<BTreeSet<ServerId>>)> {
        let behind = |round: &Round| {
            let from = round.upto.map_or(Bound::Unbounded, Bound::Excluded);
            blocked.range((from, Bound::Unbounded)).next().copied()
        };
        let stands_before = |key: Key| before.is_none_or(|place| key < place);
        // A round that has reached the end is done.
        while self.rounds.first().is_some_and(|farthest| behind(farthest).is_none()) {
            self.rounds.remove(0);
        }
        let its_turn = self.asked % FOR_THE_FARTHEST == FOR_THE_FARTHEST - 1;
        if its_turn && let Some(key) = behind(self.rounds.first()?).filter(|key| stands_before(*key)) {
            self.at = 0;
            return Some((key, Rc::clone(&self.rounds[0].servers)));
        }
        loop {
            let newest = self.rounds.len().checked_sub(1)?;
            let key = behind(&self.rounds[newest])?;
            let caught_up = newest.checked_sub(1).filter(|before| self.rounds[*before].upto < Some(key));
            let Some(before) = caught_up else {
                self.at = newest;
                return stands_before(key).then(|| (key, Rc::clone(&self.rounds[newest].servers)));
            };
            self.rounds[newest].upto = self.rounds[before].upto;
            self.join_last();
        }
    }

    /// Notes that a class was asked.
    pub fn asked(&mut self, key: Key) {
        if let Some(round) = self.rounds.get_mut(self.at) {
            round.upto = Some(key);
        }
        self.asked = self.asked.wrapping_add(1);
    }

    /// True if there is no class to ask.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }
}
