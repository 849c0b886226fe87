//! Surveys of hosts over ssh without the dispatcher: before they become servers, and for diagnosis.

use crate::dispatch::links::connector::words_of;
use crate::engine::agents::Agents;
use crate::engine::ssh::Ssh;
use crate::engine::survey::{host_key, prologue, resolved, survey};
use crate::model::ssh::{Login, SshTarget};
use crate::model::ssh_command::SshCommand;
use crate::store::{Home, StoreError, View};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

pub use crate::engine::survey::Survey;
pub use crate::link::trouble::Trouble;

/// Logins under way at a time, as for the dispatcher's links.
const AT_ONCE: usize = 8;

/// Surveys hosts with one person's ssh.
#[derive(Debug)]
pub struct Surveyor {
    /// The home's ssh command, for targets without their own.
    command: SshCommand,
    auth_sock: Option<String>,
    patience: Duration,
    folder: PathBuf,
}

impl Surveyor {
    /// A surveyor with the settings of a home and the caller's session.
    pub fn new(home: &Home, view: &View<'_>, login: &Login) -> Result<Self, StoreError> {
        let command = view.home_ssh(login.command.as_ref())?;
        let patience = crate::dispatch::links::connector::patience(view)?;
        let folder = crate::dispatch::links::connector::folder(home, view)?;
        Ok(Self { command, auth_sock: login.auth_sock.clone(), patience, folder })
    }

    /// The ssh command for a target.
    fn command_to<'a>(&'a self, target: &'a SshTarget) -> &'a SshCommand {
        target.command().unwrap_or(&self.command)
    }

    /// True if two targets lead to the same account of the same host by the same command.
    pub fn is_same(&self, one: &SshTarget, other: &SshTarget) -> bool {
        self.command_to(one) == self.command_to(other) && one.clone().by(None) == other.clone().by(None)
    }

    /// Logs in and surveys the host; nothing is installed.
    pub fn look(&self, target: &SshTarget) -> Result<Survey, Trouble> {
        self.with(target, |ssh| survey(ssh, self.patience))
    }

    /// The host key of an unknown host.
    pub fn host_key(&self, target: &SshTarget) -> Option<String> {
        self.with(target, |ssh| Ok(host_key(ssh, self.patience))).ok().flatten()
    }

    /// What ssh resolves a name to: account, real host, port.
    pub fn resolved(&self, target: &SshTarget) -> Result<BTreeMap<String, String>, Trouble> {
        self.with(target, |ssh| resolved(ssh, self.patience))
    }

    /// The complaint of a server's prologue on that host, if it fails.
    pub fn prologue(&self, target: &SshTarget, lines: &str) -> Result<Option<String>, Trouble> {
        self.with(target, |ssh| prologue(ssh, lines, self.patience))
    }

    /// The kinds of machines that there is an agent for.
    pub fn architectures(&self) -> Vec<String> {
        let all = Agents::default().all(&self.folder).unwrap_or_default();
        all.into_iter().map(|binary| binary.arch).collect()
    }

    fn with<T>(&self, target: &SshTarget, work: impl FnOnce(&Ssh<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let words = words_of(self.command_to(target))?;
        let auth_sock = self.auth_sock.as_deref();
        let ssh = Ssh { target, words: &words, auth_sock, patience: self.patience, binaries: Vec::new() };
        work(&ssh)
    }
}

/// Runs some work for each of many hosts, a few at a time; `done` is called after each. The results are in the given order.
pub fn side_by_side<I: Sync, O: Send>(
    items: &[I],
    work: impl Fn(&I) -> O + Sync,
    mut done: impl FnMut(usize),
) -> Vec<O> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let (said, heard) = std::sync::mpsc::channel();
    let mut all: Vec<Option<O>> = items.iter().map(|_| None).collect();
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE.min(items.len()) {
            let (waiting, work, said) = (&waiting, &work, said.clone());
            threads.spawn(move || {
                loop {
                    let next = waiting.lock().map_or(None, |mut waiting| waiting.pop_front());
                    let Some(at) = next else { return };
                    let _ = said.send((at, work(&items[at])));
                }
            });
        }
        drop(said);
        for (count, (at, result)) in heard.iter().enumerate() {
            all[at] = Some(result);
            done(count + 1);
        }
    });
    all.into_iter().flatten().collect()
}
