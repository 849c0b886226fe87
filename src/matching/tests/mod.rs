//! What matching promises, by subject; `world` builds the servers.

mod carets;
mod differential;
mod hostile;
mod properties;
mod reasons;
mod world;
