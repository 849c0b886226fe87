//! How a server is driven: each engine opens a link to the agent on its server.

pub mod home;
pub mod local;

use crate::link::Link;
use std::io;

/// A way to reach the agent of a server.
pub trait Engine {
    /// Opens a link; the agent's first words come over it.
    fn open(&self) -> io::Result<Link>;
}
