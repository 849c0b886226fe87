//! Commands that are connected to the dispatcher, and their open requests: ends, outputs, probes, files, submits.

use crate::dispatch::links::route::Route;
use crate::dispatch::process::requests::{Follow, MachineRoute, Requests};
use crate::dispatch::sealed;
use crate::dispatch::submits::SubmitMessage;
use crate::dispatch::transfer::chunks::OutputChunk;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, Index, MachineId, MemberKey, ServerId, TaskId};
use crate::protocol::agent::{Clearing, ToAgent};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher, VERSION};
use crate::protocol::frame::{Inbox, Outbox};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// One connection.
#[derive(Debug)]
pub struct Caller {
    /// For answers that come later, when its place in the list is another one.
    pub id: u64,
    pub stream: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    requests: Requests,
    /// It has sent something.
    pub spoke: bool,
    pub gone: bool,
}

/// Buffered output of a slow follower is at most this long; it reads the rest from the spool.
const BACKLOG_MAX: usize = 8 << 20;

impl Caller {
    /// Adds a connection and queues the hello.
    fn new(id: u64, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut caller = Self {
            id,
            stream,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            requests: Requests::default(),
            spoke: false,
            gone: false,
        };
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        caller.send(&FromDispatcher::Hello { version: VERSION, pid });
        Ok(caller)
    }

    /// Queues a message; a caller that does not read is dropped.
    pub fn send(&mut self, message: &FromDispatcher) {
        sealed::assert_open();
        self.gone |= self.outbox.push(message).is_err() || self.outbox.len() > 4 * BACKLOG_MAX;
    }

    /// Writes as much of the queue as the socket takes.
    pub fn flush(&mut self) {
        sealed::assert_open();
        self.gone |= self.outbox.flush(&mut self.stream).is_err();
    }

    /// True if the queue is not empty.
    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// True if too much output is queued already.
    fn is_slow(&self) -> bool {
        self.outbox.len() > BACKLOG_MAX
    }

    /// Reads all messages that have arrived.
    pub fn receive_all(&mut self) -> Vec<ToDispatcher> {
        while let Ok(Some(1..)) = self.inbox.fill(&mut self.stream) {}
        self.receive()
    }

    /// Reads once from the socket; gives the messages that are complete.
    pub fn receive(&mut self) -> Vec<ToDispatcher> {
        match self.inbox.fill(&mut self.stream) {
            Ok(Some(0)) | Err(_) => self.gone = true,
            Ok(_) => {}
        }
        let mut all = Vec::new();
        loop {
            match self.inbox.next() {
                Ok(Some(message)) => {
                    self.spoke = true;
                    all.push(message);
                }
                Ok(None) => return all,
                Err(_) => {
                    self.gone = true;
                    return all;
                }
            }
        }
    }

    /// Adds a submit that the next turn handles.
    pub fn submit(&mut self, submit: Vec<u8>) {
        let submitter = self.requests.submitter.take();
        self.requests.submits.push(SubmitMessage { submit, submitter });
    }

    /// Notes what the next submit's task inherits.
    pub fn submitter(&mut self, submitter: Vec<u8>) {
        self.requests.submitter = Some(submitter);
    }

    /// Adds a watch for the end of a task or a member.
    pub fn watch(&mut self, task: TaskId, index: Option<Index>) {
        self.requests.watches.push((task, index));
    }

    /// Adds a follow of an output.
    pub fn follow(&mut self, follow: Follow) {
        self.requests.follows.push(follow);
    }

    /// Adds a probe of a server; only readings from now on answer it.
    pub fn probe(&mut self, server: ServerId, now: Instant) {
        self.requests.probes.push((server, now));
    }

    /// Adds a request for the files of a member.
    pub fn bring(&mut self, member: MemberKey) {
        self.requests.brings.push(member);
    }

    /// Adds a request to clear a host.
    pub fn clear(&mut self, server: ServerId, route: Route) {
        self.requests.clears.push((server, route));
    }

    /// Adds a question that is sent once its link is up.
    pub fn ask_later(&mut self, target: MachineRoute, question: ToAgent) {
        self.requests.unasked.push((target, question));
    }

    /// Adds a read of output at an offset.
    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64) {
        self.requests.reads.push((attempt, stream, offset));
    }
}

/// All connected commands.
#[derive(Debug, Default)]
pub struct Callers {
    pub all: Vec<Caller>,
    accepted: u64,
}

impl Callers {
    /// Accepts the connections that wait at the socket.
    pub fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            // A caller that has hung up already needs nothing.
            let _ = self.add(stream);
        }
    }

    /// Adds a connection.
    pub fn add(&mut self, stream: UnixStream) -> io::Result<&mut Caller> {
        self.accepted += 1;
        let caller = Caller::new(self.accepted, stream)?;
        let at = self.all.len();
        self.all.push(caller);
        Ok(&mut self.all[at])
    }

    /// True if there is a submit to handle.
    pub fn have_submits(&self) -> bool {
        self.all.iter().any(|caller| !caller.requests.submits.is_empty())
    }

    /// Removes and gives the submits to handle, each with its caller. Submits of a caller that has hung up are dropped: it may
    /// have submitted by itself.
    pub fn submits(&mut self) -> Vec<(u64, SubmitMessage)> {
        let mut all = Vec::new();
        for caller in self.all.iter_mut().filter(|c| !c.requests.submits.is_empty()) {
            let submits = std::mem::take(&mut caller.requests.submits);
            if !caller.gone && !matches!(caller.inbox.fill(&mut caller.stream), Ok(Some(0)) | Err(_)) {
                all.extend(submits.into_iter().map(|submit| (caller.id, submit)));
            }
        }
        all
    }

    /// Answers a submit and flushes: a command waits for it.
    pub fn answer(&mut self, id: u64, answer: &FromDispatcher) {
        if let Some(caller) = self.all.iter_mut().find(|caller| caller.id == id) {
            caller.send(answer);
            caller.flush();
        }
    }

    /// True if a caller waits for an end. Ends are then on the disk before they are sent.
    pub fn watching(&self) -> bool {
        self.all.iter().any(|c| !c.requests.watches.is_empty() || !c.requests.follows.is_empty())
    }

    /// Members and tasks that are watched or followed.
    pub fn watched(&self) -> Vec<(TaskId, Option<Index>)> {
        let watches = self.all.iter().flat_map(|c| c.requests.watches.iter().copied());
        let follows = self.all.iter().flat_map(|c| c.requests.follows.iter().map(|f| (f.task, Some(f.index))));
        let mut all: Vec<_> = watches.chain(follows).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sends the end of a task or a member to the callers that wait for it.
    pub fn ended(&mut self, task: TaskId, index: Option<Index>, code: Option<u8>) {
        for caller in &mut self.all {
            let had = caller.requests.watches.len() + caller.requests.follows.len();
            caller.requests.watches.retain(|w| *w != (task, index));
            caller.requests.follows.retain(|f| (f.task, Some(f.index)) != (task, index));
            if caller.requests.watches.len() + caller.requests.follows.len() < had {
                caller.send(&FromDispatcher::Ended { task, index, code });
            }
        }
    }

    /// Attaches the follows of a member to this attempt. Gives the lowest offsets of those that were not attached to it before.
    pub fn attach(&mut self, task: TaskId, attempt: AttemptId) -> Option<(u64, u64)> {
        let mut from: Option<(u64, u64)> = None;
        for caller in &mut self.all {
            for follow in &mut caller.requests.follows {
                if follow.task == task && follow.index == attempt.index && follow.attempt != Some(attempt) {
                    if follow.attempt.is_some() {
                        (follow.out, follow.err) = (0, 0);
                    }
                    follow.attempt = Some(attempt);
                    let lowest = from.unwrap_or((u64::MAX, u64::MAX));
                    from = Some((lowest.0.min(follow.out), lowest.1.min(follow.err)));
                }
            }
        }
        from
    }

    /// Members with follows that are attached to no attempt.
    pub fn follows_unattached(&self) -> Vec<MemberKey> {
        let all = self.all.iter().flat_map(|c| &c.requests.follows);
        all.filter(|f| f.attempt.is_none()).map(|f| MemberKey { task: f.task, index: f.index }).collect()
    }

    /// Sends a piece of output to its followers and readers; each follower gets what it does not have yet.
    pub fn data(&mut self, attempt: AttemptId, stream: Stream, piece: &OutputChunk) {
        let number = attempt.number;
        let (from, to) = piece.range();
        for caller in &mut self.all {
            let slow = caller.is_slow();
            let mut pieces = Vec::new();
            for follow in caller.requests.follows.iter_mut().filter(|f| f.attempt == Some(attempt)) {
                let have = if stream == Stream::Out { &mut follow.out } else { &mut follow.err };
                if slow || piece.offset > *have || to <= *have {
                    continue;
                }
                let (left_out, skip) = (from.saturating_sub(*have), have.saturating_sub(from));
                let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.bytes.len());
                pieces.push((follow.task, follow.index, *have, left_out, piece.bytes[skip..].to_vec()));
                *have = to;
            }
            if let Some(at) = caller.requests.reads.iter().position(|r| *r == (attempt, stream, piece.offset)) {
                caller.requests.reads.remove(at);
                let message = FromDispatcher::Data {
                    task: TaskId(0),
                    index: attempt.index,
                    number,
                    stream,
                    offset: piece.offset,
                    left_out: piece.left_out,
                    bytes: piece.bytes.clone(),
                    at_end: piece.at_end,
                };
                caller.send(&message);
            }
            for (task, index, offset, left_out, bytes) in pieces {
                let at_end = false;
                caller.send(&FromDispatcher::Data { task, index, number, stream, offset, left_out, bytes, at_end });
            }
        }
    }

    /// Requested probes, each with the time of its request.
    pub fn probes(&self) -> Vec<(ServerId, Instant)> {
        self.all.iter().flat_map(|c| c.requests.probes.iter().copied()).collect()
    }

    /// Routes with questions that are not sent yet.
    pub fn questions(&self) -> Vec<Route> {
        self.all.iter().flat_map(|c| c.requests.unasked.iter().map(|((route, _), _)| *route)).collect()
    }

    /// Removes and gives the questions whose links are up.
    pub fn askable(&mut self, up: impl Fn(MachineRoute) -> bool) -> Vec<(Route, ToAgent)> {
        let mut all = Vec::new();
        for caller in &mut self.all {
            let asked = caller.requests.unasked.extract_if(.., |(target, _)| up(*target));
            all.extend(asked.map(|((route, _), question)| (route, question)));
        }
        all
    }

    /// Drops the callers that have a question for a link that can't be opened.
    pub fn give_up(&mut self, route: Route) {
        for caller in &mut self.all {
            caller.gone |= caller.requests.unasked.iter().any(|((r, _), _)| *r == route);
        }
    }

    /// Drops the callers that have a question for another machine than the one behind a link.
    pub fn give_up_on_others(&mut self, route: Route, answers: Option<MachineId>) {
        for caller in &mut self.all {
            let mut targets = caller.requests.unasked.iter().map(|(target, _)| *target);
            caller.gone |= targets.any(|(r, wanted)| r == route && wanted.is_some() && wanted != answers);
        }
    }

    /// Detaches all follows after a link is lost; they continue at their offsets once their attempts are found again.
    pub fn detach(&mut self) {
        for follow in self.all.iter_mut().flat_map(|c| &mut c.requests.follows) {
            follow.attempt = None;
        }
    }

    /// Answers the requests for the files of a member.
    pub fn brought(&mut self, member: MemberKey) {
        for caller in &mut self.all {
            let had = caller.requests.brings.len();
            caller.requests.brings.retain(|bring| *bring != member);
            if caller.requests.brings.len() < had {
                caller.send(&FromDispatcher::Brought { task: member.task, index: member.index });
            }
        }
    }

    /// Answers the requests to clear a host.
    pub fn cleared(&mut self, route: Route, result: &Result<Clearing, String>) {
        for caller in &mut self.all {
            let cleared: Vec<_> = caller.requests.clears.extract_if(.., |(_, to)| *to == route).collect();
            for (server, _) in cleared {
                // The question of a lost link is not sent again.
                caller.requests.unasked.retain(|((to, _), question)| (*to, question) != (route, &ToAgent::Clear));
                caller.send(&FromDispatcher::Cleared { server, result: result.clone() });
            }
        }
    }

    /// Answers the probes of a server that were requested before this reading was.
    pub fn probed(&mut self, server: ServerId, read: Result<Instant, String>) {
        for caller in &mut self.all {
            let answered = |probe: &mut (ServerId, Instant)| {
                probe.0 == server && read.as_ref().map_or(true, |asked_at| probe.1 <= *asked_at)
            };
            let answers = caller.requests.probes.extract_if(.., answered).count();
            for _ in 0..answers {
                caller.send(&FromDispatcher::Probed { server, error: read.as_ref().err().cloned() });
            }
        }
    }

    /// Sends a message to a caller if it is still connected.
    pub fn send(&mut self, id: u64, message: &FromDispatcher) {
        if let Some(caller) = self.all.iter_mut().find(|c| c.id == id) {
            caller.send(message);
        }
    }

    /// Removes the callers that hung up.
    pub fn sweep(&mut self) {
        self.all.retain(|c| !c.gone);
    }
}
