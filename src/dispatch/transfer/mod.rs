//! Inputs, outputs and results on their way.

pub(in crate::dispatch) mod bring;
pub(in crate::dispatch) mod chunks;
pub(in crate::dispatch) mod discards;
pub(in crate::dispatch) mod inputs;
pub(in crate::dispatch) mod outputs;
pub(in crate::dispatch) mod results;
