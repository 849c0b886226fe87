//! What matching promises, by subject; `world` builds the servers.

mod hostile;
mod reasons;
mod world;
