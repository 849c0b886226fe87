//! How links are opened: with whose session, by which ssh, with which programs to send.

use crate::engine::Engine;
use crate::engine::agents::Agents;
use crate::engine::local::Local;
use crate::engine::path::Path;
use crate::engine::ssh::Ssh;
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::endpoint::Endpoint;
use crate::model::id::HomeId;
use crate::model::server;
use crate::model::ssh::{Login, Target};
use crate::model::time::parse_duration;
use crate::protocol::agent::{ToAgent, VERSION, VERSION_MIN};
use crate::protocol::distributor::{self, ToServe};
use crate::store::settings::HomeRow;
use crate::store::{Home, StoreError, View};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Sessions that are remembered.
const LOGINS_MAX: usize = 8;
/// A connect may take so long, and a reading.
const PATIENCE: Duration = Duration::from_secs(10);

/// What links of a home are opened with.
#[derive(Debug)]
pub struct Ways {
    home: Home,
    id: HomeId,
    incarnation: u64,
    hello: ToAgent,
    /// What callers brought, the newest first.
    logins: Vec<Login>,
    /// The one that worked last.
    worked: Option<Login>,
    agents: Agents,
    command: Option<String>,
    folder: PathBuf,
    /// `probe_timeout`.
    pub patience: Duration,
    /// An agent of this host that was started beforehand.
    pub agent: Option<Link>,
}

impl Ways {
    /// Nobody has brought anything yet.
    pub fn new(home: &Home, row: &HomeRow) -> Self {
        let hello = ToAgent::Hello {
            version_min: VERSION_MIN,
            version: VERSION,
            home: row.id,
            incarnation: row.incarnation,
            epoch: row.epoch,
        };
        Self {
            home: home.clone(),
            id: row.id,
            incarnation: row.incarnation,
            hello,
            logins: Vec::new(),
            worked: None,
            agents: Agents::default(),
            command: None,
            folder: home.dir().join("agents"),
            patience: PATIENCE,
            agent: None,
        }
    }

    /// Reads the settings again.
    pub fn read_settings(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        self.command = view.setting("ssh.command")?;
        self.folder = folder(&self.home, view)?;
        self.patience = patience(view)?;
        Ok(())
    }

    /// A caller's session: the newest is tried first. True if it is news.
    pub fn learn(&mut self, login: Login) -> bool {
        if login == Login::default() {
            return false;
        }
        let known = self.logins.iter().position(|l| *l == login);
        if let Some(at) = known {
            self.logins.remove(at);
        }
        self.logins.insert(0, login);
        self.logins.truncate(LOGINS_MAX);
        known.is_none()
    }

    /// The sessions that may work, in the order in which they are tried; the last is none at all.
    fn usable(&self) -> Vec<Login> {
        let lives = |login: &&Login| login.auth_sock.as_ref().is_none_or(|path| UnixStream::connect(path).is_ok());
        let mut usable: Vec<Login> = self.logins.iter().filter(lives).cloned().collect();
        usable.push(Login::default());
        usable
    }

    /// Is there a session that stands behind this one?
    pub fn has_login(&self, at: usize) -> bool {
        at < self.usable().len()
    }

    /// Opens the way to a server with one of the sessions, and says hello. Gives the session too.
    pub fn open(&mut self, to: &server::Engine, at: usize) -> Result<(Link, Login), LinkError> {
        let (mut link, login) = match to {
            server::Engine::Ssh(target) => {
                let usable = self.usable();
                let login = usable.get(at).or(usable.last()).cloned().unwrap_or_default();
                (self.open_ssh(target, &login)?, login)
            }
            server::Engine::Local | server::Engine::Group { .. } => {
                (self.agent.take().map_or_else(|| agent(&self.home, false), Ok)?, Login::default())
            }
        };
        link.send(&self.hello)?;
        link.flush()?;
        Ok((link, login))
    }

    /// Opens the way to another home: `grid serve` as a child, or through ssh with one of the sessions.
    pub fn open_home(&mut self, endpoint: &Endpoint, at: usize) -> Result<(Link, Login), LinkError> {
        let (mut link, login) = match endpoint {
            Endpoint::Local => return Err(LinkError::Trouble(Trouble::Other("this home is no other one".to_owned()))),
            Endpoint::Path(home) => {
                let log = self.home.run_dir().join("peers.log");
                (Path { home, log: &log }.open()?, Login::default())
            }
            Endpoint::Ssh { host, home } => {
                let usable = self.usable();
                let login = usable.get(at).or(usable.last()).cloned().unwrap_or_default();
                let target = Target::new(host, Vec::new(), None);
                let target = target.map_err(|error| LinkError::Trouble(Trouble::Other(error.to_string())))?;
                let words = words(&login, self.command.as_deref()).map_err(LinkError::Trouble)?;
                let ssh = Ssh {
                    target: &target,
                    words: &words,
                    login: &login,
                    patience: self.patience,
                    binaries: Vec::new(),
                };
                let link = ssh.open_home(home.as_deref())?;
                (link, login)
            }
        };
        let (version_min, version) = (distributor::VERSION_MIN, distributor::VERSION);
        link.send(&ToServe::Hello { version_min, version, home: self.id, incarnation: self.incarnation })?;
        link.flush()?;
        Ok((link, login))
    }

    fn open_ssh(&mut self, target: &Target, login: &Login) -> Result<Link, LinkError> {
        let words = words(login, self.command.as_deref()).map_err(LinkError::Trouble)?;
        let binaries = self.agents.all(&self.folder)?;
        Ssh { target, words: &words, login, patience: self.patience, binaries }.open()
    }

    /// This session got us in.
    pub fn worked(&mut self, login: Login) {
        self.worked = Some(login);
    }

    /// For a person: what works.
    pub fn words_on_login(&self) -> Option<String> {
        let login = self.worked.as_ref()?;
        let line = login.command.as_deref().or(self.command.as_deref()).unwrap_or("ssh");
        let agent =
            login.auth_sock.as_ref().map_or_else(|| "no key agent".to_owned(), |path| format!("key agent {path}"));
        Some(format!("{line}, {agent}"))
    }
}

/// Starts the agent of this host; it waits for a hello. `expecting`: a start is on its way.
pub(super) fn agent(home: &Home, expecting: bool) -> Result<Link, LinkError> {
    Local { spool: home.agent_spool(), log: home.run_dir().join("agent.log"), expecting }.open()
}

/// ssh and its options: those of the session, else those of the settings.
pub(super) fn words(login: &Login, setting: Option<&str>) -> Result<Vec<String>, Trouble> {
    words_of(login.command.as_deref().or(setting).unwrap_or("ssh"))
}

/// `probe_timeout`.
pub(super) fn patience(view: &View<'_>) -> Result<Duration, StoreError> {
    let patience = view.setting("probe_timeout")?.and_then(|text| parse_duration(&text).ok());
    Ok(patience.unwrap_or(PATIENCE).max(Duration::from_secs(1)))
}

/// An ssh command line, split as sh would.
pub(super) fn words_of(line: &str) -> Result<Vec<String>, Trouble> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    words.ok_or_else(|| {
        Trouble::NoSsh(format!(
            "{line:?} is no command line (GRID_SSH_COMMAND, ssh.command): a quote is left open, or it is empty"
        ))
    })
}

/// The setting `agent_dir`.
pub(super) fn folder(home: &Home, view: &View<'_>) -> Result<PathBuf, StoreError> {
    Ok(view.setting("agent_dir")?.map_or_else(|| home.dir().join("agents"), PathBuf::from))
}
