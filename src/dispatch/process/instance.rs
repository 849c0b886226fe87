//! The identity of a running dispatcher.

use crate::model::id::Epoch;
use crate::model::name::Name;
use crate::model::time::Timestamp;

/// The identity of a running dispatcher of a home.
#[derive(Debug)]
pub struct Instance {
    /// Higher than the epoch of every dispatcher before.
    pub epoch: Epoch,
    /// Attempts sent up to this epoch are from before the backup that this home was restored from; None: it was not restored.
    pub restored: Option<Epoch>,
    /// The account that the home belongs to.
    pub owner: Name,
    pub began_at: Timestamp,
}
