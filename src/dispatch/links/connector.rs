//! How links are opened: the ssh command, the callers' sessions, the programs to send.

use crate::engine::Transport;
use crate::engine::agents::Agents;
use crate::engine::local::Local;
use crate::engine::path::HomeByPath;
use crate::engine::ssh::Ssh;
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::ambient::Ambient;
use crate::model::endpoint::Endpoint;
use crate::model::id::HomeId;
use crate::model::server;
use crate::model::settings::{AGENT_DIR, PROBE_TIMEOUT};
use crate::model::ssh::SshTarget;
use crate::model::ssh_command::SshCommand;
use crate::protocol::agent::{ToAgent, VERSION, VERSION_MIN};
use crate::protocol::distributor::{self, ToServe};
use crate::store::settings::HomeRow;
use crate::store::{Home, StoreError, Tx, View};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How many sessions are kept.
const SESSIONS_MAX: usize = 8;

/// Opens the links of a home. Sessions are tried one after the other; the ssh command is always that of the server, the endpoint
/// or the home.
#[derive(Debug)]
pub struct Connector {
    pub ambient: Rc<dyn Ambient>,
    home: Home,
    id: HomeId,
    incarnation: u64,
    hello: ToAgent,
    /// Key agents that callers brought, newest first.
    sessions: Vec<String>,
    /// What the last successful login used.
    worked: Option<Used>,
    agents: Agents,
    /// The home's ssh command, once it is read; `changed` is set when it changes.
    command: Option<SshCommand>,
    changed: bool,
    folder: PathBuf,
    /// The setting `probe_timeout`.
    pub patience: Duration,
    /// An agent of this host that was started early.
    pub agent: Option<Link>,
    /// Opens links to the agents of a test.
    #[cfg(test)]
    pub opener: Option<Opener>,
}

/// Opens a link to a test's agent; None: that host does not answer.
#[cfg(test)]
pub struct Opener(pub Box<Opens>);

#[cfg(test)]
type Opens = dyn FnMut(&server::Engine) -> Option<Link>;

#[cfg(test)]
impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

/// What an ssh link was opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub command: SshCommand,
    session: Option<String>,
}

impl Connector {
    /// A connector without sessions.
    pub fn new(home: &Home, row: &HomeRow, ambient: Rc<dyn Ambient>) -> Self {
        let hello = ToAgent::Hello {
            version_min: VERSION_MIN,
            version: VERSION,
            home: row.id,
            incarnation: row.incarnation,
            epoch: row.epoch,
        };
        Self {
            ambient,
            home: home.clone(),
            id: row.id,
            incarnation: row.incarnation,
            hello,
            sessions: Vec::new(),
            worked: None,
            agents: Agents::default(),
            command: None,
            changed: false,
            folder: home.dir().join("agents"),
            patience: PROBE_TIMEOUT.value(None),
            agent: None,
            #[cfg(test)]
            opener: None,
        }
    }

    /// Reads the settings again.
    pub fn read_settings(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        self.read_command(view)?;
        self.folder = folder(&self.home, view)?;
        self.patience = patience(view)?;
        Ok(())
    }

    /// Reads the home's ssh command again.
    pub fn read_command(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        let before = self.command.replace(view.home_ssh(None)?);
        self.changed |= before.is_some() && before != self.command;
        Ok(())
    }

    /// True if the home's ssh command has changed since the last call.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Stores the ssh command that a caller names, for dispatchers that are started without a session.
    pub fn keep_command(&mut self, tx: &Tx<'_>, command: &SshCommand) -> Result<(), StoreError> {
        if tx.keep_ssh_of_caller(command)? { self.read_command(tx) } else { Ok(()) }
    }

    /// Adds a caller's key agent, to be tried first. True if it is new.
    pub fn learn_session(&mut self, session: Option<String>) -> bool {
        let Some(session) = session else { return false };
        let known = self.sessions.iter().position(|known| *known == session);
        if let Some(at) = known {
            self.sessions.remove(at);
        }
        self.sessions.insert(0, session);
        self.sessions.truncate(SESSIONS_MAX);
        known.is_none()
    }

    /// The callers' key agents, oldest first: learned in this order they are in the same order again.
    pub fn into_sessions(self) -> Vec<String> {
        self.sessions.into_iter().rev().collect()
    }

    /// The sessions to try, in order; the last one is no session.
    fn usable(&self) -> Vec<Option<String>> {
        let lives = |session: &&String| UnixStream::connect(session).is_ok();
        let mut usable: Vec<Option<String>> = self.sessions.iter().filter(lives).cloned().map(Some).collect();
        usable.push(None);
        usable
    }

    /// True if there is a session with this number.
    pub fn has_session(&self, at: usize) -> bool {
        at < self.usable().len()
    }

    fn session(&self, at: usize) -> Option<String> {
        let usable = self.usable();
        usable.get(at).or(usable.last()).cloned().flatten()
    }

    /// The ssh command for a target.
    fn command_to(&self, target: &SshTarget) -> SshCommand {
        target.command().or(self.command.as_ref()).cloned().unwrap_or_default()
    }

    /// Opens a link to a server with one of the sessions and sends the hello. Gives what was used for ssh.
    pub fn open(&mut self, to: &server::Engine, at: usize) -> Result<(Link, Option<Used>), LinkError> {
        let (mut link, used) = match to {
            #[cfg(test)]
            _ if self.opener.is_some() => {
                let link = self.opener.as_mut().and_then(|opener| (opener.0)(to));
                (link.ok_or(LinkError::Trouble(Trouble::NoAnswer))?, None)
            }
            server::Engine::Ssh(target) => {
                let used = Used { command: self.command_to(target), session: self.session(at) };
                (self.open_ssh(target, &used)?, Some(used))
            }
            server::Engine::Local | server::Engine::Group { .. } => {
                (self.agent.take().map_or_else(|| agent(&self.home, false), Ok)?, None)
            }
        };
        link.send(&self.hello)?;
        link.flush()?;
        Ok((link, used))
    }

    /// Opens a link to another home: `grid serve` as a child, or over ssh with this command and one of the sessions.
    pub fn open_home(
        &self,
        endpoint: &Endpoint,
        command: &SshCommand,
        at: usize,
    ) -> Result<(Link, Option<Used>), LinkError> {
        let (mut link, used) = match endpoint {
            Endpoint::Local => return Err(LinkError::Trouble(Trouble::Other("this home is no other one".to_owned()))),
            Endpoint::Path(home) => {
                let log = self.home.run_dir().join("peers.log");
                (HomeByPath { home, log: &log }.open()?, None)
            }
            Endpoint::Ssh { host, home } => {
                let used = Used { command: command.clone(), session: self.session(at) };
                let target = SshTarget::new(host, Vec::new(), None);
                let target = target.map_err(|error| LinkError::Trouble(Trouble::Other(error.to_string())))?;
                let words = words_of(command).map_err(LinkError::Trouble)?;
                let ssh = Ssh {
                    target: &target,
                    words: &words,
                    auth_sock: used.session.as_deref(),
                    patience: self.patience,
                    binaries: Vec::new(),
                };
                (ssh.open_home(home.as_deref())?, Some(used))
            }
        };
        let (version_min, version) = (distributor::VERSION_MIN, distributor::VERSION);
        link.send(&ToServe::Hello { version_min, version, home: self.id, incarnation: self.incarnation })?;
        link.flush()?;
        Ok((link, used))
    }

    fn open_ssh(&mut self, target: &SshTarget, used: &Used) -> Result<Link, LinkError> {
        let words = words_of(&used.command).map_err(LinkError::Trouble)?;
        let binaries = self.agents.all(&self.folder)?;
        let auth_sock = used.session.as_deref();
        Ssh { target, words: &words, auth_sock, patience: self.patience, binaries }.open()
    }

    /// Records what a successful login used.
    pub fn worked(&mut self, used: Option<Used>) {
        self.worked = used.or(self.worked.take());
    }

    /// The login that works, as text for a person.
    pub fn words_on_login(&self) -> Option<String> {
        let used = self.worked.as_ref()?;
        let agent = used.session.as_ref().map_or_else(|| "no key agent".to_owned(), |path| format!("key agent {path}"));
        Some(format!("{}, {agent}", used.command))
    }
}

/// Starts the agent of this host, which waits for a hello. `expecting`: a start follows soon.
pub(in crate::dispatch) fn agent(home: &Home, expecting: bool) -> Result<Link, LinkError> {
    Local { spool: home.agent_spool(), log: home.run_dir().join("agent.log"), expecting }.open()
}

/// The setting `probe_timeout`.
pub(in crate::dispatch) fn patience(view: &View<'_>) -> Result<Duration, StoreError> {
    Ok(view.value_of(&PROBE_TIMEOUT)?.max(Duration::from_secs(1)))
}

/// The words of an ssh command, split as sh splits them.
pub(in crate::dispatch) fn words_of(command: &SshCommand) -> Result<Vec<String>, Trouble> {
    command.words().map_err(|error| Trouble::NoSsh(error.to_string()))
}

/// The setting `agent_dir`.
pub(in crate::dispatch) fn folder(home: &Home, view: &View<'_>) -> Result<PathBuf, StoreError> {
    Ok(view.value_of(&AGENT_DIR)?.unwrap_or_else(|| home.dir().join("agents")))
}
