//! Protocols between processes: framed, versioned messages. This folder only encodes, decodes and checks them.

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
