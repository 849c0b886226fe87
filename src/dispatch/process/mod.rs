//! The process of the dispatcher: its start, its loop, its callers, its exit.

pub(in crate::dispatch) mod activity;
pub(in crate::dispatch) mod begin;
pub(in crate::dispatch) mod callers;
mod clock;
pub(in crate::dispatch) mod disk;
pub(in crate::dispatch) mod instance;
pub mod life;
mod requests;
pub mod run;
pub(in crate::dispatch) mod wait;
pub(in crate::dispatch) mod watches;
