//! The on-demand process of a home: it starts, follows and collects tasks, and keeps the links to agents.
//! It reads like this: [`start`] brings it up, `begin.rs` is its first step, [`serve`] its loop, and each round of the loop is
//! one turn (`turn.rs`).

mod begin;
mod bring;
mod bringing;
mod callers;
mod cancels;
mod collect;
pub mod desk;
mod discards;
mod elsewhere;
mod explaining;
mod fetch;
mod full;
#[cfg(test)]
mod hostile_test;
mod lanes;
pub mod life;
mod links;
pub mod logins;
pub mod losses;
mod machines;
mod news;
mod opening;
mod orders;
mod patience;
mod pauses;
mod peers;
mod people;
mod pieces;
pub mod probe;
mod queue;
mod readings;
mod recover;
pub mod relay;
mod restored;
mod rounds;
mod route;
mod schedule;
mod sending;
pub mod serve;
mod spools;
pub mod start;
mod starve;
pub mod stepped;
pub mod survey;
mod turn;
mod unsent;
mod wait;
mod ways;
