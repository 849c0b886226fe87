//! grid: map to be written.

pub mod agent;
pub mod cli;
pub mod dispatch;
pub mod distributor;
pub mod engine;
pub mod link;
pub mod matching;
pub mod model;
pub mod ops;
pub mod protocol;
pub mod store;
