//! Transfers of inputs, outputs and results.

pub(in crate::dispatch) mod bring;
pub(in crate::dispatch) mod chunks;
pub(in crate::dispatch) mod discards;
pub(in crate::dispatch) mod ending;
pub(in crate::dispatch) mod inputs;
pub(in crate::dispatch) mod outputs;
pub(in crate::dispatch) mod results;

use discards::Discards;
use ending::Ending;
use inputs::InputTransfers;
use outputs::OutputFetches;
use results::{Again, ResultFetches};

/// All transfers between this home and its servers.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Transfers {
    pub(in crate::dispatch) inputs: InputTransfers,
    pub(in crate::dispatch) outputs: OutputFetches,
    pub(in crate::dispatch) results: ResultFetches,
    /// Discards that servers have not received yet.
    pub(in crate::dispatch) discards: Discards,
    /// Ends whose results or outputs have arrived, for the next turn.
    pub(in crate::dispatch) endings: Vec<Ending>,
    /// Outcomes of repeated fetches, for the next turn to record.
    pub(in crate::dispatch) again: Vec<Again>,
}
