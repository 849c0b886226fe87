//! The two tiers. A first-tier distributor redirects ([`tier1`]), a second-tier one allocates ([`tier2`]);
//! [`search`] goes through a set of either, one member after the other.

pub mod search;
pub mod tier1;
pub mod tier2;
