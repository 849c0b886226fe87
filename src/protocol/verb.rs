//! What a home wants of a task that another home owns.

use crate::model::attempt::Stream;
use crate::model::id::Index;
use serde::{Deserialize, Serialize};

/// What is wanted of a task where it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Reports, answered by [`Answer::Report`](super::distributor::Answer::Report) as JSON.
    Show {
        index: Option<Index>,
    },
    Explain {
        index: Option<Index>,
    },
    Cancel {
        index: Option<Index>,
        grace_ms: u64,
    },
    Hold {
        index: Option<Index>,
    },
    Release {
        index: Option<Index>,
    },
    Retry {
        index: Option<Index>,
        failed_only: bool,
    },
    /// Answered by [`Answer::Ended`](super::distributor::Answer::Ended), once it has.
    Wait {
        index: Option<Index>,
    },
    /// Outputs so far: [`Answer::Output`](super::distributor::Answer::Output), then [`Answer::Done`](super::distributor::Answer::Done).
    Logs {
        index: Option<Index>,
        streams: Vec<Stream>,
        attempt: Option<u32>,
    },
    /// Outputs as they come, until the task has ended: then [`Answer::Ended`](super::distributor::Answer::Ended).
    Follow {
        index: Option<Index>,
        streams: Vec<Stream>,
    },
    /// A piece of what the task is sent with, for where the last [`Answer::Have`](super::distributor::Answer::Have) ended. Without bytes: how much is there?
    Send {
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// It has ended, and goes with all that it left: [`Answer::Report`](super::distributor::Answer::Report). `discard`: also what nobody has fetched. From version 4 on.
    Remove {
        discard: bool,
    },
    /// What members brought back: [`Answer::Report`](super::distributor::Answer::Report).
    Fetched {
        index: Option<Index>,
    },
    /// One of them from an offset on: [`Answer::Output`](super::distributor::Answer::Output), then [`Answer::Done`](super::distributor::Answer::Done).
    Fetch {
        index: Index,
        offset: u64,
    },
}
