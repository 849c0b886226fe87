//! What a search is given from outside: the database of this home, the way to other homes, and the time.

use super::peers::Peers;
use crate::model::ambient::Ambient;
use crate::model::time::Timestamp;
use crate::store::Store;

/// The home that searches, and its surroundings.
pub struct TierContext<'a> {
    pub store: &'a mut Store,
    pub peers: &'a mut dyn Peers,
    pub ambient: &'a dyn Ambient,
}

impl TierContext<'_> {
    /// The wall clock's time.
    pub fn now(&self) -> Timestamp {
        self.ambient.now().wall
    }

    /// The same context, lent to a part of the search.
    pub fn reborrow(&mut self) -> TierContext<'_> {
        TierContext { store: self.store, peers: self.peers, ambient: self.ambient }
    }
}
