//! The on-demand process of a home: it starts, follows and collects tasks, and keeps the links to agents.
//!
//! ```text
//! process/run      the loop:   wait  ->  turn  ->  open links  ->  leave?
//!                                |        |
//! process/wait     messages  ----+        |
//!                                         v
//! turn             one transaction: submits, messages, ends, cancels  ->  attempts/, schedule/
//!                                         |
//!                                      commit
//!                                         |
//! effects          starts, cancels, confirmations, answers            ->  links/, process/callers
//! ```
//!
//! | part | what it holds |
//! |---|---|
//! | [`process`] | the process: lock, loop, callers, full disk, wall clock, exit |
//! | `schedule` | the queue of waiting tasks, and the servers that they may run on |
//! | `attempts` | attempts on servers: starts, events, ends, recovery, cancels |
//! | `links` | links to agents: when and how they are opened, probes over them |
//! | `transfer` | inputs, outputs and results in transfer, and ends that wait for them |
//! | `homes` | other homes: questions to them, and chores for them |
//! | [`client`] | what commands use in their own process: start a dispatcher, query it, probe hosts |
//!
//! Decisions are made in a turn and carried out after its commit (`effects.rs`): what is sent to a person, an agent or another
//! home is on the disk. Time and chance come from [`Ambient`](crate::model::ambient::Ambient), so that a test (`testing`,
//! `scenarios`) sets both. The state of the dispatcher is in its parts (`dispatcher.rs`) and is rebuilt from the database at every
//! start.

mod attempts;
pub mod client;
mod dispatcher;
mod effects;
mod homes;
#[cfg(test)]
mod hostile_test;
mod links;
pub mod process;
#[cfg(test)]
mod scenarios;
mod schedule;
mod sealed;
mod settings;
pub mod stepped;
pub mod submits;
#[cfg(test)]
mod testing;
mod transfer;
mod turn;
