//! The on-demand process of a home: it starts, follows and collects tasks, and keeps the links to agents.

pub mod probe;
pub mod start;
