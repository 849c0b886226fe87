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
}

/// How far an end is.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// Its results may still be on the server.
    Reported(ReportedEnd),
    /// Its results are home, or stay there, or there are none; its outputs may still be on the server.
    Brought(ReportedEnd, Option<Brought>),
    /// Its outputs are where they are kept: it can be recorded.
    Settled(ReportedEnd, Option<Brought>, Outputs),
}

impl Ending {
    /// What was reported.
    pub const fn report(&self) -> &ReportedEnd {
        match self {
            Self::Reported(report) | Self::Brought(report, _) | Self::Settled(report, ..) => report,
        }
    }
}
