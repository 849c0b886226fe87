//! Logins in a bare environment, as cron has it: without a key agent and without shared connections.

pub use crate::link::trouble::Trouble;

use crate::dispatch::links::connector;
use crate::engine::ssh::Ssh;
use crate::engine::trial;
use crate::model::name::Name;
use crate::model::ssh::SshTarget;
use crate::model::ssh_command::SshCommand;
use crate::store::{StoreError, View};
use std::ffi::OsString;
use std::time::Duration;

/// Logins under way at a time.
const AT_ONCE: usize = 8;

/// A server, its host, and the result of its login.
pub type Tried = (Name, String, Result<(), Trouble>);

/// Logs in to each host once without running anything there; results in the given order.
pub fn try_bare(
    view: &View<'_>,
    environment: &[(&'static str, OsString)],
    targets: Vec<(Name, SshTarget)>,
) -> Result<Vec<Tried>, StoreError> {
    let (home, patience) = (view.home_ssh(None)?, connector::patience(view)?);
    let mut done = Vec::with_capacity(targets.len());
    for some in targets.chunks(AT_ONCE) {
        std::thread::scope(|logins| {
            let begun: Vec<_> = some
                .iter()
                .map(|(_, target)| {
                    let command = target.command().unwrap_or(&home);
                    logins.spawn(move || try_one(command, patience, environment, target))
                })
                .collect();
            for ((name, target), login) in some.iter().zip(begun) {
                let result = login.join().unwrap_or_else(|_| Err(Trouble::Other("the attempt panicked".to_owned())));
                done.push((name.clone(), target.host().to_owned(), result));
            }
        });
    }
    Ok(done)
}

fn try_one(
    command: &SshCommand,
    patience: Duration,
    environment: &[(&'static str, OsString)],
    target: &SshTarget,
) -> Result<(), Trouble> {
    let mut words = connector::words_of(command)?;
    // ssh uses the first value that it is given.
    words.extend(["-o", "ControlPath=none"].map(str::to_owned));
    let ssh = Ssh { target, words: &words, auth_sock: None, patience, binaries: Vec::new() };
    let mut command = ssh.command()?;
    command.arg("true").env_clear().envs(environment.iter().map(|(name, value)| (name, value))).env("LC_ALL", "C");
    let said = trial::run(&mut command, b"", patience + patience);
    let said = said.map_err(|error| Trouble::NoSsh(format!("{}: {error}", words[0])))?;
    // A login that hangs after the connect was killed.
    let Some(status) = said.status else { return Err(Trouble::Silent) };
    if status.success() {
        return Ok(());
    }
    Err(Trouble::classify(&said.err, status.code(), false))
}
