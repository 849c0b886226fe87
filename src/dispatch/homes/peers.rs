//! The dispatcher's links to other homes: `grid serve` as a child or over ssh, opened for a question, shared by all callers,
//! closed when unused. A home that does not answer in time is given up and remembered as silent.

mod peer;
mod pending;

pub use pending::{CallerTicket, PeerQuestion};

use crate::dispatch::links::connector::Connector;
use crate::dispatch::sealed;
use crate::link::trouble::Trouble;
use crate::link::{Link, LinkError};
use crate::model::bounds;
use crate::model::endpoint::Endpoint;
use crate::model::id::HomeId;
use crate::model::ssh_command::SshCommand;
use crate::protocol::dispatcher::FromDispatcher;
use crate::protocol::distributor::{Answer, FromServe, Ticket, ToServe};
use peer::{Peer, PeerState, SIGN_OF_LIFE};
use pending::Pending;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A link without questions is closed after this long.
const UNUSED: Duration = Duration::from_secs(600);
/// A home that is to be asked soon says hello within this time, where its link was not up.
const HELLO: Duration = Duration::from_millis(1_500);

/// The home that answers at an endpoint, or why none does.
pub type EndpointFinding = (Endpoint, Result<HomeId, String>);

/// Links to all other homes.
#[derive(Debug)]
pub struct PeerLinks {
    all: BTreeMap<Endpoint, Peer>,
    tickets: Ticket,
    /// Lists whose question has not been received yet, by caller and its ticket.
    pieces: BTreeMap<CallerTicket, Vec<Vec<u8>>>,
    /// How long a hello or an answer may take.
    pub limit: Duration,
    pub findings: Vec<EndpointFinding>,
}

impl PeerLinks {
    /// No links.
    pub fn new(limit: Duration) -> Self {
        Self { all: BTreeMap::new(), tickets: 0, pieces: BTreeMap::new(), limit, findings: Vec::new() }
    }

    /// Keeps a piece of a list until its question follows.
    pub fn piece(&mut self, of: CallerTicket, bytes: Vec<u8>) {
        self.pieces.entry(of).or_default().push(bytes);
    }

    /// Sends a question, and opens the link if there is none. Gives the messages that can be sent at once.
    pub fn ask(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        command: SshCommand,
        asked: PeerQuestion,
    ) -> Vec<(u64, FromDispatcher)> {
        self.tickets += 1;
        let PeerQuestion { of, question, soon } = asked;
        let pieces = self.pieces.remove(&of).unwrap_or_default();
        let now = connector.ambient.now().mono;
        let (patient, revocable) = (question.is_patient(), question.waits_for_go());
        let within = if self.is_up(endpoint) { SIGN_OF_LIFE } else { HELLO };
        let by = soon.then(|| now + within);
        let (ticket, question) = (self.tickets, Some(question));
        let pending = Pending { ticket, of, said: None, heard: now, patient, revocable, question, by, pieces };
        // A link by another command is not used.
        let mut said = self.close_other_command(connector, endpoint, &command);
        let peer = self.all.entry(endpoint.clone()).or_insert_with(|| Peer::down(now, command));
        peer.used = now;
        peer.pending.push(pending);
        said.extend(self.open(connector, endpoint));
        said
    }

    /// Closes a link that was opened by another ssh command.
    fn close_other_command(
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

    /// Opens the link to an endpoint by this ssh command, or sends the pending questions if it is up.
    pub fn wake(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        command: SshCommand,
    ) -> Vec<(u64, FromDispatcher)> {
        let mut said = self.close_other_command(connector, endpoint, &command);
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
            PeerState::Up { .. } => peer.send_pending(now, &mut self.tickets),
        };
        done.unwrap_or_else(|error| self.lose(connector, endpoint, error, true))
    }

    /// Receives messages from an endpoint.
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
        if let PeerState::Up { home, .. } = &peer.phase
            && !said.is_empty()
            && std::mem::take(&mut peer.silent)
        {
            self.findings.push((endpoint.clone(), Ok(*home)));
        }
        let mut out = Vec::new();
        for message in said {
            match message {
                FromServe::Hello { home, version, .. } => {
                    if let PeerState::Handshake { link, used, .. } = std::mem::replace(&mut peer.phase, PeerState::Down)
                    {
                        connector.worked(used);
                        (peer.session, peer.refused) = (0, None);
                        peer.phase = PeerState::Up { link, version, home };
                        self.findings.push((endpoint.clone(), Ok(home)));
                    }
                }
                FromServe::Unfit { error } => broken = Some(LinkError::Trouble(Trouble::Other(error))),
                FromServe::Answer { ticket, answer, .. } if peer.is_ping(ticket) => {
                    peer.pinged = None;
                    // A home that can't answer that is not the one that it was.
                    if !matches!(answer, Answer::States(_)) {
                        broken = broken.or(Some(LinkError::Ended));
                    }
                }
                FromServe::Answer { ticket, answer, last } => out.extend(peer.answered(ticket, answer, last, now)),
            }
        }
        if broken.is_none() {
            // What waited for the hello, or for a sign of life.
            match peer.send_pending(now, &mut self.tickets) {
                Ok(said) => out.extend(said),
                Err(error) => broken = Some(error),
            }
        }
        if let Some(error) = broken {
            out.extend(self.broken(connector, endpoint, error));
        }
        out
    }

    /// Gives up a link that its home has ended. What was not sent over it yet is sent over a new one: the home may have been
    /// restarted, moved or made anew.
    fn broken(
        &mut self,
        connector: &mut Connector,
        endpoint: &Endpoint,
        error: LinkError,
    ) -> Vec<(u64, FromDispatcher)> {
        let Some(peer) = self.all.get_mut(endpoint) else { return Vec::new() };
        let up = matches!(&peer.phase, PeerState::Up { .. });
        let held: Vec<Pending> = peer.pending.extract_if(.., |p| up && p.said.is_none()).collect();
        let quiet = up && peer.pending.is_empty();
        let mut out = self.lose(connector, endpoint, error, !quiet);
        if let (false, Some(peer)) = (held.is_empty(), self.all.get_mut(endpoint)) {
            peer.pending.extend(held);
            out.extend(self.open(connector, endpoint));
        }
        out
    }

    /// Gives up a link and fails its questions. `remember`: the home counts as silent.
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
        // It may quote the other home's message.
        bounds::cut(&mut words);
        if unheard && matches!(&error, LinkError::Trouble(trouble) if trouble.may_be_the_sessions()) {
            // Another caller's session may succeed.
            peer.session += 1;
            peer.refused.get_or_insert_with(|| words.clone());
            if connector.has_session(peer.session) {
                return self.open(connector, endpoint);
            }
        }
        // The refusal of the newest session, not of the older ones.
        let words = peer.refused.take().unwrap_or(words);
        (peer.session, peer.pinged, peer.silent) = (0, None, false);
        if remember {
            self.findings.push((endpoint.clone(), Err(words.clone())));
        }
        peer.pending.drain(..).map(|pending| pending.failed(&words)).collect()
    }

    /// Gives up links that take too long and closes unused ones.
    pub fn tick(&mut self, connector: &mut Connector) -> Vec<(u64, FromDispatcher)> {
        let (now, limit) = (connector.ambient.now().mono, self.limit);
        let mut out = Vec::new();
        let mut lost = Vec::new();
        for (endpoint, peer) in &mut self.all {
            let late: Vec<Pending> = peer.pending.extract_if(.., |p| p.is_late(now)).collect();
            if !late.is_empty() {
                let why = "it gave no sign of life at once";
                out.extend(late.iter().map(|pending| pending.late(why)));
                // Later searches ask others first. A hello that is still under way, or any word, shows that it is back.
                if peer.is_still(now) || peer.withdraw_late(&late, now, &mut self.tickets).is_err() {
                    lost.push((endpoint.clone(), why.to_owned(), true));
                } else {
                    self.findings.push((endpoint.clone(), Err(why.to_owned())));
                }
                continue;
            }
            match &peer.phase {
                PeerState::Up { .. } if peer.pinged.is_some_and(|(_, at)| now.duration_since(at) >= limit) => {
                    let why = format!("did not answer within {} s", limit.as_secs_f32());
                    lost.push((endpoint.clone(), why, true));
                }
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
                    // Nothing was received since the question: the home is gone or frozen.
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

    /// When [`PeerLinks::tick`] is due.
    pub fn due(&self, connector: &Connector) -> Option<Instant> {
        let late = self.all.values().flat_map(|peer| &peer.pending).filter_map(|p| p.by);
        let pings = self.all.values().filter_map(|peer| peer.pinged).map(|(_, at)| at + self.limit);
        let of = |(endpoint, peer): (&Endpoint, &Peer)| match &peer.phase {
            PeerState::Handshake { since, .. } => Some(*since + patience(endpoint, connector, self.limit)),
            PeerState::Up { .. } => {
                let answers = peer.pending.iter().filter(|p| !p.patient).map(|p| p.heard + self.limit).min();
                Some(answers.unwrap_or(peer.used.max(peer.heard) + UNUSED))
            }
            PeerState::Down => None,
        };
        self.all.iter().filter_map(of).chain(late).chain(pings).min()
    }

    /// Drops the questions of callers that have left.
    pub fn forget(&mut self, alive: impl Fn(u64) -> bool) {
        self.pieces.retain(|of, _| alive(of.caller));
        for peer in self.all.values_mut() {
            let gone: Vec<Pending> = peer.pending.extract_if(.., |p| !alive(p.of.caller)).collect();
            if let PeerState::Up { link, .. } = &mut peer.phase {
                peer::withdraw(link, &gone);
            }
        }
    }

    /// Passes on what a caller says behind its question.
    pub fn pass_on(&mut self, by: CallerTicket, word: impl Fn(Ticket) -> ToServe) {
        for peer in self.all.values_mut() {
            let of = |p: &&Pending| p.of == by;
            if let (PeerState::Up { link, .. }, Some(pending)) = (&mut peer.phase, peer.pending.iter().find(of)) {
                // A broken link is noticed where it is read.
                let _ = link.send(&word(pending.ticket));
            }
        }
    }

    /// Flushes all links.
    pub fn flush(&mut self, connector: &mut Connector) -> Vec<(u64, FromDispatcher)> {
        sealed::assert_open();
        let mut lost = Vec::new();
        for (endpoint, peer) in &mut self.all {
            if let PeerState::Handshake { link, .. } | PeerState::Up { link, .. } = &mut peer.phase
                && let Err(error) = link.flush()
            {
                // The read end reports why the link ended.
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

    /// Open links, for polling.
    pub fn links(&self) -> impl Iterator<Item = (&Endpoint, &Link)> {
        self.all.iter().filter_map(|(endpoint, peer)| match &peer.phase {
            PeerState::Handshake { link, .. } | PeerState::Up { link, .. } => Some((endpoint, link)),
            PeerState::Down => None,
        })
    }

    /// True if the link to this endpoint is up.
    pub fn is_up(&self, endpoint: &Endpoint) -> bool {
        self.all.get(endpoint).is_some_and(|peer| matches!(peer.phase, PeerState::Up { .. }))
    }
}

/// How long a hello may take: over ssh it needs a login, which has its own time-out.
fn patience(endpoint: &Endpoint, connector: &Connector, limit: Duration) -> Duration {
    match endpoint {
        Endpoint::Ssh { .. } => limit.max(connector.patience + Duration::from_secs(1)),
        _ => limit,
    }
}
