//! How well does it fit? Preferences of the task, then of the user, then the server policy; the name decides last.

use super::eval::eval;
use super::reason::{RankedBy, Reason};
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

    /// The row that ranks first of those that qualify, and what put it before the next one. None if fewer than two do.
    pub(super) fn first(&self) -> Option<(usize, Reason)> {
        let fits = |row: &usize| self.targeted(*row) && self.expressions_hold(*row);
        let ranked = (0..self.fleet.servers.len())
            .filter(fits)
            .filter_map(|row| self.host(row).map(|host| (row, self.rank(row, host))));
        let before = |a: &(usize, Rank), b: &(usize, Rank)| a.1.order(&b.1).then_with(|| self.by_name(a.0, b.0));
        let mut first: Option<(usize, Rank)> = None;
        let mut second: Option<(usize, Rank)> = None;
        for one in ranked {
            if first.is_none_or(|first| before(&one, &first).is_gt()) {
                second = first.replace(one);
            } else if second.is_none_or(|second| before(&one, &second).is_gt()) {
                second = Some(one);
            }
        }
        let ((row, best), (next, second)) = (first?, second?);
        let by = if best.task != second.task {
            RankedBy::Preference { whose: "--prefer", best: best.task, second: second.task }
        } else if best.user != second.user {
            RankedBy::Preference { whose: "the user's preference", best: best.user, second: second.user }
        } else if best.placed != second.placed {
            RankedBy::IdlePower { best: best.placed.abs(), second: second.placed.abs() }
        } else {
            RankedBy::Name
        };
        Some((row, Reason::First { by, next: self.fleet.servers[next].name.clone() }))
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
