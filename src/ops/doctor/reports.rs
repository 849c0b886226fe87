//! The check of reports to first tiers: whether each has the newest state, and what keeps periodic reports going.

use super::{ok, warn};
use crate::model::distributor::stale_after;
use crate::model::time::{Timestamp, short};
use crate::ops::report::Check;
use crate::ops::{Grid, OpsError};
use crate::store::reports::Registration;

const WHAT: &str = "reports";

/// One finding for each registration that is behind, or one for all. None: this home is registered nowhere.
pub(super) fn reports(grid: &Grid, now: Timestamp) -> Result<Vec<Check>, OpsError> {
    let all = grid.store.view().registrations()?;
    let late: Vec<Check> = all.iter().filter_map(|registration| behind(registration, now)).collect();
    if all.is_empty() || !late.is_empty() {
        return Ok(late);
    }
    let every = all.iter().filter_map(|r| r.on.period).min();
    let every = every.map_or_else(String::new, |period| format!("; every {} while a dispatcher runs", short(period)));
    let told: Vec<String> = all.iter().map(|r| r.endpoint.to_string()).collect();
    Ok(vec![ok(WHAT, format!("{} has every report{every}", told.join(", ")))])
}

fn behind(of: &Registration, now: Timestamp) -> Option<Check> {
    if let Some(error) = &of.error {
        let what = if of.is_live() { "does not have the newest state" } else { "is not told that it has left" };
        let found = format!("{} {what} of {}: {error}", of.endpoint, of.name);
        return Some(warn(WHAT, found, "`grid distributor push` tries again now"));
    }
    let period = of.on.period.filter(|_| of.is_live())?;
    let age = of.sent_at.map(|at| at.age_at(now)).filter(|age| *age >= stale_after(Some(period)))?;
    let found =
        format!("{} has no report of {} for {}, announced every {}", of.endpoint, of.name, short(age), short(period));
    let remedy = "`grid dispatcher start`; `grid cron install` starts it after a reboot, and when it was killed";
    Some(warn(WHAT, found, remedy))
}
