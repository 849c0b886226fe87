//! Verbs: requests of a home about a task that another home owns.

use crate::model::attempt::Stream;
use crate::model::id::Index;
use serde::{Deserialize, Serialize};

/// A request about a task at its owner.
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
    /// Wait for the end: answered by [`Answer::Ended`](super::distributor::Answer::Ended).
    Wait {
        index: Option<Index>,
    },
    /// Send the outputs so far: [`Answer::Output`](super::distributor::Answer::Output), then
    /// [`Answer::Done`](super::distributor::Answer::Done).
    Logs {
        index: Option<Index>,
        streams: Vec<Stream>,
        attempt: Option<u32>,
    },
    /// Send outputs as they are written until the task has ended: then [`Answer::Ended`](super::distributor::Answer::Ended).
    Follow {
        index: Option<Index>,
        streams: Vec<Stream>,
    },
    /// A piece of the task's input at the offset of the last [`Answer::Have`](super::distributor::Answer::Have). Without bytes it
    /// asks for that offset.
    Send {
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Remove the ended task with everything that it left: [`Answer::Report`](super::distributor::Answer::Report). `discard`: also
    /// what was not fetched. Since version 4.
    Remove {
        discard: bool,
    },
    /// List the fetched results of members: [`Answer::Report`](super::distributor::Answer::Report).
    Fetched {
        index: Option<Index>,
    },
    /// Send the results of one member from an offset: [`Answer::Output`](super::distributor::Answer::Output), then
    /// [`Answer::Done`](super::distributor::Answer::Done).
    Fetch {
        index: Index,
        offset: u64,
    },
}
