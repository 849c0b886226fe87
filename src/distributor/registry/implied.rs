//! `--to all`: a distributor that is registered so is registered with every first tier that its home knows, as long as it knows it.

use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::time::Timestamp;
use crate::store::reports::Registration;
use crate::store::{Durability, Store, StoreError, View};
use std::time::Duration;

/// A first tier that can't be told that a distributor has left is given up after this long: it counts the record as stale since.
const FAREWELL_GIVEN_UP: Duration = Duration::from_secs(24 * 3600);

/// What makes the registrations those that are wished now.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    /// First tiers that are known, and not registered with yet.
    missing: Vec<Registration>,
    /// Implied ones whose cause is gone.
    surplus: Vec<Registration>,
    /// Farewells that are too old to be sent.
    forgotten: Vec<Registration>,
}

/// Registers with first tiers that this home knows by now, and unregisters from those that it does not know any more.
pub(super) fn settle(store: &mut Store, now: Timestamp) -> Result<(), StoreError> {
    let changes = store.read(|view| changes(view, now))?;
    if changes == Changes::default() {
        return Ok(());
    }
    store.write(Durability::Normal, |tx| {
        // Another process may have been first.
        let Changes { missing, surplus, forgotten } = self::changes(tx, now)?;
        missing.iter().try_for_each(|new| tx.register(new))?;
        surplus.iter().try_for_each(|old| tx.unregister(old.distributor, &old.endpoint, now))?;
        forgotten.iter().try_for_each(|old| tx.forget_registration(old.distributor, &old.endpoint))
    })
}

/// Is there a first tier to register with, or to unregister from?
pub(super) fn is_unsettled(view: &View<'_>, now: Timestamp) -> Result<bool, StoreError> {
    Ok(changes(view, now)? != Changes::default())
}

fn changes(view: &View<'_>, now: Timestamp) -> Result<Changes, StoreError> {
    let all = view.registrations()?;
    if all.is_empty() {
        return Ok(Changes::default());
    }
    let known = fronts(view)?;
    let mut changes = Changes::default();
    let causes: Vec<&Registration> = all.iter().filter(|r| r.to_all && !r.implied && r.is_live()).collect();
    for cause in &causes {
        let of = |r: &&Registration| r.distributor == cause.distributor;
        for endpoint in &known {
            let is_there = |r: &Registration| r.endpoint == *endpoint;
            let missing = changes.missing.iter().filter(of).any(is_there);
            if !missing && !all.iter().filter(of).any(is_there) {
                changes.missing.push(implied_by(cause, endpoint));
            }
        }
    }
    for old in &all {
        let caused = causes.iter().any(|cause| cause.distributor == old.distributor) && known.contains(&old.endpoint);
        if old.implied && old.is_live() && !caused {
            changes.surplus.push(old.clone());
        }
        if old.left_at.is_some_and(|at| at.is_past(FAREWELL_GIVEN_UP, now)) {
            changes.forgotten.push(old.clone());
        }
    }
    Ok(changes)
}

/// The homes of all first-tier members elsewhere.
fn fronts(view: &View<'_>) -> Result<Vec<Endpoint>, StoreError> {
    let fronts = view.distributors(Tier::First)?.into_iter().map(|member| member.endpoint);
    Ok(fronts.filter(Endpoint::is_elsewhere).collect())
}

fn implied_by(cause: &Registration, endpoint: &Endpoint) -> Registration {
    Registration {
        endpoint: endpoint.clone(),
        implied: true,
        sent: None,
        sent_at: None,
        error: None,
        pushed: true,
        ..cause.clone()
    }
}

/// Would another registration `--to all` bring this one back?
pub fn is_covered(view: &View<'_>, of: &Registration) -> Result<bool, StoreError> {
    let causes = |r: &Registration| {
        r.distributor == of.distributor && r.endpoint != of.endpoint && r.to_all && !r.implied && r.is_live()
    };
    Ok(view.registrations()?.iter().any(causes) && fronts(view)?.contains(&of.endpoint))
}
