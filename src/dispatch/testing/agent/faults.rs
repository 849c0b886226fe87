//! Faults of a fake agent, and answers that it delays.

use super::{FakeAgent, Work};
use crate::model::files::Digest;
use crate::model::id::{AttemptId, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Event, FromAgent, HeldState, Packing, ToAgent};

/// How an agent answers a read of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Answered,
    /// No answer.
    Silent,
    /// An empty answer: it can't read the output.
    Empty,
}

impl FakeAgent {
    /// Loses the supervisor of a running attempt; the command runs on.
    pub fn orphan(&mut self, attempt: AttemptId) {
        if let Some(HeldState::Running { supervised, .. }) = self.work.get_mut(&attempt).map(|work| &mut work.state) {
            *supervised = false;
        }
    }

    /// Puts an attempt into its spool that this bench has not started.
    pub fn hold(&mut self, attempt: AttemptId, lane: LaneId, state: HeldState) {
        self.work.insert(attempt, Work { lane, state, out: Vec::new() });
    }

    /// Puts a running attempt into its spool, as after a move of the host.
    pub fn holds_running(&mut self, attempt: AttemptId, lane: LaneId, now: Timestamp) {
        self.hold(
            attempt,
            lane,
            HeldState::Running { started_at: now, process: None, supervised: true, without: Vec::new() },
        );
    }

    /// Starts the queued attempts of its lanes.
    pub fn begin_all(&mut self, now: Timestamp) {
        self.begins_late = false;
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.begin_next(lane, now));
    }

    /// How many messages of this kind it has received.
    pub fn count(&self, kind: impl Fn(&ToAgent) -> bool) -> usize {
        self.heard.iter().filter(|message| kind(message)).count()
    }

    /// How many starts it has received.
    pub fn starts(&self) -> usize {
        self.count(|message| matches!(message, ToAgent::Start(_)))
    }

    /// How many cancels it has received.
    pub fn cancels(&self) -> usize {
        self.count(|message| matches!(message, ToAgent::Cancel { .. }))
    }

    /// Attempts whose ends were confirmed.
    pub fn confirmed(&self) -> Vec<AttemptId> {
        let confirmed = |message: &ToAgent| match message {
            ToAgent::Confirm { attempts } => attempts.clone(),
            _ => Vec::new(),
        };
        self.heard.iter().flat_map(confirmed).collect()
    }

    /// Packs the results of an attempt: one file with these bytes.
    pub fn pack(&mut self, attempt: AttemptId, bytes: &[u8]) {
        self.packet = bytes.to_vec();
        let (digest, size) = (Digest(*blake3::hash(bytes).as_bytes()), bytes.len() as u64);
        let packing = Packing { digest, size, files: 1, remarks: Vec::new() };
        self.say(&FromAgent::Packed { attempt, result: Ok(packing) });
    }

    /// Sends an event of an attempt.
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
