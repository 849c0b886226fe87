//! Between a command of this home and its dispatcher, over the socket in `run/`.

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

/// To the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToDispatcher {
    /// Something changed in the database: look. Not answered.
    Wake,
    /// Answered by [`FromDispatcher::Status`].
    Status,
    /// Leave (running tasks go on under their supervisors). Answered by the end of the connection.
    Leave,
    /// Tell when this task (this member) has ended, durably: [`FromDispatcher::Ended`].
    Watch { task: TaskId, index: Option<Index> },
    /// Outputs of a running member from these offsets, as they come, then [`FromDispatcher::Ended`].
    Follow { task: TaskId, index: Index, out: u64, err: u64 },
    /// A piece of an output that lies on its server: [`FromDispatcher::Data`].
    Read { task: TaskId, index: Index, number: u32, stream: Stream, offset: u64, max: u32 },
    /// Read this server's host now: [`FromDispatcher::Probed`].
    Probe { server: ServerId },
    /// Remove all that lies on the host of this server for the home: answered by [`FromDispatcher::Cleared`].
    Clear { server: ServerId },
    /// There is something that servers may drop: tell them. Not answered.
    Discard,
    /// What the caller's session has for logins over ssh: the newest that works is used. Not answered.
    Login(Login),
    /// Write this for the caller, durably: [`FromDispatcher::Done`]. What it holds is between the commands of a home.
    #[serde(rename = "Order")]
    Submit(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Ask another home, over the link that all commands share: [`FromDispatcher::Said`], [`FromDispatcher::Unsaid`].
    Ask { ticket: Ticket, endpoint: Endpoint, question: Question },
    /// A piece of the list of an array, before the question with this ticket.
    Piece {
        ticket: Ticket,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// So many bytes of output that an answer held were taken.
    Taken { ticket: Ticket, bytes: u64 },
    /// End this task (this member), TERM, grace, KILL, though the cancel could not be written: the disk is full. Written when there is room.
    /// Answered by [`FromDispatcher::CancelTaken`].
    Cancel { task: TaskId, index: Option<Index>, grace: Duration },
    /// Bring home what still lies on the server of an ended member: answered by [`FromDispatcher::Brought`].
    Bring { task: TaskId, index: Index },
}

/// From the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromDispatcher {
    /// First message on every connection.
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
        /// How it logs in over ssh, in words; None where it did not have to yet.
        #[serde(default)]
        ssh: Option<String>,
    },
    Ended {
        task: TaskId,
        index: Option<Index>,
        /// Of a whole task: its code as a shell counts.
        #[serde(default)]
        code: Option<u8>,
    },
    Data {
        task: TaskId,
        index: Index,
        /// Of the attempt: offsets begin anew with each.
        number: u32,
        stream: Stream,
        offset: u64,
        /// So many bytes from `offset` on were dropped: `bytes` begins behind them.
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
    /// The answer to an order, on the disk; None: nothing was done, the caller may do it by itself.
    Done {
        #[serde(with = "serde_bytes")]
        answer: Option<Vec<u8>>,
    },
    /// What another home said; the `last` word is the answer.
    Said {
        ticket: Ticket,
        answer: Answer,
        last: bool,
    },
    /// There is no answer. `heard`: the question may have arrived.
    Unsaid {
        ticket: Ticket,
        heard: bool,
        why: String,
    },
    Cleared {
        server: ServerId,
        result: Result<Clearing, String>,
    },
    /// It is told to whoever runs it.
    CancelTaken,
    /// The database says what came of it.
    Brought {
        task: TaskId,
        index: Index,
    },
}
