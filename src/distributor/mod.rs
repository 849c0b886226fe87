//! The two tiers. A client's search ([`place`]) goes through its first-tier set; a first-tier distributor redirects ([`tier1`])
//! and walks the second tier ([`front`], [`walk`]); a second-tier one offers and allocates ([`desk`], [`tier2`]).
//! Members of this home and of others are asked one way ([`across`]); how others are reached is [`peers`]' matter.
//! Where all of them live in this home, the search may also run within one transaction ([`within`]).

pub mod across;
pub mod caps;
pub mod desk;
pub mod dry;
pub mod fleets;
pub mod front;
pub mod guest;
pub mod peers;
pub mod place;
mod placing;
pub mod registry;
pub mod search;
pub mod serve;
pub mod settle;
pub mod snapshot;
pub mod tier1;
pub mod tier2;
pub mod walk;
pub mod within;
