//! What the mission claims, by number, with real commands. Numbers as in the mission's list.
//!
//! All are shown on one host. Those about the tiers are shown two more times: `tiers` between homes on one host (endpoints are paths),
//! and `hosts` between 13 hosts over ssh: `cargo test --test claims hosts::`. `loaded_hosts` puts real load on hosts over ssh.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod support;

#[path = "claims/attributes.rs"]
mod attributes;
#[path = "claims/cron.rs"]
mod cron;
#[path = "claims/databases.rs"]
mod databases;
#[path = "claims/hosts/mod.rs"]
mod hosts;
#[path = "claims/load.rs"]
mod load;
#[path = "claims/loaded_hosts.rs"]
mod loaded_hosts;
#[path = "claims/tiers.rs"]
mod tiers;
#[path = "claims/way.rs"]
mod way;
