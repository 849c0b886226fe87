//! An end that waits for its transfers. It is recorded once: when its results and long outputs are fetched, or known to stay on
//! the server.

use crate::dispatch::links::route::Route;
use crate::dispatch::transfer::results::Brought;
use crate::model::id::{AttemptId, AttemptKey};
use crate::protocol::agent::Ended;
use crate::store::members::Outputs;

/// An end as its agent reported it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedEnd {
    pub route: Route,
    pub attempt: AttemptId,
    pub key: AttemptKey,
    pub ended: Ended,
    /// Where the outputs are kept, once it is known.
    pub outputs: Option<Outputs>,
}

/// The results of an ended attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Results {
    /// The attempt has no results.
    None,
    /// The results were not fetched, because another attempt was to follow.
    Skipped,
    Brought(Brought),
}

impl Results {
    /// The fetched results, if there are any.
    pub const fn brought(&self) -> Option<&Brought> {
        match self {
            Self::Brought(brought) => Some(brought),
            Self::None | Self::Skipped => None,
        }
    }
}

/// The progress of an end.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Reported: its results may still be on the server.
    Reported(ReportedEnd),
    /// The fetch of its results is over; its outputs may still be on the server.
    Brought(ReportedEnd, Results),
    /// Its outputs are where they are kept: it can be recorded.
    Settled(ReportedEnd, Results, Outputs),
}

impl Ending {
    /// The report of the end.
    pub const fn report(&self) -> &ReportedEnd {
        match self {
            Self::Reported(report) | Self::Brought(report, _) | Self::Settled(report, ..) => report,
        }
    }
}
