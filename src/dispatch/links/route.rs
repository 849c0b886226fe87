//! Routes: which link reaches which server.

use crate::model::server::Engine;
use crate::model::ssh::LinkKey;

/// The link that reaches a server. All local servers share one, and all servers with the same ssh target share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// The agent on this host.
    Here,
    /// A host over ssh.
    Ssh(LinkKey),
}

impl Route {
    /// The route to a server. None for groups: their members have routes.
    pub const fn to(engine: &Engine) -> Option<Self> {
        match engine {
            Engine::Local => Some(Self::Here),
            Engine::Ssh(target) => Some(Self::Ssh(target.key())),
            Engine::Group { .. } => None,
        }
    }
}
