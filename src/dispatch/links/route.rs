//! Which link leads where.

use crate::model::server::Engine;
use crate::model::ssh::LinkKey;

/// Which link reaches a server. All local servers share one, and all with the same ssh target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// The agent on this host.
    Here,
    /// Over ssh.
    Ssh(LinkKey),
}

impl Route {
    /// The way to a server; None for groups: their members have ways.
    pub const fn to(engine: &Engine) -> Option<Self> {
        match engine {
            Engine::Local => Some(Self::Here),
            Engine::Ssh(target) => Some(Self::Ssh(target.key())),
            Engine::Group { .. } => None,
        }
    }
}
