//! Links to agents: when they are opened, and how.

pub(in crate::dispatch) mod backoff;
pub(in crate::dispatch) mod connector;
pub(in crate::dispatch) mod link_state;
pub(in crate::dispatch) mod news;
pub(in crate::dispatch) mod open;
pub(in crate::dispatch) mod probes;
pub(in crate::dispatch) mod route;
