//! Between homes, on the stdio of `grid serve`: a greeting, then questions with tickets, each answered by its ticket.
//! Several questions may be on their way at once; one question may have several answers, the last of which says so.

use super::envelope::{Envelope, Sealed};
pub use super::report::Report;
pub use super::verb::Verb;
use crate::model::attempt::Stream;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, Index, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::task::{Counts, State};
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of this protocol that this program speaks.
pub const VERSION: u32 = 4;
/// The oldest version that it still understands.
pub const VERSION_MIN: u32 = 1;
/// What `grid serve` writes before its first frame, so that the noise of a login shell can be skipped.
pub const MAGIC: &[u8] = b"grid-distributor-1\n";
/// The longest frame on this link.
pub const FRAME_MAX: usize = 2 << 20;
/// The longest piece of a list or an output in one frame.
pub const PIECE_MAX: usize = 256 << 10;
/// The first version that has [`Answer::Part`].
pub const PARTS_SINCE: u32 = 3;
/// The first version whose second tiers can read a task that needs features.
pub const FEATURES_SINCE: u32 = 4;
/// The longest report, all its pieces together.
pub const REPORT_MAX: usize = 64 << 20;
/// Tells the answers to several questions apart.
pub type Ticket = u64;

/// To `grid serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToServe {
    /// First message.
    Hello { version_min: u32, version: u32, home: HomeId, incarnation: u64 },
    /// Answered by [`FromServe::Answer`] with the same ticket.
    Ask { ticket: Ticket, question: Question },
    /// Nobody waits for this answer any more.
    Drop { ticket: Ticket },
    /// A piece of the list of an array, before the question with this ticket.
    Piece {
        ticket: Ticket,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// So many bytes of an output or a report were taken: as many more may be sent.
    Taken { ticket: Ticket, bytes: u64 },
}

/// From `grid serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromServe {
    /// First message.
    Hello {
        version: u32,
        home: HomeId,
        incarnation: u64,
        release: String,
    },
    /// Can't be talked to: the end.
    Unfit {
        error: String,
    },
    Answer {
        ticket: Ticket,
        answer: Answer,
        last: bool,
    },
}

/// What one home asks another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// To a first tier: redirect this task, go through the list, tell who took it.
    Place(Envelope),
    /// To a second tier: what could you do for this? `at` is its name there; None: the first one. `called`: as the searching
    /// side calls it, and so the task, where it names a server.
    Offer {
        at: Option<Name>,
        envelope: Envelope,
        #[serde(default)]
        called: Option<Name>,
        /// For somebody who only wants to know: server by server, and which.
        #[serde(default)]
        why: bool,
    },
    /// To a second tier: take it, once for each uuid.
    Commit { at: Option<Name>, envelope: Envelope, how: How, way: Way },
    /// Who holds this? Who doesn't makes sure that it never will, up to this round, before it says so.
    /// `onward`: the second tier of this home is asked too, save who was silent before the task was made. `user`: whose task it
    /// is, where a first tier asks for somebody.
    Find {
        uuid: TaskUuid,
        round: u32,
        onward: bool,
        age_ms: u64,
        among: Option<Vec<HomeId>>,
        #[serde(default)]
        user: Option<Name>,
    },
    /// About a task that `owner` holds; a first tier passes it on.
    Task { owner: HomeId, user: Option<Name>, uuid: TaskUuid, verb: Verb },
    /// How these stand, in their order; unknown ones are left out. Answered at once.
    States { owner: HomeId, user: Option<Name>, uuids: Vec<TaskUuid> },
    /// The same, once the first of them has ended.
    Watch { owner: HomeId, user: Option<Name>, uuids: Vec<TaskUuid> },
    /// A second tier wants tasks from this first tier. `offers`: where it says that it is reached.
    Register { offers: Endpoint, report: Report },
    /// The attributes of a second tier.
    Transfer(Report),
    /// To a first tier: as `Place`, but nobody takes anything. Answered by [`Answer::Report`] as JSON.
    Look(Envelope),
    /// About a server of the second-tier member `at`, which a first tier passes on. For who may administer.
    Manage { user: Option<Name>, at: Option<Name>, server: Name, order: ServerOrder },
}

/// What is to become of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerOrder {
    Drain { reason: String },
    Resume,
}

/// How a commit takes a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It starts at once; where it can't any more, the answer is no.
    Now,
    /// It waits there.
    Queue,
    /// Nothing there could ever run it: it is kept held, as its client wished.
    Keep,
}

/// The way that a task came, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// As the searching sides call them.
    pub front: String,
    pub member: String,
    /// The search so far, as JSON.
    pub search: String,
}

impl Question {
    /// The envelope in it, if there is one.
    pub const fn envelope_mut(&mut self) -> Option<&mut Envelope> {
        match self {
            Self::Place(envelope)
            | Self::Look(envelope)
            | Self::Offer { envelope, .. }
            | Self::Commit { envelope, .. } => Some(envelope),
            _ => None,
        }
    }

    /// Takes the list out, so that it goes piece by piece.
    pub fn take_list(&mut self) -> Option<Sealed> {
        self.envelope_mut().and_then(|envelope| envelope.list.take())
    }

    /// The first version of the protocol that has it.
    pub const fn since(&self) -> u32 {
        match self {
            Self::Look(_) | Self::Manage { .. } => 2,
            Self::Task { verb: Verb::Remove { .. }, .. } => 4,
            _ => 1,
        }
    }

    /// It is answered when something happens over there, which may be in a week.
    pub const fn is_patient(&self) -> bool {
        matches!(self, Self::Watch { .. } | Self::Task { verb: Verb::Wait { .. } | Verb::Follow { .. }, .. })
    }
}

/// An answer, or a word before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Before the answer to `Place`: these are asked, in this order.
    Redirect {
        members: Vec<HomeId>,
    },
    /// Before it: still at work. Whoever waits has no reason to give up.
    Working,
    /// It is held there.
    Placed(Placed),
    /// Nobody takes it.
    Refused(Refused),
    /// A member was asked to take it and has not said whether it did.
    Unsure {
        member: String,
        why: String,
    },
    Offered(Offered),
    /// A commit is refused, for good up to its round. To another question: not here or not now, whoever asks; the next one is
    /// asked.
    No {
        why: String,
    },
    /// To `Find`: nobody holds it, and nobody will up to that round.
    Nowhere,
    /// To `States` and `Watch`.
    States(Vec<Snapshot>),
    /// A report of `ops`, as JSON; of a long one the last piece.
    Report(String),
    /// A piece of a report, before the next. From version 3 on.
    Part(String),
    Output {
        index: Index,
        stream: Stream,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Talk on the way, and of which member the output below is.
    Note(String),
    Member(Index),
    Ended {
        state: State,
        code: u8,
        exit_code: Option<u8>,
    },
    Done,
    /// This home does nothing for this question or whoever asks it: not allowed, unknown, too long. The home's words. Where the
    /// question is about no search, also what the home can't do now.
    Denied(String),
    /// There is no such task (any more).
    Unknown(String),
    /// So much of what a task is sent with is there.
    Have {
        bytes: u64,
    },
}

impl Answer {
    /// The bytes that count in a caller's window: what it has not taken yet holds up the rest.
    pub const fn in_window(&self) -> u64 {
        match self {
            Self::Output { bytes, .. } => bytes.len() as u64,
            Self::Part(text) => text.len() as u64,
            _ => 0,
        }
    }
}

/// Where a task landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The owner, and the task's id there.
    pub home: HomeId,
    /// As the first tier calls the member.
    pub member: String,
    pub task: Snapshot,
    /// The search of the second tier, as JSON.
    pub search: String,
}

/// What a client keeps of a task elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub uuid: TaskUuid,
    pub id: TaskId,
    pub counts: Counts,
    pub server: Option<String>,
    pub reason: Option<String>,
    pub exit_code: Option<u8>,
    pub shell_code: Option<u8>,
    pub signal: Option<u8>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Why nobody takes a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub summary: String,
    /// Server by server, member by member.
    pub reasons: Vec<String>,
    /// The search of the second tier, as JSON.
    pub search: String,
    /// False: no second tier has looked at it, so this first tier has no answer.
    pub answered: bool,
    /// No second tier has looked at it: they refuse it, and none was passed over that may give another answer in a minute.
    #[serde(default)]
    pub denied: bool,
}

/// An offer. It reserves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub offer: Offer,
    /// For a person: why.
    pub words: String,
    /// Server by server why none could ever run it.
    pub servers: Vec<String>,
    /// Single changes that would help.
    pub relaxed: Vec<String>,
    /// For somebody who only wants to know.
    #[serde(default)]
    pub why: Option<Why>,
}

/// Server by server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The verdicts, as JSON.
    pub verdicts: String,
    /// The server that would be taken now.
    pub chosen: Option<String>,
    /// Servers whose verdicts are too many for one answer.
    #[serde(default)]
    pub left_out: usize,
}

/// What a second tier could do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// A server could start it at once.
    Now,
    /// None can now, one could ever: it may wait here.
    Later,
    /// None could ever run it.
    Never,
    /// None could ever run it, but its client wishes it to be kept held then.
    Keep,
}
