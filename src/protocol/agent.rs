//! The protocol between a dispatcher and the agent on a server. An agent keeps everything until the home has confirmed it, and
//! answers only what the home needs.

use crate::model::attempt::{End, ProcessId, Stream};
use crate::model::command::Text;
use crate::model::facts::Facts;
use crate::model::files::Digest;
use crate::model::id::{AttemptId, BootId, Epoch, HomeId, LaneId};
use crate::model::inherited::Inherited;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of this protocol that this program speaks.
pub const VERSION: u32 = 2;
/// The oldest version that it understands.
pub const VERSION_MIN: u32 = 1;
/// The first version whose agents look at [`Start::features`].
pub const FEATURES_SINCE: u32 = 2;
/// The first version whose agents know [`ToAgent::Link`]; a dispatcher sends it to no older one.
pub const LINKS_SINCE: u32 = 2;
/// What an agent writes before its first frame, so that the noise of a login shell can be skipped.
pub const MAGIC: &[u8] = b"grid-agent-1\n";
/// Outputs up to this size are sent with the end; longer ones are requested with [`ToAgent::Read`].
pub const INLINE_MAX: u64 = 16 << 10;

/// Messages to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The first message. `epoch` fences: the agent stores the highest one and refuses starts below it.
    Hello {
        version_min: u32,
        version: u32,
        home: HomeId,
        incarnation: u64,
        epoch: Epoch,
    },
    /// Run the members one after the other in a lane, which is made if it is new; they are queued behind its other members.
    Start(Start),
    /// Return the members that a lane has not started: answered by [`Event::Recalled`] for each.
    Recall {
        lane: LaneId,
    },
    /// End an attempt: TERM, grace, KILL, the whole process tree. An attempt that is unknown or has not started gets a tombstone:
    /// [`Event::Refused`].
    Cancel {
        attempt: AttemptId,
        grace: Duration,
    },
    /// The home has stored these ends: records and outputs may be removed.
    Confirm {
        attempts: Vec<AttemptId>,
    },
    /// Read the host.
    Probe {
        watch: Vec<String>,
        script: Option<String>,
        /// Prologues of the host's servers: applications are looked up behind each.
        #[serde(default)]
        prologues: Vec<String>,
    },
    /// Send up to `max` bytes of an output from `offset`: answered by one [`FromAgent::Data`].
    Read {
        attempt: AttemptId,
        stream: Stream,
        offset: u64,
        max: u32,
    },
    /// Make a second name (hard link) of an ended attempt's output, if its file holds nothing else and nothing more will be
    /// written to it. Sent only to an agent on the home's own host. Answered by [`FromAgent::Linked`]. Since [`LINKS_SINCE`].
    Link {
        attempt: AttemptId,
        stream: Stream,
        to: Text,
    },
    /// Send both outputs from these offsets, and what is written later, as [`FromAgent::Data`], until the end or
    /// [`ToAgent::Unfollow`].
    Follow {
        attempt: AttemptId,
        out: u64,
        err: u64,
    },
    Unfollow {
        attempt: AttemptId,
    },
    /// A piece of an input, as requested by [`FromAgent::Need`].
    Piece {
        bundle: Digest,
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The home can't send a bundle: what waits for it is refused.
    NoBundle {
        bundle: Digest,
        error: String,
    },
    /// Pack the results of an ended attempt of this launch: answered by [`FromAgent::Packed`]. Repeating it does no harm.
    Pack {
        attempt: AttemptId,
        launch: Launch,
    },
    /// Send up to `max` bytes of the packed results from `offset`: answered by one [`FromAgent::Packet`].
    ReadPacked {
        attempt: AttemptId,
        offset: u64,
        max: u32,
    },
    /// The home has stored an attempt's results: its directory may be removed.
    DropFiles {
        attempt: AttemptId,
    },
    /// Remove everything that this host holds for the home, and unused agents. Refused while something of the home runs. Answered
    /// by [`FromAgent::Cleared`]. Older agents exit on it.
    Clear,
}

/// A start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub lane: LaneId,
    /// The boot id of the host: refused with [`Refusal::OtherBoot`] after a restart.
    pub boot: BootId,
    /// Refused with [`Refusal::OldEpoch`] if it is below the highest epoch seen.
    pub epoch: Epoch,
    pub launch: Launch,
    /// The enforced limit; None: no limit.
    pub mem_limit: Option<crate::model::resources::Bytes>,
    /// GRID_TASK_ID, GRID_CPUS, GRID_SERVER and so on: the same for all members.
    pub grid_env: Vec<(Text, Text)>,
    /// Shell lines of the server whose environment the commands get.
    #[serde(default)]
    pub prologue: Option<String>,
    /// Names of features that the launch needs ([`Feature`](crate::model::feature::Feature)): an agent refuses a feature that it
    /// does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// What the commands inherit from the process that submitted the task. None: what a login gives. Sent only to the agent on the
    /// home's own host, with [`Feature::Inherit`](crate::model::feature::Feature::Inherit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited: Option<Inherited>,
    pub members: Vec<StartMember>,
}

/// One attempt of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartMember {
    pub attempt: AttemptId,
    /// GRID_ARRAY_INDEX, for members of arrays.
    pub array_index: Option<u32>,
    /// GRID_ENTRY, which also replaces `{}` in arguments.
    pub entry: Option<Text>,
    /// The directory that the agent has made for this attempt, instead of the common working directory. A dispatcher leaves it
    /// out.
    #[serde(default)]
    pub directory: Option<Text>,
}

/// Messages from an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// The first message, after [`MAGIC`]: the agent, and everything that its spool holds for this home.
    Hello {
        version: u32,
        machine: String,
        boot: BootId,
        hostname: String,
        inventory: Vec<Held>,
    },
    /// The agent can't work: the versions do not match, the spool can't be used, or another agent holds it. The text says what to
    /// do.
    Unfit {
        error: String,
    },
    /// Events in their order.
    Events(Vec<Event>),
    Facts(Facts),
    /// A chunk of an output. `at_end`: the stream has ended, and this is its last chunk.
    Data {
        attempt: AttemptId,
        stream: Stream,
        offset: u64,
        /// How many bytes from `offset` on were dropped: `bytes` follow them.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        at_end: bool,
    },
    /// `linked`: the output has the second name; else it has to be read.
    Linked {
        attempt: AttemptId,
        stream: Stream,
        linked: bool,
    },
    /// Attempts wait for a bundle: answered by one [`ToAgent::Piece`] of at most `max` bytes. Pieces from before a cut are kept.
    Need {
        bundle: Digest,
        offset: u64,
        max: u32,
    },
    /// The packed results, or why they could not be packed.
    Packed {
        attempt: AttemptId,
        result: Result<Packing, String>,
    },
    /// Everything of the home is removed, or why something is not.
    Cleared {
        result: Result<Clearing, String>,
    },
    /// A piece of the packed results.
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
    /// What is left, and why.
    pub left: Vec<String>,
}

/// The packed results of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    pub digest: Digest,
    pub size: u64,
    /// Number of files, directories and links; 0: there is nothing to read.
    pub files: u64,
    /// Remarks for a person: a pattern without a match, a socket that was left out.
    pub remarks: Vec<String>,
}

/// One attempt in an agent's spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub attempt: AttemptId,
    pub lane: LaneId,
    pub state: HeldState,
}

/// The state of an attempt in an agent's spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HeldState {
    /// A supervisor has it, and may start it at any moment.
    Queued,
    /// Its command runs. `supervised` is false if the supervisor is gone and the command runs on.
    Running {
        started_at: Timestamp,
        process: Option<ProcessId>,
        supervised: bool,
        /// As in [`End`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// It has ended; with its short outputs.
    Ended(Ended),
}

/// An end with the short outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub end: End,
    /// Present if the whole output has at most [`INLINE_MAX`] bytes.
    #[serde(with = "serde_bytes", default)]
    pub out: Option<Vec<u8>>,
    #[serde(with = "serde_bytes", default)]
    pub err: Option<Vec<u8>>,
}

/// An event of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Its command runs.
    Began {
        attempt: AttemptId,
        at: Timestamp,
        process: Option<ProcessId>,
        /// As in [`End`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// Its supervisor is gone, and the command runs on.
    Orphaned {
        attempt: AttemptId,
    },
    Ended {
        attempt: AttemptId,
        ended: Ended,
    },
    /// It has not started here, and this start never will start it.
    Refused {
        attempt: AttemptId,
        why: Refusal,
    },
    /// It was returned on [`ToAgent::Recall`], or because its supervisor or agent exited before it started.
    Recalled {
        attempt: AttemptId,
    },
}

/// Why an attempt was not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    OtherBoot,
    OldEpoch,
    /// It was cancelled before it started.
    Tombstone,
    /// The working directory does not exist.
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
    /// Its input can't be had here: no room, damaged, removed from the home.
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
