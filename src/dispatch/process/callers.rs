//! Commands that are connected to the dispatcher: they wait for ends and follow outputs.

use crate::dispatch::links::route::Route;
use crate::dispatch::sealed;
use crate::dispatch::transfer::chunks::OutputChunk;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, Index, MachineId, ServerId, TaskId};
use crate::protocol::agent::{Clearing, ToAgent};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher, VERSION};
use crate::protocol::frame::{Inbox, Outbox};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// A link, and the machine that has to be behind it.
pub type MachineRoute = (Route, Option<MachineId>);

/// What a connected command waits for.
#[derive(Debug, Default)]
struct Wishes {
    watches: Vec<(TaskId, Option<Index>)>,
    follows: Vec<Follow>,
    /// Servers to be read, and since when that is wanted: an older reading is no answer.
    probes: Vec<(ServerId, Instant)>,
    brings: Vec<(TaskId, Index)>,
    clears: Vec<(ServerId, Route)>,
    reads: Vec<(AttemptId, Stream, u64)>,
    /// To be written for it in the next turn.
    submits: Vec<Vec<u8>>,
    /// Questions to agents whose links are not up yet.
    unasked: Vec<(MachineRoute, ToAgent)>,
}

/// A followed output.
#[derive(Debug, Clone)]
pub struct Follow {
    pub task: TaskId,
    pub index: Index,
    /// The attempt that is followed, once it is known.
    pub attempt: Option<AttemptId>,
    pub out: u64,
    pub err: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Caller {
    /// For answers that come later: callers come and go.
    pub id: u64,
    pub stream: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    wishes: Wishes,
    /// It has said something.
    pub spoke: bool,
    pub gone: bool,
}

/// Output that nobody fetches is not piled up beyond this; the follower reads the rest from the spool.
const BACKLOG_MAX: usize = 8 << 20;

impl Caller {
    /// Greets.
    fn new(id: u64, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut caller = Self {
            id,
            stream,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            wishes: Wishes::default(),
            spoke: false,
            gone: false,
        };
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        caller.send(&FromDispatcher::Hello { version: VERSION, pid });
        Ok(caller)
    }

    /// Queues a word; a caller that does not read is dropped.
    pub fn send(&mut self, message: &FromDispatcher) {
        sealed::assert_open();
        self.gone |= self.outbox.push(message).is_err() || self.outbox.len() > 4 * BACKLOG_MAX;
    }

    /// Sends what goes.
    pub fn flush(&mut self) {
        sealed::assert_open();
        self.gone |= self.outbox.flush(&mut self.stream).is_err();
    }

    /// Is there something to be sent?
    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Too much is on its way already.
    fn is_slow(&self) -> bool {
        self.outbox.len() > BACKLOG_MAX
    }

    /// All that the caller has said by now.
    pub fn receive_all(&mut self) -> Vec<ToDispatcher> {
        while let Ok(Some(1..)) = self.inbox.fill(&mut self.stream) {}
        self.receive()
    }

    /// What the caller says now.
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
        self.wishes.submits.push(submit);
    }

    /// Remembers a wish.
    pub fn watch(&mut self, task: TaskId, index: Option<Index>) {
        self.wishes.watches.push((task, index));
    }

    /// Remembers a wish.
    pub fn follow(&mut self, follow: Follow) {
        self.wishes.follows.push(follow);
    }

    /// Remembers a wish.
    pub fn probe(&mut self, server: ServerId, now: Instant) {
        self.wishes.probes.push((server, now));
    }

    /// Remembers a wish.
    pub fn bring(&mut self, task: TaskId, index: Index) {
        self.wishes.brings.push((task, index));
    }

    /// Remembers a wish.
    pub fn clear(&mut self, server: ServerId, route: Route) {
        self.wishes.clears.push((server, route));
    }

    /// Remembers a question until its link is up.
    pub fn ask_later(&mut self, way: MachineRoute, question: ToAgent) {
        self.wishes.unasked.push((way, question));
    }

    /// Remembers a wish.
    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64) {
        self.wishes.reads.push((attempt, stream, offset));
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Callers {
    pub all: Vec<Caller>,
    greeted: u64,
}

impl Callers {
    /// Takes in who waits at the door.
    pub fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            // One that is gone again is nobody's loss.
            let _ = self.take_in(stream);
        }
    }

    /// Takes in one.
    pub fn take_in(&mut self, stream: UnixStream) -> io::Result<&mut Caller> {
        self.greeted += 1;
        let caller = Caller::new(self.greeted, stream)?;
        let at = self.all.len();
        self.all.push(caller);
        Ok(&mut self.all[at])
    }

    /// Is there a submit to handle?
    pub fn have_submits(&self) -> bool {
        self.all.iter().any(|caller| !caller.wishes.submits.is_empty())
    }

    /// The submits to handle, with their callers. A command that has hung up meanwhile may have submitted by itself: its are left out.
    pub fn submits(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        for caller in self.all.iter_mut().filter(|c| !c.wishes.submits.is_empty()) {
            let submits = std::mem::take(&mut caller.wishes.submits);
            if !caller.gone && !matches!(caller.inbox.fill(&mut caller.stream), Ok(Some(0)) | Err(_)) {
                all.extend(submits.into_iter().map(|submit| (caller.id, submit)));
            }
        }
        all
    }

    /// Answers a submit at once: a command waits for it.
    pub fn answer(&mut self, id: u64, answer: &FromDispatcher) {
        if let Some(caller) = self.all.iter_mut().find(|caller| caller.id == id) {
            caller.send(answer);
            caller.flush();
        }
    }

    /// Does anybody wait for an end? Then ends have to be on the disk before they are told.
    pub fn watching(&self) -> bool {
        self.all.iter().any(|c| !c.wishes.watches.is_empty() || !c.wishes.follows.is_empty())
    }

    /// What is watched or followed, for a look at the database.
    pub fn watched(&self) -> Vec<(TaskId, Option<Index>)> {
        let watches = self.all.iter().flat_map(|c| c.wishes.watches.iter().copied());
        let follows = self.all.iter().flat_map(|c| c.wishes.follows.iter().map(|f| (f.task, Some(f.index))));
        let mut all: Vec<_> = watches.chain(follows).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Tells those who wait that a task (a member) has ended.
    pub fn ended(&mut self, task: TaskId, index: Option<Index>, code: Option<u8>) {
        for caller in &mut self.all {
            let had = caller.wishes.watches.len() + caller.wishes.follows.len();
            caller.wishes.watches.retain(|w| *w != (task, index));
            caller.wishes.follows.retain(|f| (f.task, Some(f.index)) != (task, index));
            if caller.wishes.watches.len() + caller.wishes.follows.len() < had {
                caller.send(&FromDispatcher::Ended { task, index, code });
            }
        }
    }

    /// Follows of a member whose attempt is not (or no longer) the one followed: they are given it. The lowest offsets wanted.
    pub fn attach(&mut self, task: TaskId, attempt: AttemptId) -> Option<(u64, u64)> {
        let mut from: Option<(u64, u64)> = None;
        for caller in &mut self.all {
            for follow in &mut caller.wishes.follows {
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

    /// Is this member followed by somebody who has no attempt yet?
    pub fn follows_unattached(&self) -> Vec<(TaskId, Index)> {
        let all = self.all.iter().flat_map(|c| &c.wishes.follows);
        all.filter(|f| f.attempt.is_none()).map(|f| (f.task, f.index)).collect()
    }

    /// Hands out a piece of output: each follower gets what it does not have yet.
    pub fn data(&mut self, attempt: AttemptId, stream: Stream, piece: &OutputChunk) {
        let number = attempt.number;
        let (from, to) = piece.range();
        for caller in &mut self.all {
            let slow = caller.is_slow();
            let mut pieces = Vec::new();
            for follow in caller.wishes.follows.iter_mut().filter(|f| f.attempt == Some(attempt)) {
                let have = if stream == Stream::Out { &mut follow.out } else { &mut follow.err };
                if slow || piece.offset > *have || to <= *have {
                    continue;
                }
                let (left_out, skip) = (from.saturating_sub(*have), have.saturating_sub(from));
                let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.bytes.len());
                pieces.push((follow.task, follow.index, *have, left_out, piece.bytes[skip..].to_vec()));
                *have = to;
            }
            if let Some(at) = caller.wishes.reads.iter().position(|r| *r == (attempt, stream, piece.offset)) {
                caller.wishes.reads.remove(at);
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

    /// Servers that callers want read, and since when.
    pub fn probes(&self) -> Vec<(ServerId, Instant)> {
        self.all.iter().flat_map(|c| c.wishes.probes.iter().copied()).collect()
    }

    /// Where questions wait to go.
    pub fn questions(&self) -> Vec<Route> {
        self.all.iter().flat_map(|c| c.wishes.unasked.iter().map(|((route, _), _)| *route)).collect()
    }

    /// Questions whose links are up now.
    pub fn askable(&mut self, up: impl Fn(MachineRoute) -> bool) -> Vec<(Route, ToAgent)> {
        let mut all = Vec::new();
        for caller in &mut self.all {
            let asked = caller.wishes.unasked.extract_if(.., |(way, _)| up(*way));
            all.extend(asked.map(|((route, _), question)| (route, question)));
        }
        all
    }

    /// A link can't be opened: who has a question for it is let go.
    pub fn give_up(&mut self, route: Route) {
        for caller in &mut self.all {
            caller.gone |= caller.wishes.unasked.iter().any(|((r, _), _)| *r == route);
        }
    }

    /// Another machine is behind a link than the one that is asked: who has such a question is let go.
    pub fn give_up_on_others(&mut self, route: Route, answers: Option<MachineId>) {
        for caller in &mut self.all {
            let mut connector = caller.wishes.unasked.iter().map(|(way, _)| *way);
            caller.gone |= connector.any(|(r, wanted)| r == route && wanted.is_some() && wanted != answers);
        }
    }

    /// A link is lost: follows go on from where they are once the attempt is found again.
    pub fn detach(&mut self) {
        for follow in self.all.iter_mut().flat_map(|c| &mut c.wishes.follows) {
            follow.attempt = None;
        }
    }

    /// What a member brought was asked for once more, and has come or not.
    pub fn brought(&mut self, task: TaskId, index: Index) {
        for caller in &mut self.all {
            let had = caller.wishes.brings.len();
            caller.wishes.brings.retain(|wish| *wish != (task, index));
            if caller.wishes.brings.len() < had {
                caller.send(&FromDispatcher::Brought { task, index });
            }
        }
    }

    /// A host was cleared, or could not be.
    pub fn cleared(&mut self, route: Route, result: &Result<Clearing, String>) {
        for caller in &mut self.all {
            let cleared: Vec<_> = caller.wishes.clears.extract_if(.., |(_, to)| *to == route).collect();
            for (server, _) in cleared {
                // Asked over a link that is lost, it is not asked again by itself.
                caller.wishes.unasked.retain(|((to, _), question)| (*to, question) != (route, &ToAgent::Clear));
                caller.send(&FromDispatcher::Cleared { server, result: result.clone() });
            }
        }
    }

    /// A reading that was asked for then came, or there is none.
    pub fn probed(&mut self, server: ServerId, read: Result<Instant, String>) {
        for caller in &mut self.all {
            let answered = |wish: &mut (ServerId, Instant)| {
                wish.0 == server && read.as_ref().map_or(true, |asked_at| wish.1 <= *asked_at)
            };
            let answers = caller.wishes.probes.extract_if(.., answered).count();
            for _ in 0..answers {
                caller.send(&FromDispatcher::Probed { server, error: read.as_ref().err().cloned() });
            }
        }
    }

    /// Says something to one of them, if it is still there.
    pub fn tell(&mut self, id: u64, message: &FromDispatcher) {
        if let Some(caller) = self.all.iter_mut().find(|c| c.id == id) {
            caller.send(message);
        }
    }

    /// Lets go of those who left.
    pub fn sweep(&mut self) {
        self.all.retain(|c| !c.gone);
    }
}
