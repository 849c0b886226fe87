//! Hosts with a real sshd, on one machine: each in namespaces of its own, with faults to order.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod support;

#[path = "ssh/command.rs"]
mod command;
#[path = "ssh/cron.rs"]
mod cron;
#[path = "ssh/environment.rs"]
mod environment;
#[path = "ssh/failing.rs"]
mod failing;
#[path = "ssh/faults/mod.rs"]
mod faults;
#[path = "ssh/files.rs"]
mod files;
#[path = "ssh/fronts.rs"]
mod fronts;
#[path = "ssh/hosts.rs"]
mod hosts;
#[path = "ssh/import.rs"]
mod import;
#[path = "ssh/lab.rs"]
mod lab;
#[path = "ssh/loopback.rs"]
mod loopback;
#[path = "ssh/loss.rs"]
mod loss;
#[path = "ssh/machines.rs"]
mod machines;
#[path = "ssh/many.rs"]
mod many;
#[path = "ssh/moving.rs"]
mod moving;
#[path = "ssh/outputs.rs"]
mod outputs;
#[path = "ssh/page.rs"]
mod page;
#[path = "ssh/schedules.rs"]
mod schedules;
#[path = "ssh/speed.rs"]
mod speed;
#[path = "ssh/tiers.rs"]
mod tiers;
#[path = "ssh/trust.rs"]
mod trust;
#[path = "ssh/uninstall.rs"]
mod uninstall;
#[path = "ssh/upgrade.rs"]
mod upgrade;
#[path = "ssh/way.rs"]
mod way;

/// What `Rig::slow` starts this program again for.
#[test]
#[ignore = "a process for other tests"]
fn cable() {
    support::rig::cable::run();
}
