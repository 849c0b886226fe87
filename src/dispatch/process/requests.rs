//! What a connected command has asked for and is not answered yet.

use crate::dispatch::links::route::Route;
use crate::dispatch::submits::SubmitMessage;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, Index, MachineId, MemberKey, ServerId, TaskId};
use crate::protocol::agent::ToAgent;
use std::time::Instant;

/// A link, and the machine that has to be behind it.
pub type MachineRoute = (Route, Option<MachineId>);

/// Requests of a connected command that are not answered yet.
#[derive(Debug, Default)]
pub struct Requests {
    pub watches: Vec<(TaskId, Option<Index>)>,
    pub follows: Vec<Follow>,
    /// Servers to probe, with the time of the request: an older reading does not answer it.
    pub probes: Vec<(ServerId, Instant)>,
    pub brings: Vec<MemberKey>,
    pub clears: Vec<(ServerId, Route)>,
    pub reads: Vec<(AttemptId, Stream, u64)>,
    /// Submits for the next turn.
    pub submits: Vec<SubmitMessage>,
    /// What the next submit's task inherits.
    pub submitter: Option<Vec<u8>>,
    /// Questions to agents whose links are not up yet.
    pub unasked: Vec<(MachineRoute, ToAgent)>,
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
