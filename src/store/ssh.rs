//! Which ssh command reaches what: the one that a server or an endpoint was named with, else the home's.

use super::{Result, Tx, View};
use crate::model::endpoint::Endpoint;
use crate::model::settings::SSH_COMMAND;
use crate::model::ssh_command::SshCommand;

/// GRID_SSH_COMMAND of the caller that named one last.
const CALLER: &str = "ssh.caller";

impl View<'_> {
    /// The home's ssh command: the setting, else that of the caller that named one last, else plain ssh. `caller` is newer than
    /// what was kept.
    pub fn home_ssh(&self, caller: Option<&SshCommand>) -> Result<SshCommand> {
        if let Some(line) = self.setting(SSH_COMMAND.name)? {
            return Ok(SshCommand(line));
        }
        let kept = || Ok(self.setting(CALLER)?.map(SshCommand).unwrap_or_default());
        caller.map_or_else(kept, |caller| Ok(caller.clone()))
    }

    /// The command that a caller named last, as far as it was kept.
    pub fn ssh_of_caller(&self) -> Result<Option<SshCommand>> {
        Ok(self.setting(CALLER)?.map(SshCommand))
    }

    /// The command that leads to an endpoint: the one that it was named with, else the home's.
    pub fn ssh_to(&self, endpoint: &Endpoint) -> Result<SshCommand> {
        let own = self.ssh_of_endpoint(endpoint)?;
        own.map_or_else(|| self.home_ssh(None), Ok)
    }

    /// The command that an endpoint was named with.
    pub fn ssh_of_endpoint(&self, endpoint: &Endpoint) -> Result<Option<SshCommand>> {
        self.one("SELECT ssh_command FROM endpoint_command WHERE endpoint = ?1", [endpoint], |row| row.get(0))
    }
}

impl Tx<'_> {
    /// Records the ssh command that a caller names, for the next dispatcher; false if it is recorded already.
    pub fn keep_ssh_of_caller(&self, command: &SshCommand) -> Result<bool> {
        if self.ssh_of_caller()?.as_ref() == Some(command) {
            return Ok(false);
        }
        self.set_setting(CALLER, Some(&command.0))?;
        Ok(true)
    }

    /// The home's setting is another one: a running dispatcher looks at its servers over ssh again. Without a setting, what a
    /// caller named before counts no more either.
    pub fn home_ssh_changed(&self, set: bool) -> Result<()> {
        if !set {
            self.set_setting(CALLER, None)?;
        }
        self.run("UPDATE home SET changes = changes + 1 WHERE one = 1", [])?;
        self.run(
            "UPDATE server SET changed = (SELECT changes FROM home) WHERE engine = 'ssh' AND ssh_command IS NULL",
            [],
        )?;
        Ok(())
    }

    /// Keeps the command that an endpoint over ssh is named with.
    pub fn keep_ssh_of_endpoint(&self, endpoint: &Endpoint, command: &SshCommand) -> Result<()> {
        if let Endpoint::Ssh { .. } = endpoint {
            self.run(
                "INSERT INTO endpoint_command (endpoint, ssh_command) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET ssh_command = excluded.ssh_command",
                (endpoint, command),
            )?;
        }
        Ok(())
    }

    /// Drops the commands of endpoints that are not used any more.
    pub(super) fn drop_unused_endpoint_commands(&self) -> Result<()> {
        self.run(
            "DELETE FROM endpoint_command WHERE endpoint NOT IN (SELECT endpoint FROM distributor UNION SELECT endpoint FROM registration)",
            [],
        )?;
        Ok(())
    }
}
