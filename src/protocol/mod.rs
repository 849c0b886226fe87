//! What processes say to each other: framed, versioned messages. Nothing here does more than encode and decode.

pub mod agent;
pub mod border;
pub mod dispatcher;
pub mod distributor;
pub mod envelope;
pub mod frame;
mod report;
pub mod seal;
pub mod supervisor;
mod verb;

#[cfg(test)]
mod wire;
