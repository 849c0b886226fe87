//! The agent and its supervisors, driven as a dispatcher drives them: the real binary over real pipes.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

#[path = "agent/driver.rs"]
mod driver;

#[path = "agent/basics.rs"]
mod basics;
#[path = "agent/control.rs"]
mod control;
#[path = "agent/deaths.rs"]
mod deaths;
#[path = "agent/disk.rs"]
mod disk;
#[path = "agent/extremes.rs"]
mod extremes;
#[path = "agent/files.rs"]
mod files;
#[path = "agent/handover.rs"]
mod handover;
#[path = "support/lies.rs"]
mod lies;
#[path = "support/pack.rs"]
mod pack;
#[path = "support/small.rs"]
mod small;
#[path = "agent/speed.rs"]
mod speed;
