//! What matching promises, by subject; `world` builds the servers.

mod carets;
mod differential;
mod drawn;
mod hints;
mod hostile;
mod properties;
mod reasons;
mod typos;
mod world;
