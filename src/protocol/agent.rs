//! Between a dispatcher and the agent on a server. The agent answers nothing that the home has not to know,
//! and forgets nothing that the home has not confirmed.

use crate::model::attempt::{End, ProcessId, Stream};
use crate::model::command::Text;
use crate::model::facts::Facts;
use crate::model::files::Digest;
use crate::model::id::{AttemptId, BootId, Epoch, HomeId, LaneId};
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of this protocol that this program speaks.
pub const VERSION: u32 = 2;
/// The oldest version that it still understands.
pub const VERSION_MIN: u32 = 1;
/// The first version whose agents look at [`Start::features`].
pub const FEATURES_SINCE: u32 = 2;
/// The first version whose agents know [`ToAgent::Link`], and whose dispatchers may ask it.
pub const LINKS_SINCE: u32 = 2;
/// What an agent writes before its first frame, so that the noise of a login shell can be skipped.
pub const MAGIC: &[u8] = b"grid-agent-1\n";
/// Outputs up to this size travel with the end; longer ones are asked for with [`ToAgent::Read`].
pub const INLINE_MAX: u64 = 16 << 10;

/// To the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// First message. `epoch` fences: the agent stores the highest one and refuses starts below it.
    Hello {
        version_min: u32,
        version: u32,
        home: HomeId,
        incarnation: u64,
        epoch: Epoch,
    },
    /// Carry these out, one after the other, in this lane (made if new; added behind what it has).
    Start(Start),
    /// Give back what this lane has not begun: answered by [`Event::Recalled`] for each.
    Recall {
        lane: LaneId,
    },
    /// End it: TERM, grace, KILL, the whole tree. For an attempt that is unknown or not begun, a tombstone: [`Event::Refused`].
    Cancel {
        attempt: AttemptId,
        grace: Duration,
    },
    /// The home has these ends safely: records and outputs may go.
    Confirm {
        attempts: Vec<AttemptId>,
    },
    /// Read the host.
    Probe {
        watch: Vec<String>,
        script: Option<String>,
        /// Prologues of its servers: applications are looked for behind each.
        #[serde(default)]
        prologues: Vec<String>,
    },
    /// Up to `max` bytes of an output from `offset`: answered by one [`FromAgent::Data`].
    Read {
        attempt: AttemptId,
        stream: Stream,
        offset: u64,
        max: u32,
    },
    /// Give an ended attempt's output this second name, if nothing else is in its file and nothing more will be written to it. Asked on
    /// the home's own host alone. Answered by [`FromAgent::Linked`]. Since [`LINKS_SINCE`].
    Link {
        attempt: AttemptId,
        stream: Stream,
        to: Text,
    },
    /// Send what both outputs hold from these offsets, and what comes, as [`FromAgent::Data`], until the end or [`ToAgent::Unfollow`].
    Follow {
        attempt: AttemptId,
        out: u64,
        err: u64,
    },
    Unfollow {
        attempt: AttemptId,
    },
    /// A piece of what tasks are sent with, as [`FromAgent::Need`] asked for it.
    Piece {
        bundle: Digest,
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The home can't give it: what waits for it is refused.
    NoBundle {
        bundle: Digest,
        error: String,
    },
    /// Pack what an ended attempt of this launch has to bring back: answered by [`FromAgent::Packed`]. Again is no harm.
    Pack {
        attempt: AttemptId,
        launch: Launch,
    },
    /// Up to `max` bytes of what was packed, from `offset`: answered by one [`FromAgent::Packet`].
    ReadPacked {
        attempt: AttemptId,
        offset: u64,
        max: u32,
    },
    /// The home has what an attempt brought back: its directory may go.
    DropFiles {
        attempt: AttemptId,
    },
    /// The home leaves this host: all that lies here for it goes, and agents that nobody uses. Refused while something of it runs.
    /// Answered by [`FromAgent::Cleared`]. Agents of before end at it.
    Clear,
}

/// An order to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub lane: LaneId,
    /// Refused with [`Refusal::OtherBoot`] unless the host still runs under it.
    pub boot: BootId,
    /// Refused with [`Refusal::OldEpoch`] below the highest seen.
    pub epoch: Epoch,
    pub launch: Launch,
    /// Enforced; None sets no limit.
    pub mem_limit: Option<crate::model::resources::Bytes>,
    /// GRID_TASK_ID, GRID_CPUS, GRID_SERVER and so on: the same for all members.
    pub grid_env: Vec<(Text, Text)>,
    /// Shell lines of the server whose environment the commands get.
    #[serde(default)]
    pub prologue: Option<String>,
    /// Names of what the launch needs ([`Feature`](crate::model::feature::Feature)): refused by an agent that does not know one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    pub members: Vec<StartMember>,
}

/// One attempt of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartMember {
    pub attempt: AttemptId,
    /// GRID_ARRAY_INDEX, for members of arrays.
    pub array_index: Option<u32>,
    /// GRID_ENTRY and what `{}` in arguments stands for.
    pub entry: Option<Text>,
    /// The directory that the agent made for it, instead of the working directory of all. A dispatcher leaves it out.
    #[serde(default)]
    pub directory: Option<Text>,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// First message, after [`MAGIC`]: who is there, and everything that its spool holds for this home.
    Hello {
        version: u32,
        machine: String,
        boot: BootId,
        hostname: String,
        inventory: Vec<Held>,
    },
    /// The versions do not meet, the spool can't be used, another agent holds it: the words say what to do.
    Unfit {
        error: String,
    },
    /// In the order in which things happened.
    Events(Vec<Event>),
    Facts(Facts),
    /// `at_end`: this stream has ended and this is its last piece.
    Data {
        attempt: AttemptId,
        stream: Stream,
        offset: u64,
        /// So many bytes from `offset` on were dropped: `bytes` begins behind them.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        at_end: bool,
    },
    /// `linked`: the output's file has the second name; else it has to be read.
    Linked {
        attempt: AttemptId,
        stream: Stream,
        linked: bool,
    },
    /// Attempts wait for this: answered by one [`ToAgent::Piece`] of at most `max` bytes. What came before a cut is kept.
    Need {
        bundle: Digest,
        offset: u64,
        max: u32,
    },
    /// What there is to be brought back, or why it could not be packed.
    Packed {
        attempt: AttemptId,
        result: Result<Packing, String>,
    },
    /// Nothing of the home is left here, or why something is.
    Cleared {
        result: Result<Clearing, String>,
    },
    /// A piece of it.
    Packet {
        attempt: AttemptId,
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What was removed of a home from a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearing {
    pub bytes: u64,
    /// What is still there, and why.
    pub left: Vec<String>,
}

/// What an attempt brings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    pub digest: Digest,
    pub size: u64,
    /// Files, directories and links; none: there is nothing to be read.
    pub files: u64,
    /// What a person should know: a pattern that matched nothing, a socket that was left out.
    pub remarks: Vec<String>,
}

/// One attempt in an agent's spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub attempt: AttemptId,
    pub lane: LaneId,
    pub state: HeldState,
}

/// What an agent's spool says of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HeldState {
    /// A supervisor has it and it may begin at any moment.
    Queued,
    /// It runs. `supervised` is false if the supervisor is gone and the command lives on.
    Running { started_at: Timestamp, process: Option<ProcessId>, supervised: bool },
    /// It ended; the small outputs.
    Ended(Ended),
}

/// An end with the small outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub end: End,
    /// Present if the whole output is at most [`INLINE_MAX`] bytes.
    #[serde(with = "serde_bytes", default)]
    pub out: Option<Vec<u8>>,
    #[serde(with = "serde_bytes", default)]
    pub err: Option<Vec<u8>>,
}

/// What happened to an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Its command runs.
    Began {
        attempt: AttemptId,
        at: Timestamp,
        process: Option<ProcessId>,
    },
    /// Its supervisor is gone, the command lives on without one.
    Orphaned {
        attempt: AttemptId,
    },
    Ended {
        attempt: AttemptId,
        ended: Ended,
    },
    /// It never began here and never will by this order.
    Refused {
        attempt: AttemptId,
        why: Refusal,
    },
    /// Given back on [`ToAgent::Recall`], or because its supervisor or agent went away before it began.
    Recalled {
        attempt: AttemptId,
    },
}

/// Why an attempt did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    OtherBoot,
    OldEpoch,
    /// Cancelled before it began.
    Tombstone,
    /// The working directory is not there.
    NoDirectory {
        path: String,
    },
    /// `-o` or `-e` can't be opened.
    NoOutput {
        path: String,
        error: String,
    },
    /// The spool can't take a record (disk full, read only).
    Spool {
        error: String,
    },
    /// No supervisor could be started.
    Supervisor {
        error: String,
    },
    /// What was sent with it can't be had here: no room, damaged, gone from the home.
    Files {
        error: String,
    },
    /// The server's prologue fails.
    Prologue {
        error: String,
    },
    /// The agent does not know these features of the launch. Since [`FEATURES_SINCE`].
    Features {
        unknown: Vec<String>,
    },
}
