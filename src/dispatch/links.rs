//! The dispatcher's links to agents: opened when needed, opened again when lost.

use crate::engine::{Engine, local::Local};
use crate::link::{Link, LinkError};
use crate::model::id::{BootId, Epoch};
use crate::model::server;
use crate::model::time::Timestamp;
use crate::protocol::agent::{FromAgent, ToAgent, VERSION, VERSION_MIN};
use crate::store::Home;
use crate::store::settings::HomeRow;
use std::time::{Duration, Instant};

/// Which link reaches a server. All local servers share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// The agent on this host.
    Here,
}

impl Route {
    /// The way to a server; None for groups (their members have ways) and for engines that are not built.
    pub const fn to(engine: &server::Engine) -> Option<Self> {
        match engine {
            server::Engine::Local => Some(Self::Here),
            server::Engine::Ssh { .. } | server::Engine::Group { .. } => None,
        }
    }
}

/// How far a link is.
#[derive(Debug)]
enum Phase {
    Down {
        retry_at: Instant,
        wait: Duration,
    },
    /// Opened; the agent has not said hello yet.
    Greeting {
        link: Link,
        since: Instant,
    },
    Up {
        link: Link,
        boot: BootId,
        /// What the agent holds was compared with what the database says.
        reconciled: bool,
    },
}

/// The link of one route.
#[derive(Debug)]
pub struct Slot {
    phase: Phase,
    /// When a reading was asked for that has not come.
    pub probing: Option<Timestamp>,
}

/// What came of waiting for a link.
#[derive(Debug)]
pub enum News {
    /// A message of an agent.
    Said(FromAgent),
    /// The link is lost, for this reason.
    Lost(String),
}

/// How long an agent may take to say hello.
const GREETING_LIMIT: Duration = Duration::from_secs(30);

impl Slot {
    /// A link that is to be opened.
    pub fn new() -> Self {
        Self { phase: Phase::Down { retry_at: Instant::now(), wait: Duration::from_millis(50) }, probing: None }
    }

    /// Opens it if it is time to.
    pub fn open_if_due(&mut self, home: &Home, row: &HomeRow, epoch: Epoch) -> Result<(), String> {
        let Phase::Down { retry_at, wait } = &mut self.phase else { return Ok(()) };
        if Instant::now() < *retry_at {
            return Ok(());
        }
        let longer = (*wait * 4).min(Duration::from_secs(30));
        let opened = Local { spool: home.agent_spool(), log: home.run_dir().join("agent.log") }.open();
        let greeted = opened.map_err(LinkError::from).and_then(|mut link| {
            let hello = ToAgent::Hello {
                version_min: VERSION_MIN,
                version: VERSION,
                home: row.id,
                incarnation: row.incarnation,
                epoch,
            };
            link.send(&hello)?;
            link.flush()?;
            Ok(link)
        });
        match greeted {
            Ok(link) => {
                self.phase = Phase::Greeting { link, since: Instant::now() };
                Ok(())
            }
            Err(error) => {
                self.phase = Phase::Down { retry_at: Instant::now() + longer, wait: longer };
                Err(error.to_string())
            }
        }
    }

    /// Reads what came. An agent's hello brings the link up.
    pub fn receive(&mut self) -> Vec<News> {
        let (Phase::Greeting { link, .. } | Phase::Up { link, .. }) = &mut self.phase else { return Vec::new() };
        let mut news = Vec::new();
        let open = link.receive();
        loop {
            match link.next() {
                Ok(Some(message)) => news.push(News::Said(message)),
                Ok(None) => break,
                Err(error) => {
                    news.push(News::Lost(error.to_string()));
                    break;
                }
            }
        }
        match open {
            Ok(true) => {}
            Ok(false) => news.push(News::Lost("the agent went away".to_owned())),
            Err(error) => news.push(News::Lost(error.to_string())),
        }
        if let Phase::Greeting { .. } = self.phase
            && let Some(News::Said(FromAgent::Hello { boot, .. })) = news.first()
        {
            let boot = boot.clone();
            let down = Phase::Down { retry_at: Instant::now(), wait: Duration::ZERO };
            if let Phase::Greeting { link, .. } = std::mem::replace(&mut self.phase, down) {
                self.phase = Phase::Up { link, boot, reconciled: false };
            }
        }
        if news.iter().any(|n| matches!(n, News::Lost(_) | News::Said(FromAgent::Unfit { .. }))) {
            self.lose();
        }
        news
    }

    /// Gives the link up; it is opened again soon.
    pub fn lose(&mut self) {
        let wait = match self.phase {
            Phase::Up { .. } => Duration::from_millis(50),
            Phase::Greeting { .. } => Duration::from_secs(2),
            Phase::Down { wait, .. } => wait,
        };
        self.probing = None;
        self.phase = Phase::Down { retry_at: Instant::now() + wait, wait: wait.max(Duration::from_millis(50)) };
    }

    /// An agent that does not say hello is none.
    pub fn greeting_overdue(&self) -> bool {
        matches!(&self.phase, Phase::Greeting { since, .. } if since.elapsed() > GREETING_LIMIT)
    }

    /// The boot id of the far host, if the link is up.
    pub fn boot(&self) -> Option<&BootId> {
        match &self.phase {
            Phase::Up { boot, .. } => Some(boot),
            _ => None,
        }
    }

    /// Starts may go over it: what the agent holds is known. One sent earlier would be sent once more by the reconciling.
    pub const fn ready(&self) -> bool {
        matches!(self.phase, Phase::Up { reconciled: true, .. })
    }

    /// What the agent said that it holds was taken in.
    pub const fn set_reconciled(&mut self) {
        if let Phase::Up { reconciled, .. } = &mut self.phase {
            *reconciled = true;
        }
    }

    /// Queues a message; without a link it is lost, and the hello of the next link sorts things out.
    pub fn send(&mut self, message: &ToAgent) -> Result<(), LinkError> {
        match &mut self.phase {
            Phase::Up { link, .. } => link.send(message),
            _ => Ok(()),
        }
    }

    /// Sends what goes without waiting.
    pub fn flush(&mut self) {
        let sent = match &mut self.phase {
            Phase::Up { link, .. } | Phase::Greeting { link, .. } => link.flush(),
            Phase::Down { .. } => Ok(()),
        };
        if sent.is_err() {
            self.lose();
        }
    }

    /// The open link, to be polled.
    pub fn link(&self) -> Option<&Link> {
        match &self.phase {
            Phase::Up { link, .. } | Phase::Greeting { link, .. } => Some(link),
            Phase::Down { .. } => None,
        }
    }

    /// When it is to be opened again.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down { retry_at, .. } => Some(retry_at),
            _ => None,
        }
    }
}
