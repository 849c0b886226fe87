//! The protocol between a command of this home and its dispatcher, over the socket in `run/`.

use super::agent::Clearing;
use super::distributor::{Answer, Question, Ticket};
use crate::model::attempt::Stream;
use crate::model::endpoint::Endpoint;
use crate::model::id::{Index, ServerId, TaskId};
use crate::model::ssh::Login;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of this protocol; both sides are normally the same binary.
pub const VERSION: u32 = 1;

/// Messages to the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToDispatcher {
    /// The database has changed: read it. Not answered.
    Wake,
    /// Answered by [`FromDispatcher::Status`].
    Status,
    /// Exit (running tasks keep running under their supervisors). Answered by the end of the connection.
    Leave,
    /// Tell when a task or a member has ended, once it is durable: [`FromDispatcher::Ended`].
    Watch { task: TaskId, index: Option<Index> },
    /// Send the outputs of a running member from these offsets, as they are written, then [`FromDispatcher::Ended`].
    Follow { task: TaskId, index: Index, out: u64, err: u64 },
    /// Send a chunk of an output that is on its server: [`FromDispatcher::Data`].
    Read { task: TaskId, index: Index, number: u32, stream: Stream, offset: u64, max: u32 },
    /// Probe the host of a server now: [`FromDispatcher::Probed`].
    Probe { server: ServerId },
    /// Remove everything that the host of a server holds for the home: answered by [`FromDispatcher::Cleared`].
    Clear { server: ServerId },
    /// There are new discards for servers: send them. Not answered.
    Discard,
    /// What the caller's session has for ssh logins: the newest one that works is used. Not answered.
    Login(Login),
    /// What the task of the next submit inherits from its submitter. Not answered. Only the commands of a home know the format.
    Submitter(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Handle a submit durably: [`FromDispatcher::Done`]. Only the commands of a home know the format.
    #[serde(rename = "Order")]
    Submit(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Ask another home over the link that all commands share: [`FromDispatcher::Said`], [`FromDispatcher::Unsaid`]. `soon`: do not
    /// ask if the home gives no sign of life at once, for another one can be asked instead.
    Ask {
        ticket: Ticket,
        endpoint: Endpoint,
        question: Question,
        #[serde(default)]
        soon: bool,
    },
    /// A piece of the list of an array, before the question with this ticket.
    Piece {
        ticket: Ticket,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The caller has taken this many bytes of an answer's output.
    Taken { ticket: Ticket, bytes: u64 },
    /// Passed on as [`super::distributor::ToServe::Go`].
    Go { ticket: Ticket },
    /// Cancel a task or a member (TERM, grace, KILL) although the cancel could not be written, because the disk is full. It is
    /// recorded once there is room. Answered by [`FromDispatcher::CancelTaken`].
    Cancel { task: TaskId, index: Option<Index>, grace: Duration },
    /// Fetch the results of an ended member that are still on its server: answered by [`FromDispatcher::Brought`].
    Bring { task: TaskId, index: Index },
}

/// Messages from the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromDispatcher {
    /// The first message on every connection.
    Hello {
        version: u32,
        pid: i32,
    },
    Status {
        pid: i32,
        epoch: u64,
        links: u32,
        lanes: u32,
        running: u32,
        /// How the dispatcher logs in over ssh, as text. None: it has not had to yet.
        #[serde(default)]
        ssh: Option<String>,
    },
    Ended {
        task: TaskId,
        index: Option<Index>,
        /// Of a whole task: its exit code for a shell.
        #[serde(default)]
        code: Option<u8>,
    },
    Data {
        task: TaskId,
        index: Index,
        /// The number of the attempt: offsets start again with each.
        number: u32,
        stream: Stream,
        offset: u64,
        /// How many bytes from `offset` on were dropped: `bytes` follow them.
        #[serde(default)]
        left_out: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        at_end: bool,
    },
    Probed {
        server: ServerId,
        error: Option<String>,
    },
    /// The answer to a submit, on the disk. None: nothing was done, and the caller may submit by itself.
    Done {
        #[serde(with = "serde_bytes")]
        answer: Option<Vec<u8>>,
    },
    /// An answer of another home; the `last` one is final.
    Said {
        ticket: Ticket,
        answer: Answer,
        last: bool,
    },
    /// There is no answer. `heard`: the question may have been received. `late`: it was to be asked soon, and may be asked again.
    Unsaid {
        ticket: Ticket,
        heard: bool,
        why: String,
        #[serde(default)]
        late: bool,
    },
    Cleared {
        server: ServerId,
        result: Result<Clearing, String>,
    },
    /// The cancel was sent to the agents that run the task.
    CancelTaken,
    /// The fetch is over; its outcome is in the database.
    Brought {
        task: TaskId,
        index: Index,
    },
}
