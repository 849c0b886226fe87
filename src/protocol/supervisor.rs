//! Between an agent and a supervisor: orders on its stdin, reports on its stdout.
//! The journal on disk says the same for whoever comes after them.

use super::agent::{Refusal, Start};
use crate::model::attempt::{End, ProcessId};
use crate::model::id::AttemptId;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// To the supervisor. At the end of the stream it gives up what it has not begun, finishes what runs, and leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// Behind what it has.
    Start(Start),
    /// Give back what has not begun.
    Recall,
    /// End the one that runs, or drop the one that waits.
    Cancel { attempt: AttemptId, grace: Duration },
}

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromSupervisor {
    Began {
        attempt: AttemptId,
        at: Timestamp,
        process: ProcessId,
        out_from: u64,
        err_from: u64,
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
