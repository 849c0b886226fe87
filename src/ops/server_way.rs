//! The way to a server over ssh, and its changes.

use crate::model::ssh::{BadTarget, SshTarget};
use crate::model::ssh_command::SshCommand;

/// Changes of the way to a server over ssh; None leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewWay {
    pub host: Option<String>,
    /// All options for `ssh -o`, in place of the earlier ones.
    pub options: Option<Vec<String>>,
    /// Empty: the usual places.
    pub remote_dir: Option<String>,
    /// The ssh command.
    pub command: Option<SshCommand>,
}

impl NewWay {
    /// Another way with these changes.
    pub(super) fn instead_of(&self, target: &SshTarget) -> Result<SshTarget, BadTarget> {
        let host = self.host.as_deref().unwrap_or(target.host());
        let options = self.options.clone().unwrap_or_else(|| target.options().to_vec());
        let remote_dir = self.remote_dir.as_deref().or(target.remote_dir()).filter(|dir| !dir.is_empty());
        let new = SshTarget::new(host, options, remote_dir.map(str::to_owned))?;
        Ok(new.by(self.command.as_ref().or(target.command()).cloned()))
    }
}
