//! What others say, and what the database holds, costs one task or one server where it can't be taken in or read.

mod agents;
mod commands;
mod dispatchers;
mod rows;
