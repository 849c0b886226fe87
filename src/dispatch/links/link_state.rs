//! The dispatcher's links to agents: opened when needed, opened again when lost.

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

/// How far a link is.
#[derive(Debug)]
enum LinkPhase {
    Down {
        retry_at: Instant,
    },
    /// Opened; the agent has not said hello yet.
    Handshake {
        link: Link,
        since: Instant,
        used: Option<Used>,
        /// Starts may be said right behind our hello, to an agent that runs since this boot.
        ahead: Option<BootId>,
    },
    Up {
        link: Link,
        boot: BootId,
        since: Instant,
        /// What the agent holds was compared with what the database says.
        reconciled: bool,
        /// Starts of this epoch may have been said before its hello.
        ahead: bool,
    },
}

/// The link of one route.
#[derive(Debug)]
pub struct LinkState {
    to: Engine,
    phase: LinkPhase,
    /// The last pause before it was tried again.
    pause: Duration,
    /// When it was tried last, and when trying again makes sense.
    tried: Instant,
    retry: Retry,
    /// Which of the sessions that callers brought is tried next, and why the newest was refused.
    session: usize,
    refused: Option<String>,
    /// Somebody has use for it now.
    pub wanted: bool,
    /// Waiting tasks have use for it until then.
    pub wanted_until: Instant,
    /// When a reading was asked for that has not come.
    pub probing: Option<(Timestamp, Instant)>,
    /// When the next one is to be asked for.
    pub read_at: Option<Instant>,
    /// It could not start a task, whatever its readings say: nobody needs another one before that.
    pub rests_until: Instant,
    /// When the agent said something last.
    said: Timestamp,
    /// Of the protocol, as the agent spoke it in its last hello; before one it is taken for our own.
    pub version: u32,
    /// Nothing that went ahead begins: its agent ended without a hello.
    unheard: bool,
    /// The machine over there, once its hello was taken in; of a link that is down the last one. None: this host.
    pub machine: Option<MachineId>,
}

/// A login that takes longer is not counted among those under way: the host is slow or dead, and others must not wait for it.
const BRISK: Duration = Duration::from_secs(2);
/// As long as keepalives take to notice a cut: 15 s three times, and a little.
const KEEPALIVE_MS: i64 = 50_000;

impl LinkState {
    /// A link that is to be opened when somebody has use for it.
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
            said: Timestamp(0),
            version: VERSION,
            unheard: false,
            machine: None,
        }
    }

    /// A reading is due, and can be asked for.
    pub fn is_to_be_read(&self, now: Instant) -> bool {
        self.boot().is_some() && self.probing.is_none() && self.read_at.is_some_and(|at| at <= now)
    }

    /// A reading that began at this time or later is not under way.
    pub fn read_since(&self, since: Instant) -> bool {
        self.probing.is_none_or(|(_, asked)| asked < since)
    }

    /// The reading that was asked for does not come.
    pub fn reading_overdue(&self, patience: Duration, now: Instant) -> bool {
        self.probing.is_some_and(|(_, asked)| now.saturating_duration_since(asked) > patience)
    }

    /// Is it to be opened now?
    pub fn is_due(&self, now: Instant) -> bool {
        self.wanted && matches!(self.phase, LinkPhase::Down { retry_at } if retry_at <= now)
    }

    /// It is down, whether or not it is wanted.
    pub const fn is_down(&self) -> bool {
        matches!(self.phase, LinkPhase::Down { .. })
    }

    /// A login that sshd over there counts as under way.
    pub fn is_logging_in(&self, now: Instant) -> bool {
        let brisk = |since: Instant| now.saturating_duration_since(since) < BRISK;
        matches!(&self.phase, LinkPhase::Handshake { link, since, .. } if !link.answered() && brisk(*since))
            && matches!(self.to, Engine::Ssh(_))
    }

    /// A caller asks: not later, now.
    pub fn retry_now(&mut self) {
        if let LinkPhase::Down { retry_at } = &mut self.phase {
            *retry_at = (*retry_at).min(self.tried + URGED_PAUSE);
        }
    }

    /// Somebody waits for what lies there: now, unless somebody else has to do something first.
    pub fn retry_soon(&mut self) {
        if self.retry == Retry::Soon {
            self.retry_now();
        }
    }

    /// The sessions that callers brought are tried from the newest on.
    pub fn try_newest(&mut self) {
        (self.session, self.refused) = (0, None);
    }

    /// Is it reached by the home's ssh command?
    pub fn is_by_the_homes_command(&self) -> bool {
        matches!(&self.to, Engine::Ssh(target) if target.command().is_none())
    }

    /// Closes it, for it is to be opened another way; it is wanted as before. What that means where it was up.
    pub fn close(&mut self, why: &str, connector: &Connector) -> Option<News> {
        self.try_newest();
        let closed = match &self.phase {
            LinkPhase::Up { .. } => Some(self.failed(LinkError::Trouble(Trouble::Other(why.to_owned())), connector)),
            LinkPhase::Handshake { .. } | LinkPhase::Down { .. } => None,
        };
        self.pause = Duration::ZERO;
        self.phase = LinkPhase::Down { retry_at: connector.ambient.now().mono };
        closed
    }

    /// Opens it. The reason where it can't be.
    pub fn open(&mut self, connector: &mut Connector) -> Result<(), String> {
        sealed::assert_open();
        let now = connector.ambient.now().mono;
        self.tried = now;
        match connector.open(&self.to, self.session) {
            Ok((link, used)) => {
                self.phase = LinkPhase::Handshake { link, since: now, used, ahead: None };
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

    /// The wall clock was set by so many ms.
    pub fn clock_was_set(&mut self, by: i64) {
        self.said.0 = self.said.0.saturating_add(by);
        if let Some((asked_at, _)) = &mut self.probing {
            asked_at.0 = asked_at.0.saturating_add(by);
        }
    }

    /// Reads what came. An agent's hello brings the link up.
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
                    self.said = connector.ambient.now().wall;
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
            // The agent knows better than ssh why it leaves.
            self.failed(LinkError::Trouble(Trouble::Other(error)), connector);
        } else if let Some(error) = broken {
            news.push(self.failed(error, connector));
        }
        news
    }

    fn come_up(&mut self, boot: BootId, connector: &mut Connector) {
        let now = connector.ambient.now().mono;
        let down = LinkPhase::Down { retry_at: now };
        if let LinkPhase::Handshake { link, used, ahead, .. } = std::mem::replace(&mut self.phase, down) {
            connector.worked(used);
            self.try_newest();
            self.machine = None;
            self.phase = LinkPhase::Up { link, boot, since: now, reconciled: false, ahead: ahead.is_some() };
        }
    }

    /// Gives the link up; it is opened again later. What that means for its servers.
    pub fn failed(&mut self, error: LinkError, connector: &Connector) -> News {
        self.probing = None;
        self.read_at = None;
        let Now { wall, mono: now } = connector.ambient.now();
        let (error, up_since) = match std::mem::replace(&mut self.phase, LinkPhase::Down { retry_at: now }) {
            LinkPhase::Up { link, since, .. } => (link.give_up(error), Some(since)),
            LinkPhase::Handshake { mut link, ahead, .. } => {
                // An agent says all of its hello before it takes in what came behind ours.
                self.unheard = ahead.is_some() && link.end_mute::<FromAgent>();
                (link.give_up(error), None)
            }
            LinkPhase::Down { .. } => (error, None),
        };
        let words = match (&error, &self.to) {
            (LinkError::Trouble(trouble), Engine::Ssh(target)) => trouble.words(target.host()),
            _ => error.to_string(),
        };
        if let Some(since) = up_since {
            // Until ssh gave up the connection stood, but for the time in which it noticed that it does not.
            let noticed = Timestamp(wall.0 - KEEPALIVE_MS);
            let last = self.said.max(noticed);
            if matches!(error, LinkError::Frame(_)) {
                // It will say the same again.
                self.retry = Retry::Seldom;
                self.pause = next_pause(self.pause, Retry::Seldom);
                self.phase = LinkPhase::Down { retry_at: now + jittered(self.pause, connector.ambient.chance()) };
                return News::Broken { error: format!("what its agent says can't be taken in: {words}"), last };
            }
            self.retry = Retry::Soon;
            // One that comes and goes at once is no better than one that does not come.
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
            // Somebody else's session may open the door.
            self.session += 1;
            self.refused.get_or_insert_with(|| words.clone());
            if connector.has_session(self.session) {
                self.phase = LinkPhase::Down { retry_at: now };
                return News::Lost(words);
            }
        }
        // What the newest session was told, whatever those before it were.
        let words = self.refused.take().unwrap_or(words);
        self.try_newest();
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

    /// Whether starts may go over it, and since which boot the far host runs: what the agent holds is known. One sent earlier
    /// would be sent once more by the reconciling, but for those that go [ahead](Self::go_ahead).
    pub const fn takes_starts(&self) -> Option<&BootId> {
        match &self.phase {
            LinkPhase::Up { reconciled: true, boot, .. } | LinkPhase::Handshake { ahead: Some(boot), .. } => Some(boot),
            _ => None,
        }
    }

    /// Starts go right behind our hello, over the first link to a host that runs since this boot: whatever its agent holds
    /// then, it holds none of these.
    pub fn go_ahead(&mut self, boot: BootId) {
        if let LinkPhase::Handshake { ahead, .. } = &mut self.phase {
            *ahead = Some(boot);
        }
    }

    /// Is what was sent in this epoch right behind our hello, and the agent at it?
    pub const fn went_ahead(&self) -> bool {
        matches!(self.phase, LinkPhase::Up { reconciled: false, ahead: true, .. })
    }

    /// Does nothing of what went ahead begin? Asked once.
    pub const fn take_unheard(&mut self) -> bool {
        std::mem::replace(&mut self.unheard, false)
    }

    /// What the agent said that it holds was taken in.
    pub const fn set_reconciled(&mut self) {
        if let LinkPhase::Up { reconciled, .. } = &mut self.phase {
            *reconciled = true;
        }
    }

    /// Queues a message, behind our hello where starts go ahead; without a link it is lost, and the hello of the next link sorts things
    /// out.
    pub fn send(&mut self, message: &ToAgent) -> Result<(), LinkError> {
        sealed::assert_open();
        match &mut self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, ahead: Some(_), .. } => link.send(message),
            _ => Ok(()),
        }
    }

    /// Sends what goes without waiting. What failed, if anything did.
    pub fn flush(&mut self, connector: &Connector) -> Option<News> {
        sealed::assert_open();
        let sent = match &mut self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, .. } => link.flush(),
            LinkPhase::Down { .. } => Ok(()),
        };
        match sent {
            Ok(()) => None,
            // The reading end tells why it ended.
            Err(LinkError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => None,
            Err(error) => Some(self.failed(error, connector)),
        }
    }

    /// How long it stands.
    pub fn up_for(&self, now: Instant) -> Option<Duration> {
        match &self.phase {
            LinkPhase::Up { since, .. } => Some(now.saturating_duration_since(*since)),
            _ => None,
        }
    }

    /// The open link, to be polled.
    pub const fn link(&self) -> Option<&Link> {
        match &self.phase {
            LinkPhase::Up { link, .. } | LinkPhase::Handshake { link, .. } => Some(link),
            LinkPhase::Down { .. } => None,
        }
    }
}
