//! The on-demand process of a home: it starts, follows and collects tasks, and keeps the links to agents.
//!
//! ```text
//! process/run      the loop:   wait  ->  turn  ->  open links  ->  leave?
//!                                |        |
//! process/wait     who speaks ---+        |
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
//! | [`process`] | the process: lock, loop, callers, a full disk, the wall clock, leaving |
//! | `schedule` | what waits, and where it could run |
//! | `attempts` | what lies with servers: starts, events, ends, recovery, cancels |
//! | `links` | links to agents: when they are opened, how, what is probed over them |
//! | `transfer` | inputs, outputs and results on their way, and ends that wait for them |
//! | `homes` | other homes: questions to them, and chores for them |
//! | [`client`] | what commands use in their own process: to start a dispatcher, to ask it, to look at hosts |
//!
//! Decisions are made in a turn and carried out after its commit (`effects.rs`): what a person, an agent or another home was told is
//! on the disk. Time and chance come from [`Ambient`](crate::model::ambient::Ambient), so that a test (`testing`, `scenarios`) decides
//! both. What the dispatcher holds is in its parts (`dispatcher.rs`) and is made again from the database at every start.

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
