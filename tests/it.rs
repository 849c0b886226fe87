//! `grid` through its command line: the real binary, the real dispatcher, agent and supervisor.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod support;

#[path = "it/backup.rs"]
mod backup;
#[path = "it/copies.rs"]
mod copies;
#[path = "it/cron.rs"]
mod cron;
#[path = "it/environment.rs"]
mod environment;
#[path = "it/explained.rs"]
mod explained;
#[path = "it/faults/mod.rs"]
mod faults;
#[path = "it/files/mod.rs"]
mod files;
#[path = "it/holding.rs"]
mod holding;
#[path = "it/input/mod.rs"]
mod input;
#[path = "it/members.rs"]
mod members;
#[path = "it/packages.rs"]
mod packages;
#[path = "it/placing.rs"]
mod placing;
#[path = "it/removal.rs"]
mod removal;
#[path = "it/run/mod.rs"]
mod run;
#[path = "it/session.rs"]
mod session;
#[path = "it/shown.rs"]
mod shown;
#[path = "it/smoke.rs"]
mod smoke;
#[path = "it/ssh_command.rs"]
mod ssh_command;
#[path = "it/tiers/mod.rs"]
mod tiers;
#[path = "it/trust/mod.rs"]
mod trust;
#[path = "it/uninstall.rs"]
mod uninstall;
#[path = "it/versions.rs"]
mod versions;
