//! The dispatcher's links to other homes: `grid serve` as a child or behind ssh, opened when somebody has a question,
//! shared by all, closed when long unused. Who does not answer in time is given up and remembered.

mod pending;

use crate::dispatch::links::connector::{Connector, Used};
use crate::dispatch::sealed;
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::bounds;
use crate::model::endpoint::Endpoint;
use crate::model::id::HomeId;
use crate::model::ssh_command::SshCommand;
use crate::protocol::dispatcher::FromDispatcher;
use crate::protocol::distributor::{Answer, FromServe, Question, Ticket, ToServe};
use pending::Pending;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A link without questions is closed after this long.
const UNUSED: Duration = Duration::from_secs(600);

/// How far a link is.
#[derive(Debug)]
enum PeerState {
    Down,
    Handshake { link: Link, since: Instant, used: Option<Used> },
    Up { link: Link, version: u32 },
}

/// One other home.
#[derive(Debug)]
pub struct Peer {
    phase: PeerState,
    pending: Vec<Pending>,
    used: Instant,
    heard: Instant,
    /// The ssh command that leads there.
    command: SshCommand,
    /// Which of the sessions that callers brought is tried next, and why the newest was refused.
    session: usize,
    refused: Option<String>,
}

impl Peer {
    /// One that nobody has spoken to.
    const fn down(now: Instant, command: SshCommand) -> Self {
        Self { phase: PeerState::Down, pending: Vec::new(), used: now, heard: now, command, session: 0, refused: None }
    }
}

/// What is to be written down of an endpoint: who answers there, or why nobody does.
pub type EndpointFinding = (Endpoint, Result<HomeId, String>);

/// All of them.
#[derive(Debug)]
pub struct PeerLinks {
    all: BTreeMap<Endpoint, Peer>,
    tickets: Ticket,
    /// Lists whose question has not come yet, by caller and its ticket.
    pieces: BTreeMap<(u64, Ticket), Vec<Vec<u8>>>,
    /// How long a greeting or an answer may take.
    pub limit: Duration,
    pub findings: Vec<EndpointFinding>,
}

impl PeerLinks {
    /// None yet.
    pub fn new(limit: Duration) -> Self {
        Self { all: BTreeMap::new(), tickets: 0, pieces: BTreeMap::new(), limit, findings: Vec::new() }
    }

    /// Takes a piece of a list; its question follows.
    pub fn piece(&mut self, caller: u64, theirs: Ticket, bytes: Vec<u8>) {
        self.pieces.entry((caller, theirs)).or_default().push(bytes);
    }

    /// Takes a question; opens the link if there is none. What is known at once is told at once.
    pub fn ask(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        command: SshCommand,
        (caller, theirs): (u64, Ticket),
        question: Question,
    ) -> Vec<(u64, FromDispatcher)> {
        self.tickets += 1;
        let pieces = self.pieces.remove(&(caller, theirs)).unwrap_or_default();
        let now = connector.ambient.now().mono;
        let patient = question.is_patient();
        let pending = Pending {
            ticket: self.tickets,
            caller,
            theirs,
            said: None,
            heard: now,
            patient,
            question: Some(question),
            pieces,
        };
        // Not over a link by another command.
        let mut said = self.leave_other(connector, endpoint, &command);
        let peer = self.all.entry(endpoint.clone()).or_insert_with(|| Peer::down(now, command));
        peer.used = now;
        peer.pending.push(pending);
        said.extend(self.open(connector, endpoint));
        said
    }

    /// Gives up a link that was opened by another ssh command than this one.
    fn leave_other(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        command: &SshCommand,
    ) -> Vec<(u64, FromDispatcher)> {
        let Some(peer) = self.all.get_mut(endpoint).filter(|peer| peer.command != *command) else { return Vec::new() };
        (peer.command, peer.session, peer.refused) = (command.clone(), 0, None);
        if matches!(peer.phase, PeerState::Down) {
            return Vec::new();
        }
        let why = Trouble::Other("its ssh command is another one now".to_owned());
        self.lose(connector, endpoint, LinkError::Trouble(why), false)
    }

    /// Opens the link to an endpoint by this ssh command if it is down; says what waits where it is up.
    pub fn wake(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        command: SshCommand,
    ) -> Vec<(u64, FromDispatcher)> {
        let mut said = self.leave_other(connector, endpoint, &command);
        self.all.entry(endpoint.clone()).or_insert_with(|| Peer::down(connector.ambient.now().mono, command));
        said.extend(self.open(connector, endpoint));
        said
    }

    fn open(&mut self, connector: &mut Connector, endpoint: &Endpoint) -> Vec<(u64, FromDispatcher)> {
        let now = connector.ambient.now().mono;
        let Some(peer) = self.all.get_mut(endpoint) else { return Vec::new() };
        let done = match &mut peer.phase {
            PeerState::Down => connector.open_home(endpoint, &peer.command, peer.session).map(|(link, used)| {
                peer.phase = PeerState::Handshake { link, since: now, used };
                Vec::new()
            }),
            PeerState::Handshake { .. } => Ok(Vec::new()),
            PeerState::Up { .. } => peer.send_pending(now),
        };
        done.unwrap_or_else(|error| self.lose(connector, endpoint, error, true))
    }

    /// Reads what came from an endpoint.
    pub fn receive(&mut self, connector: &mut Connector, endpoint: &Endpoint) -> Vec<(u64, FromDispatcher)> {
        let Some(peer) = self.all.get_mut(endpoint) else { return Vec::new() };
        let (PeerState::Handshake { link, .. } | PeerState::Up { link, .. }) = &mut peer.phase else {
            return Vec::new();
        };
        let now = connector.ambient.now().mono;
        peer.heard = now;
        let open = link.receive();
        let mut said = Vec::new();
        let mut broken = None;
        loop {
            match link.next::<FromServe>() {
                Ok(Some(message)) => said.push(message),
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        match open {
            Ok(true) => {}
            Ok(false) => broken = broken.or(Some(LinkError::Ended)),
            Err(error) => broken = broken.or(Some(error)),
        }
        let mut out = Vec::new();
        for message in said {
            match message {
                FromServe::Hello { home, version, .. } => {
                    if let PeerState::Handshake { link, used, .. } = std::mem::replace(&mut peer.phase, PeerState::Down)
                    {
                        connector.worked(used);
                        (peer.session, peer.refused) = (0, None);
                        peer.phase = PeerState::Up { link, version };
                        self.findings.push((endpoint.clone(), Ok(home)));
                    }
                    match peer.send_pending(now) {
                        Ok(said) => out.extend(said),
                        Err(error) => broken = broken.or(Some(error)),
                    }
                }
                FromServe::Unfit { error } => broken = Some(LinkError::Trouble(Trouble::Other(error))),
                FromServe::Answer { ticket, answer, last } => out.extend(peer.answered(ticket, answer, last, now)),
            }
        }
        if let Some(error) = broken {
            let quiet = matches!(&peer.phase, PeerState::Up { .. }) && peer.pending.is_empty();
            out.extend(self.lose(connector, endpoint, error, !quiet));
        }
        out
    }

    /// Gives a link up. Its questions have no answer; `remember`: whoever lives there counts as silent.
    fn lose(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        error: LinkError,
        remember: bool,
    ) -> Vec<(u64, FromDispatcher)> {
        let Some(peer) = self.all.get_mut(endpoint) else { return Vec::new() };
        let (error, unheard) = match std::mem::replace(&mut peer.phase, PeerState::Down) {
            PeerState::Up { link, .. } => (link.give_up(error), false),
            PeerState::Handshake { link, .. } => (link.give_up(error), true),
            PeerState::Down => (error, true),
        };
        let mut words = match (&error, endpoint) {
            (LinkError::Trouble(trouble), Endpoint::Ssh { host, .. }) => trouble.words(host),
            (LinkError::Ended, _) => "it went away".to_owned(),
            _ => error.to_string(),
        };
        // It may quote what came.
        bounds::cut(&mut words);
        if unheard && matches!(&error, LinkError::Trouble(trouble) if trouble.may_be_the_sessions()) {
            // Somebody else's session may open the door.
            peer.session += 1;
            peer.refused.get_or_insert_with(|| words.clone());
            if connector.has_session(peer.session) {
                return self.open(connector, endpoint);
            }
        }
        // What the newest session was told, whatever those before it were.
        let words = peer.refused.take().unwrap_or(words);
        peer.session = 0;
        if remember {
            self.findings.push((endpoint.clone(), Err(words.clone())));
        }
        peer.pending.drain(..).map(|pending| pending.failed(&words)).collect()
    }

    /// Gives up what takes too long and closes what is not used.
    pub fn tick(&mut self, connector: &mut Connector) -> Vec<(u64, FromDispatcher)> {
        let (now, limit) = (connector.ambient.now().mono, self.limit);
        let mut out = Vec::new();
        let mut lost = Vec::new();
        for (endpoint, peer) in &mut self.all {
            match &peer.phase {
                PeerState::Handshake { since, .. }
                    if now.duration_since(*since) >= patience(endpoint, connector, limit) =>
                {
                    let limit = patience(endpoint, connector, limit);
                    lost.push((endpoint.clone(), format!("did not say hello within {} s", limit.as_secs_f32()), true));
                }
                PeerState::Up { .. } if peer.pending.is_empty() && now.duration_since(peer.used) >= UNUSED => {
                    lost.push((endpoint.clone(), "not used".to_owned(), false));
                }
                PeerState::Up { .. } => {
                    let overdue = |p: &Pending| !p.patient && p.said.is_some() && now.duration_since(p.heard) >= limit;
                    let why = format!("did not answer within {} s", limit.as_secs_f32());
                    // Nothing at all came since it was asked: there is nobody, or it is frozen.
                    if peer.pending.iter().any(|p| overdue(p) && p.said.is_some_and(|said| said >= peer.heard)) {
                        lost.push((endpoint.clone(), why, true));
                    } else {
                        out.extend(peer.pending.extract_if(.., |p| overdue(p)).map(|p| p.failed(&why)));
                    }
                }
                _ => {}
            }
        }
        for (endpoint, why, remember) in lost {
            out.extend(self.lose(connector, &endpoint, LinkError::Trouble(Trouble::Other(why)), remember));
        }
        out
    }

    /// When [`PeerLinks::tick`] has something to do.
    pub fn due(&self, connector: &Connector) -> Option<Instant> {
        let of = |(endpoint, peer): (&Endpoint, &Peer)| match &peer.phase {
            PeerState::Handshake { since, .. } => Some(*since + patience(endpoint, connector, self.limit)),
            PeerState::Up { .. } => {
                let answers = peer.pending.iter().filter(|p| !p.patient).map(|p| p.heard + self.limit).min();
                Some(answers.unwrap_or(peer.used.max(peer.heard) + UNUSED))
            }
            PeerState::Down => None,
        };
        self.all.iter().filter_map(of).min()
    }

    /// A caller left: what it asked need not be answered.
    pub fn forget(&mut self, alive: impl Fn(u64) -> bool) {
        self.pieces.retain(|(caller, _), _| alive(*caller));
        for peer in self.all.values_mut() {
            let gone: Vec<Pending> = peer.pending.extract_if(.., |p| !alive(p.caller)).collect();
            if let PeerState::Up { link, .. } = &mut peer.phase {
                for pending in gone.iter().filter(|p| p.said.is_some()) {
                    // A link that is broken is noticed where it is read.
                    let _ = link.send(&ToServe::Drop { ticket: pending.ticket });
                }
            }
        }
    }

    /// A caller took so much of an output: as much more may come.
    pub fn taken(&mut self, caller: u64, theirs: Ticket, bytes: u64) {
        for peer in self.all.values_mut() {
            let of = |p: &&Pending| p.caller == caller && p.theirs == theirs;
            if let (PeerState::Up { link, .. }, Some(pending)) = (&mut peer.phase, peer.pending.iter().find(of)) {
                // A link that is broken is noticed where it is read.
                let _ = link.send(&ToServe::Taken { ticket: pending.ticket, bytes });
            }
        }
    }

    /// Sends what goes without waiting.
    pub fn flush(&mut self, connector: &mut Connector) -> Vec<(u64, FromDispatcher)> {
        sealed::assert_open();
        let mut lost = Vec::new();
        for (endpoint, peer) in &mut self.all {
            if let PeerState::Handshake { link, .. } | PeerState::Up { link, .. } = &mut peer.phase
                && let Err(error) = link.flush()
            {
                // The reading end tells better why it ended.
                if !matches!(&error, LinkError::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
                    lost.push((endpoint.clone(), error));
                }
            }
        }
        let mut out = Vec::new();
        for (endpoint, error) in lost {
            out.extend(self.lose(connector, &endpoint, error, true));
        }
        out
    }

    /// Open links, to be polled.
    pub fn links(&self) -> impl Iterator<Item = (&Endpoint, &Link)> {
        self.all.iter().filter_map(|(endpoint, peer)| match &peer.phase {
            PeerState::Handshake { link, .. } | PeerState::Up { link, .. } => Some((endpoint, link)),
            PeerState::Down => None,
        })
    }

    /// Is the far end of this one known to answer?
    pub fn is_up(&self, endpoint: &Endpoint) -> bool {
        self.all.get(endpoint).is_some_and(|peer| matches!(peer.phase, PeerState::Up { .. }))
    }
}

impl Peer {
    /// Says what waits, now that the link is up. What an older grid over there can't understand is answered here.
    fn send_pending(&mut self, now: Instant) -> Result<Vec<(u64, FromDispatcher)>, LinkError> {
        sealed::assert_open();
        let PeerState::Up { link, version } = &mut self.phase else { return Ok(Vec::new()) };
        let too_new = |p: &mut Pending| p.question.as_ref().is_some_and(|question| question.since() > *version);
        let refused: Vec<_> = self.pending.extract_if(.., too_new).map(|p| p.too_new()).collect();
        for pending in self.pending.iter_mut().filter(|p| p.said.is_none()) {
            let Some(question) = pending.question.take() else { continue };
            (pending.said, pending.heard) = (Some(now), now);
            for bytes in pending.pieces.drain(..) {
                link.send(&ToServe::Piece { ticket: pending.ticket, bytes })?;
            }
            link.send(&ToServe::Ask { ticket: pending.ticket, question })?;
        }
        Ok(refused)
    }

    fn answered(&mut self, ticket: Ticket, answer: Answer, last: bool, now: Instant) -> Option<(u64, FromDispatcher)> {
        self.used = now;
        let at = self.pending.iter().position(|p| p.ticket == ticket)?;
        self.pending[at].heard = now;
        let (caller, theirs) = (self.pending[at].caller, self.pending[at].theirs);
        if last {
            self.pending.remove(at);
        }
        Some((caller, FromDispatcher::Said { ticket: theirs, answer, last }))
    }
}

/// A greeting over ssh takes a login, which has a time-out of its own.
fn patience(endpoint: &Endpoint, connector: &Connector, limit: Duration) -> Duration {
    match endpoint {
        Endpoint::Ssh { .. } => limit.max(connector.patience + Duration::from_secs(1)),
        _ => limit,
    }
}
