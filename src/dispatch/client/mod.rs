//! What commands use in their own process to reach a dispatcher, a host or another home.

mod door;
pub mod logins;
pub mod losses;
pub mod probe;
pub mod relay;
pub mod start;
pub mod survey;
