//! The two tiers. A client's search ([`place`]) asks its first-tier set in order; a first-tier distributor redirects ([`tier1`])
//! and searches the second tier ([`front`], [`two_pass`]); a second-tier distributor offers and allocates ([`offer`], [`tier2`]).
//! Members of this home and of other homes are asked in one way ([`members`]); [`peers`] is how other homes are reached.
//! If all members live in this home, one transaction can hold the whole search ([`local_search`]).

pub mod avoided;
pub mod client_row;
pub mod context;
pub mod dry;
pub mod fleets;
pub mod front;
pub mod local_search;
pub mod members;
pub mod moving;
pub mod offer;
pub mod owner;
pub mod peers;
pub mod place;
pub mod principal;
pub mod quotas;
pub mod reconcile;
pub mod refusal;
pub mod registry;
pub mod search;
pub mod search_lock;
pub mod serve;
pub mod snapshot;
pub mod tier1;
pub mod tier2;
pub mod two_pass;
