//! How well does it fit? Preferences of the task, then of the user, then the server policy; the name decides last.

use super::eval::eval;
use super::search::{BoundExpression, ResolvedQuery};
use super::tree::{Datum, Fault};
use std::cmp::Ordering;

/// What a server is ranked by, in this order. None is below every number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rank {
    pub task: Option<f64>,
    pub user: Option<f64>,
    pub placed: f64,
}

impl Rank {
    /// Greater is better.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let by = |a: Option<f64>, b: Option<f64>| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        by(self.task, other.task)
            .then_with(|| by(self.user, other.user))
            .then_with(|| self.placed.total_cmp(&other.placed))
    }
}

/// Why a preference gives no number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NoNumber {
    Fault(Fault),
    NaN,
    Kind(&'static str),
}

impl<'a> ResolvedQuery<'a> {
    /// The rank of a row whose task would run on `host`.
    pub(super) fn rank(&self, row: usize, host: usize) -> Rank {
        let preferred =
            |bound: &Option<BoundExpression<'_>>| bound.as_ref().and_then(|bound| self.preference(bound, row).ok());
        Rank { task: preferred(&self.prefer), user: preferred(&self.user_prefer), placed: self.placed(host) }
    }

    /// A preference as a number: true is 1, false 0.
    pub(super) fn preference(&self, bound: &BoundExpression<'_>, row: usize) -> Result<f64, NoNumber> {
        match eval(&bound.folded.node, &self.value(bound, row)) {
            Ok(Datum::Bool(v)) => Ok(f64::from(u8::from(v))),
            Ok(Datum::Int(v)) => Ok(v as f64),
            Ok(Datum::Double(v)) if v.is_nan() => Err(NoNumber::NaN),
            Ok(Datum::Double(v)) => Ok(v),
            Ok(other) => Err(NoNumber::Kind(other.type_name())),
            Err(fault) => Err(NoNumber::Fault(fault)),
        }
    }

    /// The number to show: of the preference that counts first, else idle computing power.
    pub(super) fn score(&self, rank: &Rank) -> Option<f64> {
        match (&self.prefer, &self.user_prefer) {
            (Some(_), _) => rank.task,
            (None, Some(_)) => rank.user,
            (None, None) => Some(rank.placed.abs()),
        }
    }
}
