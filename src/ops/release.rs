//! `grid release`: held tasks may start.

use super::report::Change;
use super::selecting::Chosen;
use super::{Grid, OpsError, dispatcher, elsewhere, member_state};
use crate::model::task::Phase;
use crate::model::time::Timestamp;
use crate::protocol::distributor::Verb;
use crate::store::Durability;
use crate::store::ledger::Ledger;

/// Releases what is held; what is not held is noted.
pub fn release(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<Change>, OpsError> {
    let verb = |chosen: Chosen| Verb::Release { index: chosen.index };
    elsewhere::change(grid, what, &verb, &mut here, &mut elsewhere::not_made)
}

fn here(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<Change>, OpsError> {
    let now = Timestamp::now();
    let changes = grid.store.write(Durability::Full, |tx| {
        let mut changes = Vec::with_capacity(what.len());
        for chosen in what {
            let before = member_state(tx, *chosen)?;
            let mut ledger = Ledger::open(tx, now);
            let changed = ledger.shift(chosen.task, chosen.index, Phase::Held, Phase::Waiting)?;
            ledger.close()?;
            if changed > 0 {
                tx.clear_unmatched(chosen.task)?;
                tx.trace(chosen.task, now, "released")?;
            }
            let note = (changed == 0).then(|| format!("is not held: {before}"));
            changes.push(Change { id: chosen.to_string(), state: member_state(tx, *chosen)?, changed, note });
        }
        Ok::<_, OpsError>(changes)
    })?;
    dispatcher::wake(grid)?;
    Ok(changes)
}
