//! The schedule: what starts next, and where.

mod choose;
pub(in crate::dispatch) mod classes;
pub(in crate::dispatch) mod explaining;
pub(in crate::dispatch) mod pass;
pub(in crate::dispatch) mod queue;
pub(in crate::dispatch) mod rounds;
pub(in crate::dispatch) mod servers;
pub(in crate::dispatch) mod spool_limits;
pub(in crate::dispatch) mod starve;
pub(in crate::dispatch) mod top_up;
pub(in crate::dispatch) mod users;
mod verdicts;

use crate::distributor::fleets::Fleets;
use crate::model::id::ClassId;
use explaining::ToExplain;
use pass::Compiled;
use queue::Queue;
use spool_limits::Spools;
use starve::Starving;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use users::UserCache;
use verdicts::Verdicts;

/// The queue of waiting classes, and the servers that they may run on.
#[derive(Debug)]
pub(in crate::dispatch) struct Schedule {
    pub(in crate::dispatch) queue: Queue,
    pub(in crate::dispatch) fleets: Fleets,
    pub(in crate::dispatch) compiled: BTreeMap<ClassId, Compiled>,
    pub(in crate::dispatch) users: UserCache,
    /// Classes whose arrays run as many members at once as they may.
    pub(in crate::dispatch) capped: BTreeSet<ClassId>,
    pub(in crate::dispatch) verdicts: Verdicts,
    /// The change counts of the home up to which servers and classes were read.
    pub(in crate::dispatch) seen_servers: i64,
    pub(in crate::dispatch) seen_classes: i64,
    pub(in crate::dispatch) to_explain: ToExplain,
    pub(in crate::dispatch) spools: Spools,
    /// When hosts are probed again for blocked classes.
    pub(in crate::dispatch) look_again: Option<Instant>,
    pub(in crate::dispatch) starving: Starving,
}

impl Schedule {
    /// An empty schedule.
    pub(in crate::dispatch) fn new(now: Instant) -> Self {
        Self {
            queue: Queue::default(),
            fleets: Fleets::kept(),
            compiled: BTreeMap::new(),
            users: UserCache::default(),
            capped: BTreeSet::new(),
            verdicts: Verdicts::default(),
            seen_servers: 0,
            seen_classes: 0,
            to_explain: ToExplain::default(),
            spools: Spools::default(),
            look_again: None,
            starving: Starving::new(now),
        }
    }
}
