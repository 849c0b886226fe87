//! Other homes: questions to them, and what is done for them.

pub(in crate::dispatch) mod chores;
pub(in crate::dispatch) mod peers;
