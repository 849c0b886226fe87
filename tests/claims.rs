//! What the mission claims, by number, shown on one host with real commands. Numbers as in the mission's list.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod support;

#[path = "claims/attributes.rs"]
mod attributes;
#[path = "claims/cron.rs"]
mod cron;
#[path = "claims/databases.rs"]
mod databases;
#[path = "claims/hosts.rs"]
mod hosts;
#[path = "claims/load.rs"]
mod load;
#[path = "claims/tiers.rs"]
mod tiers;
#[path = "claims/way.rs"]
mod way;
