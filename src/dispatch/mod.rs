//! The on-demand process of a home: it starts, follows and collects tasks, and keeps the links to agents.

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
mod settings;
pub mod stepped;
pub mod submits;
#[cfg(test)]
mod testing;
mod transfer;
mod turn;
