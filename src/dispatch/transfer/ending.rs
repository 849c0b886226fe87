//! An end on its way home. It is taken in once, when its results and its long outputs are home, or known to stay where they are.

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
    /// Where its outputs are kept, once that is known.
    pub outputs: Option<Outputs>,
}

/// What is known of the results of an ended attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Results {
    /// There are none.
    None,
    /// They were not fetched: another attempt was to follow.
    Skipped,
    Brought(Brought),
}

impl Results {
    /// What was brought, if anything was.
    pub const fn brought(&self) -> Option<&Brought> {
        match self {
            Self::Brought(brought) => Some(brought),
            Self::None | Self::Skipped => None,
        }
    }
}

/// How far an end is.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Its results may still be on the server.
    Reported(ReportedEnd),
    /// It is known what becomes of its results; its outputs may still be on the server.
    Brought(ReportedEnd, Results),
    /// Its outputs are where they are kept: it can be recorded.
    Settled(ReportedEnd, Results, Outputs),
}

impl Ending {
    /// What was reported.
    pub const fn report(&self) -> &ReportedEnd {
        match self {
            Self::Reported(report) | Self::Brought(report, _) | Self::Settled(report, ..) => report,
        }
    }
}
