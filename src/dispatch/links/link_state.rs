//! The state of a link to an agent: opened when it is needed, retried when it is lost.

mod due;

use crate::dispatch::links::backoff::{URGED_PAUSE, WAIT_MIN, WAIT_SOON, jittered, next_pause};
use crate::dispatch::links::connector::{Connector, Used};
use crate::dispatch::links::news::News;
use crate::dispatch::sealed;
use crate::link::trouble::{Retry, Trouble};
use crate::link::{Link, LinkError};
use crate::model::ambient::Now;
use crate::model::id::{BootId, MachineId};
use crate::model::server::Engine;
use crate::model::time::Timestamp;
use crate::protocol::agent::{FromAgent, ToAgent, VERSION};
use std::time::{Duration, Instant};

/// The phase of a link.
#[derive(Debug)]
enum LinkPhase {
    Down {
        retry_at: Instant,
    },
    /// Opened; the agent has not sent its hello yet.
    Handshake {
        link: Link,
        since: Instant,
        /// When something was last sent or received.
        progress: Instant,
        used: Option<Used>,
        /// Early starts are allowed: they are sent right behind our hello to an agent whose host runs since this boot.
        early_starts: Option<BootId>,
    },
    Up {
        link: Link,
        boot: BootId,
        since: Instant,
        /// The agent's inventory was compared with the database.
        reconciled: bool,
        /// Early starts of this epoch may have been sent before the agent's hello.
        early_starts: bool,
    },
}

/// The link of one route.
#[derive(Debug)]
pub struct LinkState {
    to: Engine,
    phase: LinkPhase,
    /// The pause before the last retry.
    pause: Duration,
    /// When the link was last opened; `retry` says when a retry makes sense.
    tried: Instant,
    retry: Retry,
    /// The number of the session that is tried next; `refused` says why the newest session was refused.
    session: usize,
    refused: Option<String>,
    /// The link is needed now.
    pub wanted: bool,
    /// Waiting tasks need the link until then.
    pub wanted_until: Instant,
    /// When the outstanding probe was sent.
    pub probing: Option<(Timestamp, Instant)>,
    /// When the next probe is due.
    pub read_at: Option<Instant>,
    /// The host could not start a task: it is not probed again before this time.
    pub rests_until: Instant,
    /// When the agent sent its last message.
    last_message: Timestamp,
    /// The protocol version of the agent's last hello; our own before the first hello.
    pub version: u32,
    /// The agent ended without a hello: no early start has started.
    early_starts_lost: bool,
    /// The machine behind the link, once its hello is recorded; of a link that is down the last one. None: this host.
    pub machine: Option<MachineId>,
}

/// A login that takes longer is not counted among the logins under way: a slow or dead host must not delay others.
const BRISK: Duration = Duration::from_secs(2);
/// How long keepalives take to notice a cut: three of 15 s, and a margin.
const KEEPALIVE_MS: i64 = 50_000;

impl LinkState {
    /// A link that is down, and is opened when it is needed.
    pub fn new(to: Engine, now: Instant) -> Self {
        Self {
            to,
            phase: LinkPhase::Down { retry_at: now },
            pause: Duration::ZERO,
            tried: now.checked_sub(URGED_PAUSE).unwrap_or(now),
            retry: Retry::Soon,
            session: 0,
            refused: None,
            wanted: false,
            wanted_until: now,
            probing: None,
            read_at: None,
            rests_until: now,
            last_message: Timestamp(0),
            version: VERSION,
            early_starts_lost: false,
            machine: None,
        }
    }

    /// True if a probe is due and can be sent.
    pub fn probe_is_due(&self, now: Instant) -> bool {
        self.boot().is_some() && self.probing.is_none() && self.read_at.is_some_and(|at| at <= now)
    }

    /// True unless a probe that was sent at this time or later is outstanding.
    pub fn read_since(&self, since: Instant) -> bool {
        self.probing.is_none_or(|(_, asked)| asked < since)
    }

    /// True if the outstanding probe is not answered in time.
    pub fn reading_overdue(&self, patience: Duration, now: Instant) -> bool {
        self.probing.is_some_and(|(_, asked)| now.saturating_duration_since(asked) > patience)
    }

    /// True if the link is to be opened now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.wanted && matches!(self.phase, LinkPhase::Down { retry_at } if retry_at <= now)
    }

    /// True if the link is down, needed or not.
    pub const fn is_down(&self) -> bool {
        matches!(self.phase, LinkPhase::Down { .. })
    }

    /// True while a login is under way that sshd counts against its limit.
    pub fn is_logging_in(&self, now: Instant) -> bool {
        let brisk = |since: Instant| now.saturating_duration_since(since) < BRISK;
        matches!(&self.phase, LinkPhase::Handshake { link, since, .. } if !link.answered() && brisk(*since))
            && matches!(self.to, Engine::Ssh(_))
    }

    /// Retries now: a caller asks for it.
    pub fn retry_now(&mut self) {
        if let LinkPhase::Down { retry_at } = &mut self.phase {
            *retry_at = (*retry_at).min(self.tried + URGED_PAUSE);
        }
    }

    /// Retries soon, because something waits for the link; not if a person has to fix the trouble first.
    pub fn retry_soon(&mut self) {
        if self.retry == Retry::Soon {
            self.retry_now();
        }
    }

    /// Starts again with the newest session.
    pub fn retry_newest_session(&mut self) {
        (self.session, self.refused) = (0, None);
    }

    /// True if the link uses the home's ssh command.
    pub fn uses_home_command(&self) -> bool {
        matches!(&self.to, Engine::Ssh(target) if target.command().is_none())
    }

    /// Closes the link, so that it is opened with another command. Gives the news if it was up.
    pub fn close(&mut self, why: &str, connector: &Connector) -> Option<News> {
        self.retry_newest_session();
        let closed = match &self.phase {
            LinkPhase::Up { .. } => Some(self.failed(LinkError::Trouble(Trouble::Other(why.to_owned())), connector)),
            LinkPhase::Handshake { .. } | LinkPhase::Down { .. } => None,
        };
        self.pause = Duration::ZERO;
        self.phase = LinkPhase::Down { retry_at: connector.ambient.now().mono };
        closed
    }

    /// Opens the link, or gives the reason why it can't be opened.
    pub fn open(&mut self, connector: &mut Connector) -> Result<(), String> {
        sealed::assert_open();
        let now = connector.ambient.now().mono;
        self.tried = now;
        match connector.open(&self.to, self.session) {
            Ok((link, used)) => {
                self.phase = LinkPhase::Handshake { link, since: now, progress: now, used, early_starts: None };
                Ok(())
            }
            Err(error) => match self.failed(error, connector) {
                News::NoWay(error) | News::Lost(error) | News::Cut { error, .. } | News::Broken { error, .. } => {
                    Err(error)
                }
                News::Said(_) => Ok(()),
            },
        }
    }

    /// Shifts the stored times after the wall clock was set, by milliseconds.
    pub fn clock_was_set(&mut self, by: i64) {
        self.last_message.0 = self.last_message.0.saturating_add(by);
        if let Some((asked_at, _)) = &mut self.probing {
            asked_at.0 = asked_at.0.saturating_add(by);
        }
    }

    /// Receives what has arrived. An agent's hello brings the link up.
    pub fn receive(&mut self, connector: &mut Connector) -> Vec<News> {
        let (LinkPhase::Handshake { link, .. } | LinkPhase::Up { link, .. }) = &mut self.phase else {
            return Vec::new();
        };
        let mut news = Vec::new();
        let open = link.receive();
        let mut broken = None;
        loop {
            match link.next() {
                Ok(Some(message)) => {
                    self.last_message = connector.ambient.now().wall;
                    news.push(News::Said(message));
                }
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        let broken = match (broken, open) {
            (Some(error), _) | (None, Err(error)) => Some(error),
            (None, Ok(false)) => Some(LinkError::Ended),
            (None, Ok(true)) => None,
        };
        self.note_progress(connector);
        if let LinkPhase::Handshake { .. } = self.phase
            && let Some(News::Said(FromAgent::Hello { version, boot, .. })) = news.first()
        {
            self.version = *version;
            self.come_up(boot.clone(), connector);
        }
        let unfit = news.iter().find_map(|n| match n {
            News::Said(FromAgent::Unfit { error }) => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = unfit {
            // The agent's own reason is better than ssh's.
            self.failed(LinkError::Trouble(Trouble::Other(error)), connector);
        } else if let Some(error) = broken {
            news.push(self.failed(error, connector));
        }
        news
    }

    fn come_up(&mut self, boot: BootId, connector: &mut Connector) {
        let now = connector.ambient.now().mono;
        let down = LinkPhase::Down { retry_at: now };
        if let LinkPhase::Handshake { link, used, early_starts, .. } = std::mem::replace(&mut self.phase, down) {
            connector.worked(used);
            self.retry_newest_session();
            self.machine = None;
            self.phase =
                LinkPhase::Up { link, boot, since: now, reconciled: false, early_starts: early_starts.is_some() };
        }
    }

    /// Closes a link that has failed, to be retried later. Gives the news for its servers.
    pub fn failed(&mut self, error: LinkError, connector: &Connector) -> News {
        self.probing = None;
        self.read_at = None;
        let Now { wall, mono: now } = connector.ambient.now();
        let (error, up_since) = match std::mem::replace(&mut self.phase, LinkPhase::Down { retry_at: now }) {
            LinkPhase::Up { link, since, .. } => (link.give_up(error), Some(since)),
            LinkPhase::Handshake { mut link, early_starts, .. } => {
                // An agent sends its whole hello before it reads what follows ours.
                self.early_starts_lost = early_starts.is_some() && link.end_mute::<FromAgent>();
                (link.give_up(error), None)
            }
            LinkPhase::Down { .. } => (error, None),
        };
        let words = match (&error, &self.to) {
            (LinkError::Trouble(trouble), Engine::Ssh(target)) => trouble.words(target.host()),
            _ => error.to_string(),
        };
        if let Some(since) = up_since {
            // ssh noticed the cut only after its keepalives: the connection was last up before that.
            let noticed = Timestamp(wall.0 - KEEPALIVE_MS);
            let last = self.last_message.max(noticed);
            if matches!(error, LinkError::Frame(_)) {
                // The next agent will say the same.
                self.retry = Retry::Seldom;
                self.pause = next_pause(self.pause, Retry::Seldom);
                self.phase = LinkPhase::Down { retry_at: now + jittered(self.pause, connector.ambient.chance()) };
                return News::Broken { error: format!("what its agent says can't be taken in: {words}"), last };
            }
            self.retry = Retry::Soon;
            // A link that is lost right after it came up gets the longer pause of one that never comes up.
            let stood = now.saturating_duration_since(since) > WAIT_SOON;
            self.pause = if stood { WAIT_MIN } else { next_pause(self.pause, Retry::Soon) };
            self.phase = LinkPhase::Down { retry_at: now + self.pause };
            return News::Cut { error: words, last };
        }
        self.retry = match &error {
            LinkError::Trouble(trouble) => trouble.retry(),
            LinkError::Frame(_) => Retry::Seldom,
            _ => Retry::Soon,
        };
        if matches!(&error, LinkError::Trouble(trouble) if trouble.may_be_the_sessions()) {
            // Another caller's session may succeed.
            self.session += 1;
            self.refused.get_or_insert_with(|| words.clone());
            if connector.has_session(self.session) {
                self.phase = LinkPhase::Down { retry_at: now };
                return News::Lost(words);
            }
        }
        // The refusal of the newest session, not of the older ones.
        let words = self.refused.take().unwrap_or(words);
        self.retry_newest_session();
        self.pause = next_pause(self.pause, self.retry);
        self.phase = LinkPhase::Down { retry_at: now + jittered(self.pause, connector.ambient.chance()) };
        News::NoWay(words)
    }

    /// The boot id of the far host, if the link is up.
    pub const fn boot(&self) -> Option<&BootId> {
        match &self.phase {
            LinkPhase::Up { boot, .. } => Some(boot),
            _ => None,
        }
    }

    /// The boot id of the far host, if starts may be sent: the agent's inventory is known. A start sent before would be sent again
    /// by the reconciliation, except for [early starts](Self::allow_early_starts).
    pub const fn takes_starts(&self) -> Option<&BootId> {
        match &self.phase {
            LinkPhase::Up { reconciled: true, boot, .. } | LinkPhase::Handshake { early_starts: Some(boot), .. } => {
                Some(boot)
            }
            _ => None,
        }
    }

    /// Allows early starts, right behind our hello on the first link to a host that runs since this boot: no inventory of its
    /// agent can hold them yet.
    pub fn allow_early_starts(&mut self, boot: BootId) {
        if let LinkPhase::Handshake { early_starts, .. } = &mut self.phase {
            *early_starts = Some(boot);
        }
    }

    /// True if early starts of this epoch may have been sent over this link, and its inventory is not recorded yet.
    pub const fn sent_early_starts(&self) -> bool {
        matches!(self.phase, LinkPhase::Up { reconciled: false, early_starts: true, .. })
    }

    /// True, once, if the agent ended without a hello: no early start has started.
    pub const fn take_early_starts_lost(&mut self) -> bool {
        std::mem::replace(&mut self.early_starts_lost, false)
    }

    /// Notes that the agent's inventory is recorded.
    pub const fn set_reconciled(&mut self) {
        if let LinkPhase::Up { reconciled, .. } = &mut self.phase {
            *reconciled = true;
        }
    }

    /// Queues a message, behind our hello where early starts are allowed. Without a link the message is dropped, and the next
    /// hello reconciles.
    pub fn send(&mut self, message: &ToAgent) -> Result<(), LinkError> {
        sealed::assert_open();
        match &mut self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, early_starts: Some(_), .. } => link.send(message),
            _ => Ok(()),
        }
    }

    /// Writes as much of the queue as the link takes. Gives the news if it fails.
    pub fn flush(&mut self, connector: &Connector) -> Option<News> {
        sealed::assert_open();
        let sent = match &mut self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, .. } => link.flush(),
            LinkPhase::Down { .. } => Ok(()),
        };
        self.note_progress(connector);
        match sent {
            Ok(()) => None,
            // The read end reports why the link ended.
            Err(LinkError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => None,
            Err(error) => Some(self.failed(error, connector)),
        }
    }

    /// The open link, for polling.
    pub const fn link(&self) -> Option<&Link> {
        match &self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, .. } => Some(link),
            LinkPhase::Down { .. } => None,
        }
    }
}
