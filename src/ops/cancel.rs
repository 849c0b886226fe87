//! `grid cancel`: recorded at once, carried out by the dispatcher.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, member_state};
use crate::model::task::{Phase, State};
use crate::model::time::Timestamp;
use crate::store::Durability;
use crate::store::ledger::Ledger;
use std::time::Duration;

/// Records the cancels; `grace` lies between TERM and KILL. What lies with no server ends at once. One change for each that was chosen.
pub fn cancel(grid: &mut Grid, what: &[Chosen], grace: Duration) -> Result<Vec<Change>, OpsError> {
    let now = Timestamp::now();
    let changes = grid.store.write(Durability::Full, |tx| {
        let mut asked = Vec::with_capacity(what.len());
        for chosen in what {
            let before = member_state(tx, *chosen)?;
            if before.ended() {
                asked.push((*chosen, 0, Some(format!("has already ended: {before}"))));
                continue;
            }
            let mut ledger = Ledger::open(tx, now);
            let mut changed = 0;
            for from in [Phase::Waiting, Phase::Held] {
                changed += ledger.shift(chosen.task, chosen.index, from, Phase::Ended(State::Cancelled))?;
            }
            ledger.close()?;
            let live =
                tx.live_of(chosen.task)?.into_iter().filter(|l| chosen.index.is_none_or(|i| i == l.index)).count();
            let mut note = None;
            if live > 0 {
                tx.ask_cancel(chosen.task, chosen.index, grace, now)?;
                changed += u32::try_from(live).unwrap_or(u32::MAX);
                note = Some("cancel asked".to_owned());
            }
            tx.trace(chosen.task, now, "cancel asked")?;
            asked.push((*chosen, changed, note));
        }
        let mut changes = Vec::with_capacity(asked.len());
        for (chosen, changed, note) in asked {
            changes.push(Change { id: chosen.to_string(), state: member_state(tx, chosen)?, changed, note });
        }
        Ok::<_, OpsError>(changes)
    })?;
    dispatcher::wake(grid)?;
    Ok(changes)
}
