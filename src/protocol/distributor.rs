//! The protocol between homes, on the stdio of `grid serve`: a hello, then questions with tickets, each answered by its ticket.
//! Several questions may be open at once; a question may have several answers, and the last one is marked.

use super::envelope::{Envelope, Sealed};
pub use super::report::{LEFT, Report};
pub use super::verb::Verb;
use crate::model::attempt::Stream;
use crate::model::endpoint::Endpoint;
use crate::model::id::{HomeId, Index, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::task::{Counts, State};
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of this protocol that this program speaks.
pub const VERSION: u32 = 7;
/// The oldest version that it understands.
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
/// The first version whose clients confirm ends by [`Question::Heard`]. For an earlier one an end counts as heard once it was sent.
pub const HEARD_SINCE: u32 = 6;
/// The first version that has [`Question::PlaceOnGo`] and [`ToServe::Go`].
pub const GO_SINCE: u32 = 7;
/// The first version that is told by [`Answer::No`] that the home to which a question about a task was passed on gave no answer.
pub const SILENCE_SINCE: u32 = 7;
/// The longest report, all its pieces together.
pub const REPORT_MAX: usize = 64 << 20;
/// Identifies the answers to a question.
pub type Ticket = u64;

/// Messages to `grid serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToServe {
    /// The first message.
    Hello { version_min: u32, version: u32, home: HomeId, incarnation: u64 },
    /// Answered by [`FromServe::Answer`] with the same ticket.
    Ask { ticket: Ticket, question: Question },
    /// The question is withdrawn.
    Drop { ticket: Ticket },
    /// The caller of [`Question::PlaceOnGo`] knows to whom its task is redirected: they may be asked to take it.
    Go { ticket: Ticket },
    /// A piece of the list of an array, before the question with this ticket.
    Piece {
        ticket: Ticket,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The caller has taken this many bytes of an output or a report: as many more may be sent.
    Taken { ticket: Ticket, bytes: u64 },
}

/// Messages from `grid serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromServe {
    /// The first message.
    Hello {
        version: u32,
        home: HomeId,
        incarnation: u64,
        release: String,
    },
    /// The caller can't be served; the session ends.
    Unfit {
        error: String,
    },
    Answer {
        ticket: Ticket,
        answer: Answer,
        last: bool,
    },
}

/// A question of one home to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// To a first tier: redirect this task, search the list, and answer which home took it.
    Place(Envelope),
    /// The same, but no member is asked to take the task before the caller says [`ToServe::Go`] behind the redirect: a first tier that
    /// is lost before the caller has heard the redirect has asked none.
    PlaceOnGo(Envelope),
    /// To a second tier: offer for a task. `at` is its name there; None: the first one. `called`: its name on the searching side,
    /// and so in the task if that names a server.
    Offer {
        at: Option<Name>,
        envelope: Envelope,
        #[serde(default)]
        called: Option<Name>,
        /// Also give the verdict of every server, and which would be chosen.
        #[serde(default)]
        why: bool,
        /// Answer as well if the member is drained: what it could do later.
        #[serde(default)]
        even_drained: bool,
    },
    /// To a second tier: take a task, once for each uuid.
    Commit { at: Option<Name>, envelope: Envelope, how: How, way: Way },
    /// Find the holder of a task. A home that does not hold it first makes sure that it never will, up to this round. `onward`:
    /// also ask the second tier of this home, except homes that were silent before the task was made. `user`: the owner of the
    /// task, if a first tier asks on behalf of a user.
    Find {
        uuid: TaskUuid,
        round: u32,
        onward: bool,
        age_ms: u64,
        among: Option<Vec<HomeId>>,
        #[serde(default)]
        user: Option<Name>,
    },
    /// A verb for a task that `owner` holds; a first tier relays it.
    Task { owner: HomeId, user: Option<Name>, uuid: TaskUuid, verb: Verb },
    /// To the owner of a task, or a first tier that relays it: give the task up if nothing of it ever started. Answered by
    /// [`Answer::Nowhere`] or [`Answer::Kept`], for good up to this round.
    GiveUp { owner: HomeId, user: Option<Name>, uuid: TaskUuid, round: u32 },
    /// The states of tasks, in order and without unknown ones. Answered at once.
    States { owner: HomeId, user: Option<Name>, uuids: Vec<TaskUuid> },
    /// The states of tasks, once the first of them has ended.
    Watch { owner: HomeId, user: Option<Name>, uuids: Vec<TaskUuid> },
    /// The client has recorded how these tasks ended, so its lab may remove them. Answered by [`Answer::Done`].
    Heard { owner: HomeId, user: Option<Name>, ends: Vec<HeardEnd> },
    /// A second tier registers with this first tier. `offers`: the endpoint at which it says it is reached.
    Register { offers: Endpoint, report: Report },
    /// The attributes of a second tier.
    Transfer(Report),
    /// To a first tier: like `Place`, but no home takes the task. Answered by [`Answer::Report`] as JSON.
    Look(Envelope),
    /// An order about a server of the second-tier member `at`, which a first tier relays. It needs the right to administer.
    Manage { user: Option<Name>, at: Option<Name>, server: Name, order: ServerOrder },
}

/// An end that a client has recorded. A task that was started again since then has another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardEnd {
    pub uuid: TaskUuid,
    pub ended_at: Option<Timestamp>,
}

/// An order about a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerOrder {
    Drain { reason: String },
    Resume,
}

/// How a commit takes a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It starts at once; if that is not possible any more, the answer is no.
    Now,
    /// It waits there.
    Queue,
    /// No server there could ever run it: it is held, as its client requested.
    Keep,
}

/// The way that a task came, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The names of the tiers on the searching sides.
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
            | Self::PlaceOnGo(envelope)
            | Self::Look(envelope)
            | Self::Offer { envelope, .. }
            | Self::Commit { envelope, .. } => Some(envelope),
            _ => None,
        }
    }

    /// Takes the list out, to be sent in pieces.
    pub fn take_list(&mut self) -> Option<Sealed> {
        self.envelope_mut().and_then(|envelope| envelope.list.take())
    }

    /// The first version of the protocol that has this question.
    pub const fn since(&self) -> u32 {
        match self {
            Self::Look(_) | Self::Manage { .. } => 2,
            Self::Task { verb: Verb::Remove { .. }, .. } => 4,
            Self::GiveUp { .. } => 5,
            Self::Heard { .. } => HEARD_SINCE,
            Self::PlaceOnGo(_) => GO_SINCE,
            _ => 1,
        }
    }

    /// True if it is part of a search: no home that was lost meanwhile may hold that up.
    pub const fn is_of_a_search(&self) -> bool {
        matches!(
            self,
            Self::Place(_) | Self::PlaceOnGo(_) | Self::Offer { .. } | Self::Commit { .. } | Self::GiveUp { .. }
        )
    }

    /// True if nothing comes of it before the caller has heard a first answer: until then it can be withdrawn.
    pub const fn waits_for_go(&self) -> bool {
        matches!(self, Self::PlaceOnGo(_))
    }

    /// True if the answer waits for an event at the other home, which may take a week.
    pub const fn is_patient(&self) -> bool {
        matches!(self, Self::Watch { .. } | Self::Task { verb: Verb::Wait { .. } | Verb::Follow { .. }, .. })
    }
}

/// An answer, or a message before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Before the answer to `Place` and `PlaceOnGo`: these members are asked, in this order.
    Redirect {
        members: Vec<HomeId>,
    },
    /// Before the answer: the search is still running.
    Working,
    /// The task is held there.
    Placed(Placed),
    /// No home takes the task.
    Refused(Refused),
    /// A member was asked to take the task and has not answered.
    Unsure {
        member: String,
        why: String,
    },
    Offered(Offered),
    /// To a commit: refused, for good up to its round. To another question: not here or not now, for any caller; the next home is
    /// asked.
    No {
        why: String,
    },
    /// To `Find`: no home holds the task, and none will up to that round. To `GiveUp`: this home does not, and will not.
    Nowhere,
    /// To `GiveUp`: the task stays, for this reason. Since version 5.
    Kept {
        why: String,
        task: Snapshot,
    },
    /// To `States` and `Watch`.
    States(Vec<Snapshot>),
    /// A report of `ops` as JSON, or the last piece of a long one.
    Report(String),
    /// A piece of a report, before the next one. Since version 3.
    Part(String),
    Output {
        index: Index,
        stream: Stream,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A remark, and the member that the following output belongs to.
    Note(String),
    Member(Index),
    Ended {
        state: State,
        code: u8,
        exit_code: Option<u8>,
    },
    Done,
    /// This home refuses the question or its caller: not allowed, unknown, too long; in its own words. For questions outside of a
    /// search also what the home can't do now.
    Denied(String),
    /// There is no such task, or not any more.
    Unknown(String),
    /// How much of a task's input has arrived.
    Have {
        bytes: u64,
    },
}

impl Answer {
    /// The bytes that count in a caller's window: a full window delays the rest.
    pub const fn in_window(&self) -> u64 {
        match self {
            Self::Output { bytes, .. } => bytes.len() as u64,
            Self::Part(text) => text.len() as u64,
            _ => 0,
        }
    }
}

/// Where a task was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The owner, and the task's id there.
    pub home: HomeId,
    /// The member's name at the first tier.
    pub member: String,
    pub task: Snapshot,
    /// The search of the second tier, as JSON.
    pub search: String,
}

/// What a client keeps of a task in another home.
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

impl Snapshot {
    /// The end that it tells of; None: the task has not ended.
    pub fn end(&self) -> Option<HeardEnd> {
        (self.counts.unended() == 0).then_some(HeardEnd { uuid: self.uuid, ended_at: self.ended_at })
    }
}

/// Why no home takes a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub summary: String,
    /// Reasons by server, by member.
    pub reasons: Vec<String>,
    /// The search of the second tier, as JSON.
    pub search: String,
    /// False: no second tier has evaluated it, so this first tier has no answer.
    pub answered: bool,
    /// No second tier has evaluated it: all refuse it, and none was skipped that may answer differently in a minute.
    #[serde(default)]
    pub denied: bool,
    /// A drained second tier alone could run it, in these words: the task may wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// An offer. It reserves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub offer: Offer,
    /// The reason, for a person.
    pub words: String,
    /// Why each server could never run it.
    pub servers: Vec<String>,
    /// Single changes that would help.
    pub relaxed: Vec<String>,
    /// The verdicts, if requested.
    #[serde(default)]
    pub why: Option<Why>,
    /// The member is drained, for this reason: it takes nothing before that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
}

/// The verdicts of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The verdicts, as JSON.
    pub verdicts: String,
    /// The server that would be chosen now.
    pub chosen: Option<String>,
    /// How many servers were left out, because their verdicts are too many for one answer.
    #[serde(default)]
    pub left_out: usize,
}

/// What a second tier could do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// A server could start it at once.
    Now,
    /// No server can start it now, one could ever: it may wait here.
    Later,
    /// No server could ever run it.
    Never,
    /// No server could ever run it, but its client wants it to be held then.
    Keep,
}
