//! What an agent does otherwise than a healthy one, or later.

use super::{FakeAgent, Work};
use crate::model::files::Digest;
use crate::model::id::{AttemptId, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FromAgent, HeldState, Packing, ToAgent};

/// How an agent answers when it is asked for a piece of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Answered,
    /// Nothing is said.
    Silent,
    /// It can't read it.
    Empty,
}

impl FakeAgent {
    /// The supervisor of what runs is gone, and the command runs on.
    pub fn orphan(&mut self, attempt: AttemptId) {
        if let Some(HeldState::Running { supervised, .. }) = self.work.get_mut(&attempt).map(|work| &mut work.state) {
            *supervised = false;
        }
    }

    /// Something lies in its spool that no start of this bench brought there.
    pub fn hold(&mut self, attempt: AttemptId, lane: LaneId, state: HeldState) {
        self.work.insert(attempt, Work { lane, state, out: Vec::new() });
    }

    /// Its spool as another agent found it: a host that is moved keeps it.
    pub fn holds_running(&mut self, attempt: AttemptId, lane: LaneId, now: Timestamp) {
        self.hold(attempt, lane, HeldState::Running { started_at: now, process: None, supervised: true });
    }

    /// The commands that wait in its lanes may begin.
    pub fn begin_all(&mut self, now: Timestamp) {
        self.begins_late = false;
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.begin_next(lane, now));
    }

    /// How often it was sent something of this kind.
    pub fn count(&self, kind: impl Fn(&ToAgent) -> bool) -> usize {
        self.heard.iter().filter(|message| kind(message)).count()
    }

    /// How often it was told to start something.
    pub fn starts(&self) -> usize {
        self.count(|message| matches!(message, ToAgent::Start(_)))
    }

    /// How often it was told to end something.
    pub fn cancels(&self) -> usize {
        self.count(|message| matches!(message, ToAgent::Cancel { .. }))
    }

    /// Attempts whose ends it was told are on the home's disk.
    pub fn confirmed(&self) -> Vec<AttemptId> {
        let confirmed = |message: &ToAgent| match message {
            ToAgent::Confirm { attempts } => attempts.clone(),
            _ => Vec::new(),
        };
        self.heard.iter().flat_map(confirmed).collect()
    }

    /// Packs what an attempt has made: one file of these bytes.
    pub fn pack(&mut self, attempt: AttemptId, bytes: &[u8]) {
        self.packet = bytes.to_vec();
        let (digest, size) = (Digest(*blake3::hash(bytes).as_bytes()), bytes.len() as u64);
        let packing = Packing { digest, size, files: 1, remarks: Vec::new() };
        self.say(&FromAgent::Packed { attempt, result: Ok(packing) });
    }

    /// Says something about an attempt.
    pub fn send(&mut self, event: Event) {
        self.event(event);
    }

    pub(super) fn read_packed(&mut self, attempt: AttemptId, offset: u64, max: u32) {
        let from = usize::try_from(offset).unwrap().min(self.packet.len());
        let to = (from + max as usize).min(self.packet.len());
        let bytes = self.packet[from..to].to_vec();
        self.say(&FromAgent::Packet { attempt, offset, bytes });
    }
}
