//! What starts next, and where.

pub(in crate::dispatch) mod explaining;
pub(in crate::dispatch) mod pass;
pub(in crate::dispatch) mod queue;
pub(in crate::dispatch) mod rounds;
pub(in crate::dispatch) mod spool_limits;
pub(in crate::dispatch) mod starve;
pub(in crate::dispatch) mod users;
