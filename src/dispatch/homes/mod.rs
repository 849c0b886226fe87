//! Other homes: questions to them, and chores for them.

pub(in crate::dispatch) mod chores;
pub(in crate::dispatch) mod peers;

use chores::Chores;
use peers::PeerLinks;
use std::time::{Duration, Instant};

/// Other homes: links to them, and chores for them.
#[derive(Debug)]
pub(in crate::dispatch) struct Homes {
    pub(in crate::dispatch) peers: PeerLinks,
    pub(in crate::dispatch) chores: Chores,
    /// When silent homes were last retried.
    pub(in crate::dispatch) silent_at: Option<Instant>,
}

impl Homes {
    /// Other homes without open links. `limit`: how long a hello or an answer may take.
    pub(in crate::dispatch) fn new(limit: Duration) -> Self {
        Self { peers: PeerLinks::new(limit), chores: Chores::default(), silent_at: None }
    }
}
