//! A fake agent that a test controls. It keeps what the protocol requires (attempts until their ends are confirmed, tombstones),
//! starts the attempts of a lane one after the other, and ends them when the test says so.

mod faults;

pub use faults::Reads;

use crate::model::attempt::{Cause, End, Stream, Usage};
use crate::model::facts::Facts;
use crate::model::id::{AttemptId, BootId, Epoch, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{
    Ended, Event, FromAgent, Held, HeldState, INLINE_MAX, MAGIC, Packing, Refusal, Start, ToAgent, VERSION,
};
use crate::protocol::frame::{Inbox, Outbox};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The work of one attempt.
#[derive(Debug)]
struct Work {
    lane: LaneId,
    state: HeldState,
    out: Vec<u8>,
}

/// An agent with its host and its spool.
#[derive(Debug)]
pub struct FakeAgent {
    stream: Option<UnixStream>,
    inbox: Inbox,
    outbox: Outbox,
    pub facts: Facts,
    pub boot: BootId,
    /// The protocol version of its hello.
    pub version: u32,
    work: BTreeMap<AttemptId, Work>,
    lanes: BTreeMap<LaneId, VecDeque<AttemptId>>,
    tombstones: BTreeSet<AttemptId>,
    epoch: Epoch,
    /// The refusal of all following starts.
    pub refuses: Option<Refusal>,
    /// It reads a hello and does not answer.
    pub mute: bool,
    /// It packs results only when the test calls `packed`.
    pub packs_late: bool,
    /// It starts queued attempts only when the test calls `begin_all`.
    pub begins_late: bool,
    pub reads: Reads,
    /// Why it can't work.
    pub unfit: Option<String>,
    /// The last packed archive.
    packet: Vec<u8>,
    /// It reports an end again once its output was read to the end, as after a cancel.
    pub repeats_ends: bool,
    /// It makes second names of outputs on request.
    pub links: bool,
    /// Variables that its commands run without.
    pub without: Vec<String>,
    /// Second names lack their last byte.
    pub links_cut: bool,
    /// The last reported end.
    pub last_end: Option<FromAgent>,
    /// All received messages, oldest first.
    pub heard: Vec<ToAgent>,
    /// All attempts that were run, in order: a duplicate was started twice.
    pub ran: Vec<AttemptId>,
}

impl FakeAgent {
    /// An agent without a link.
    pub fn new(facts: Facts) -> Self {
        Self {
            stream: None,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            boot: facts.boot.clone(),
            facts,
            version: VERSION,
            work: BTreeMap::new(),
            lanes: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            epoch: Epoch(0),
            refuses: None,
            mute: false,
            packs_late: false,
            begins_late: false,
            reads: Reads::Answered,
            unfit: None,
            packet: Vec::new(),
            repeats_ends: false,
            links: false,
            without: Vec::new(),
            links_cut: false,
            last_end: None,
            heard: Vec::new(),
            ran: Vec::new(),
        }
    }

    /// Connects it to a dispatcher; the link before is closed.
    pub fn connect(&mut self, stream: UnixStream) {
        stream.set_nonblocking(true).unwrap();
        (self.inbox, self.outbox) = (Inbox::default(), Outbox::default());
        let _ = (&stream).write_all(MAGIC);
        self.stream = Some(stream);
    }

    /// Cuts its link.
    pub fn cut(&mut self) {
        self.stream = None;
    }

    /// Restarts the host: running attempts are gone without a record.
    pub fn restart_host(&mut self, boot: &str) {
        self.cut();
        self.boot = BootId(boot.into());
        self.facts.boot = self.boot.clone();
        self.work.retain(|_, work| matches!(work.state, HeldState::Ended(_)));
        self.lanes.clear();
    }

    /// Loses its spool with everything in it.
    pub fn lose_spool(&mut self) {
        self.cut();
        self.work.clear();
        self.lanes.clear();
    }

    /// Attempts whose command runs.
    pub fn running(&self) -> Vec<AttemptId> {
        let runs = |work: &Work| matches!(work.state, HeldState::Running { .. });
        self.work.iter().filter(|(_, work)| runs(work)).map(|(id, _)| *id).collect()
    }

    /// Since when the command of an attempt runs.
    pub fn began(&self, attempt: AttemptId) -> Option<Timestamp> {
        match self.work.get(&attempt)?.state {
            HeldState::Running { started_at, .. } => Some(started_at),
            _ => None,
        }
    }

    /// All attempts that it holds.
    pub fn holds(&self) -> Vec<AttemptId> {
        self.work.keys().copied().collect()
    }

    /// Receives and answers messages. True: there were some.
    pub fn pump(&mut self, now: Timestamp) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let filled = self.inbox.fill(stream);
        let mut any = false;
        while let Ok(Some(message)) = self.inbox.next::<ToAgent>() {
            any = true;
            self.heard.push(message.clone());
            self.take(message, now);
        }
        if matches!(filled, Ok(Some(0)) | Err(_)) {
            self.stream = None;
        }
        self.flush();
        any
    }

    fn flush(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = self.outbox.flush(stream);
        }
    }

    /// True if the link has not taken everything yet.
    pub fn has_more(&self) -> bool {
        self.stream.is_some() && !self.outbox.is_empty()
    }

    /// Sends any message.
    pub fn say(&mut self, message: &FromAgent) {
        self.outbox.push(message).unwrap();
        self.flush();
    }

    fn event(&mut self, event: Event) {
        self.say(&FromAgent::Events(vec![event]));
    }

    fn take(&mut self, message: ToAgent, now: Timestamp) {
        if self.mute {
            return;
        }
        match message {
            ToAgent::Hello { epoch, .. } => {
                if let Some(error) = self.unfit.clone() {
                    // It exits, and reads nothing after the hello.
                    self.say(&FromAgent::Unfit { error });
                    (self.stream, self.inbox) = (None, Inbox::default());
                    return;
                }
                self.epoch = self.epoch.max(epoch);
                let held =
                    |(id, work): (&AttemptId, &Work)| Held { attempt: *id, lane: work.lane, state: work.state.clone() };
                let inventory = self.work.iter().map(held).collect();
                let (machine, hostname) = (self.facts.machine.clone(), self.facts.hostname.clone());
                let (version, boot) = (self.version, self.boot.clone());
                self.say(&FromAgent::Hello { version, machine, boot, hostname, inventory });
            }
            ToAgent::Start(start) => self.start(&start, now),
            ToAgent::Recall { lane } => {
                let mut waiting: Vec<AttemptId> = self.lanes.get(&lane).into_iter().flatten().copied().collect();
                waiting.retain(|id| self.work.get(id).is_some_and(|work| work.state == HeldState::Queued));
                for attempt in waiting {
                    self.forget(attempt);
                    self.event(Event::Recalled { attempt });
                }
            }
            ToAgent::Cancel { attempt, .. } => match self.work.get(&attempt).map(|work| work.state.clone()) {
                Some(HeldState::Running { .. }) => self.end_as(attempt, Cause::Cancelled, b"", now),
                Some(HeldState::Ended(_)) => {}
                Some(HeldState::Queued) | None => {
                    self.forget(attempt);
                    self.tombstones.insert(attempt);
                    self.event(Event::Refused { attempt, why: Refusal::Tombstone });
                }
            },
            ToAgent::Confirm { attempts } => {
                for attempt in attempts {
                    self.work.remove(&attempt);
                    self.tombstones.remove(&attempt);
                }
            }
            ToAgent::Probe { .. } => self.say(&FromAgent::Facts(self.facts.clone())),
            ToAgent::Read { attempt, stream, offset, max } => self.read(attempt, stream, offset, max),
            ToAgent::ReadPacked { attempt, offset, max } => self.read_packed(attempt, offset, max),
            ToAgent::Link { attempt, stream, to } => self.link(attempt, stream, Path::new(to.as_os())),
            ToAgent::Pack { attempt, .. } if !self.packs_late => self.packed(attempt),
            _ => {}
        }
    }

    fn start(&mut self, start: &Start, now: Timestamp) {
        for member in &start.members {
            let attempt = member.attempt;
            let refusal = match &self.refuses {
                Some(refusal) => Some(refusal.clone()),
                None if start.boot != self.boot => Some(Refusal::OtherBoot),
                None if start.epoch < self.epoch => Some(Refusal::OldEpoch),
                None if self.tombstones.contains(&attempt) => Some(Refusal::Tombstone),
                None => None,
            };
            match refusal {
                Some(why) => self.event(Event::Refused { attempt, why }),
                None if self.work.contains_key(&attempt) => {}
                None => {
                    let work = Work { lane: start.lane, state: HeldState::Queued, out: Vec::new() };
                    self.work.insert(attempt, work);
                    self.lanes.entry(start.lane).or_default().push_back(attempt);
                }
            }
        }
        self.begin_next(start.lane, now);
    }

    fn forget(&mut self, attempt: AttemptId) {
        self.work.remove(&attempt);
        self.lanes.values_mut().for_each(|lane| lane.retain(|id| *id != attempt));
    }

    /// Starts the first queued attempt of a lane, unless one runs there.
    fn begin_next(&mut self, lane: LaneId, now: Timestamp) {
        if self.begins_late {
            return;
        }
        let Some(first) = self.lanes.get(&lane).and_then(|lane| lane.front().copied()) else { return };
        if let Some(work) = self.work.get_mut(&first).filter(|work| work.state == HeldState::Queued) {
            let without = self.without.clone();
            work.state = HeldState::Running { started_at: now, process: None, supervised: true, without };
            self.ran.push(first);
            self.event(Event::Began { attempt: first, at: now, process: None, without: self.without.clone() });
        }
    }

    /// Ends the command of an attempt with this code and this output.
    pub fn end(&mut self, attempt: AttemptId, code: u8, out: &[u8], now: Timestamp) {
        self.end_as(attempt, Cause::Exited { code }, out, now);
    }

    /// Ends the command of an attempt with any cause.
    pub fn end_as(&mut self, attempt: AttemptId, cause: Cause, out: &[u8], now: Timestamp) {
        let Some(work) = self.work.get_mut(&attempt) else { return };
        let HeldState::Running { started_at, .. } = work.state else { return };
        let short = out.len() as u64 <= INLINE_MAX;
        let end = End {
            cause,
            started_at: Some(started_at),
            ended_at: now,
            usage: Usage::default(),
            out_len: out.len() as u64,
            err_len: 0,
            cut: None,
            without: self.without.clone(),
        };
        let ended = Ended { end, out: short.then(|| out.to_vec()), err: Some(Vec::new()) };
        (work.state, work.out) = (HeldState::Ended(ended.clone()), out.to_vec());
        let lane = work.lane;
        self.lanes.entry(lane).or_default().retain(|id| *id != attempt);
        self.last_end = Some(FromAgent::Events(vec![Event::Ended { attempt, ended: ended.clone() }]));
        self.event(Event::Ended { attempt, ended });
        self.begin_next(lane, now);
    }

    /// Reports an end again.
    pub fn report_again(&mut self, attempt: AttemptId) {
        let ended = self.work.get(&attempt).and_then(|work| match &work.state {
            HeldState::Ended(ended) => Some(ended.clone()),
            _ => None,
        });
        if let Some(ended) = ended {
            self.event(Event::Ended { attempt, ended });
        }
    }

    /// Answers a read.
    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u32) {
        if self.reads == Reads::Silent && max > 0 {
            return;
        }
        let there = stream == Stream::Out && self.reads == Reads::Answered;
        let out = self.work.get(&attempt).filter(|_| there).map(|work| work.out.clone());
        let out = out.unwrap_or_default();
        let from = usize::try_from(offset).unwrap().min(out.len());
        let to = (from + max as usize).min(out.len());
        let bytes = out[from..to].to_vec();
        self.say(&FromAgent::Data {
            attempt,
            stream,
            offset,
            left_out: 0,
            bytes,
            at_end: to == out.len() && self.reads == Reads::Answered,
        });
        if self.repeats_ends && to == out.len() {
            self.report_again(attempt);
        }
    }

    fn link(&mut self, attempt: AttemptId, stream: Stream, to: &Path) {
        let out = self.work.get(&attempt).filter(|_| self.links && stream == Stream::Out).map(|work| &work.out);
        let linked = out.is_some_and(|out| {
            let len = out.len() - usize::from(self.links_cut);
            File::create_new(to).unwrap().write_all(&out[..len]).unwrap();
            true
        });
        self.say(&FromAgent::Linked { attempt, stream, linked });
    }

    /// Reports that an attempt has no results.
    pub fn packed(&mut self, attempt: AttemptId) {
        let packing = Packing { digest: crate::model::files::Digest([0; 32]), size: 0, files: 0, remarks: Vec::new() };
        self.say(&FromAgent::Packed { attempt, result: Ok(packing) });
    }
}
