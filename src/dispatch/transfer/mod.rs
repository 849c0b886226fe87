//! Inputs, outputs and results on their way.

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

/// All that is on its way between this home and its servers, besides messages.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Transfers {
    pub(in crate::dispatch) inputs: InputTransfers,
    pub(in crate::dispatch) outputs: OutputFetches,
    pub(in crate::dispatch) results: ResultFetches,
    /// What servers may drop and have not heard of.
    pub(in crate::dispatch) discards: Discards,
    /// Ends whose results or outputs have arrived, to be taken in by the next turn.
    pub(in crate::dispatch) endings: Vec<Ending>,
    /// Results that a caller asked for once more, to be recorded by the next turn.
    pub(in crate::dispatch) again: Vec<Again>,
}
