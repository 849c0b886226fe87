//! The protocol between an agent and a supervisor: messages on its stdin, reports on its stdout. The journal on disk has the same
//! content for later readers.

use super::agent::{Refusal, Start};
use crate::model::attempt::{End, ProcessId};
use crate::model::id::AttemptId;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Messages to the supervisor. At the end of the stream it returns what it has not started, finishes what runs, and exits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// Queue the members behind the others.
    Start(Start),
    /// Return the members that have not started.
    Recall,
    /// End the running attempt, or drop a queued one.
    Cancel { attempt: AttemptId, grace: Duration },
}

/// Messages from the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromSupervisor {
    Began {
        attempt: AttemptId,
        at: Timestamp,
        process: ProcessId,
        out_from: u64,
        err_from: u64,
        /// As in [`End`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// The slices of the run's `out` and `err` files begin at `out_from` and `err_from` and are as long as `end` says.
    Ended {
        attempt: AttemptId,
        end: End,
        out_from: u64,
        err_from: u64,
    },
    Refused {
        attempt: AttemptId,
        why: Refusal,
    },
    Recalled {
        attempt: AttemptId,
    },
}
