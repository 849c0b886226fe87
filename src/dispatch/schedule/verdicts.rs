//! What every server answered to a class at its placement, kept for `explain`.

use super::pass::COMPILED_MAX;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::turn::Turn;
use crate::distributor::tier2::VERDICTS_FREE;
use crate::model::id::{ClassId, DistributorId, TaskId};
use crate::store::StoreError;
use crate::store::trace::NoteId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// In large fleets each placement allows for the verdicts of so many servers more (about 150 bytes each) ..
const VERDICTS_PER_PLACEMENT: usize = 4;
/// .. and so many may be written at once.
const VERDICTS_MAX: usize = 40_000;

/// Verdicts that are kept for `explain`.
#[derive(Debug)]
pub struct Verdicts {
    /// The last ones of classes, and when.
    pub kept: BTreeMap<ClassId, (Instant, NoteId)>,
    /// Of so many servers verdicts may still be kept.
    pub left: usize,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), left: VERDICTS_MAX }
    }
}

/// What every server answered to a class at this placement, kept for `explain`. In large fleets it is long: there a class has one
/// for some seconds, and none while others have written much; `explain` then looks again.
pub(super) fn verdict(
    d: &mut Dispatcher,
    turn: &Turn<'_, '_>,
    class: ClassId,
    distributor: DistributorId,
    task: TaskId,
) -> Result<Option<NoteId>, StoreError> {
    let (tx, now) = (turn.tx, turn.now);
    let (Some(compiled), Some(fleet)) = (d.schedule.compiled.get(&class), d.schedule.fleets.get(distributor)) else {
        return Ok(None);
    };
    let servers = fleet.servers().len();
    let fresh = Duration::from_secs(if servers > VERDICTS_FREE { 10 } else { 1 });
    if let Some((_, note)) = d.schedule.verdicts.kept.get(&class).filter(|(at, _)| now.since(*at) < fresh) {
        return Ok(Some(*note));
    }
    if servers > VERDICTS_FREE {
        d.schedule.verdicts.left = (d.schedule.verdicts.left + VERDICTS_PER_PLACEMENT).min(VERDICTS_MAX);
        let Some(left) = d.schedule.verdicts.left.checked_sub(servers) else { return Ok(None) };
        d.schedule.verdicts.left = left;
    }
    let verdicts = fleet.explain(&compiled.query, Some(task), now.wall);
    let note = tx.keep_note(&serde_json::to_string(&verdicts).unwrap_or_default())?;
    if d.schedule.verdicts.kept.len() > COMPILED_MAX {
        d.schedule.verdicts.kept.clear();
    }
    d.schedule.verdicts.kept.insert(class, (now.mono, note));
    Ok(Some(note))
}
