//! Engines: each opens a link to the agent of its server.

pub mod agents;
pub mod local;
pub mod path;
pub mod ssh;
pub mod survey;
pub mod trial;

use crate::link::{Link, LinkError};

/// A way to reach the agent of a server.
pub trait Transport {
    /// Opens a link; the agent sends its hello over it.
    fn open(&self) -> Result<Link, LinkError>;
}
