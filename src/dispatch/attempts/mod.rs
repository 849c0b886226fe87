//! What became of attempts: starts, events, ends, recovery.

pub(in crate::dispatch) mod cancels;
pub(in crate::dispatch) mod events;
pub(in crate::dispatch) mod lanes;
pub(in crate::dispatch) mod lost_after;
pub(in crate::dispatch) mod machines;
pub(in crate::dispatch) mod recover;
pub(in crate::dispatch) mod restored;
pub(in crate::dispatch) mod starts;
pub(in crate::dispatch) mod unsent;
