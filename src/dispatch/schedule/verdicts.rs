//! Verdicts: the answer of every server to a class at its placement, kept for `explain`.

use super::pass::COMPILED_MAX;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::schedule::queue::Key;
use crate::dispatch::turn::Turn;
use crate::distributor::avoided::{Avoiding, refused};
use crate::distributor::tier2::VERDICTS_FREE;
use crate::matching::Place;
use crate::model::id::{ClassId, ServerId, TaskId};
use crate::store::StoreError;
use crate::store::classes::Head;
use crate::store::trace::NoteId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// In large fleets each placement adds the verdicts of this many servers (about 150 bytes each) to what may be written,
const VERDICTS_PER_PLACEMENT: usize = 4;
/// up to this many at once.
const VERDICTS_MAX: usize = 40_000;

/// Verdicts of classes.
#[derive(Debug)]
pub struct Verdicts {
    /// The last verdict of each class, and its time.
    pub kept: BTreeMap<ClassId, (Instant, NoteId)>,
    /// The last verdict of each task that is kept from servers, at a placement on this server.
    pub own: BTreeMap<(TaskId, ServerId), (Instant, NoteId)>,
    /// For how many servers verdicts may still be written.
    pub left: usize,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), own: BTreeMap::new(), left: VERDICTS_MAX }
    }
}

/// Writes the verdicts of all servers for a class at this placement of its first task. In large fleets a verdict is long: each class
/// gets one in some seconds, and none while others have used up the allowance; `explain` then matches again. A task that is kept from
/// servers has one of its own.
pub(super) fn verdict(
    d: &mut Dispatcher,
    turn: &Turn<'_, '_>,
    (_, _, class): Key,
    head: &Head,
    place: Place,
) -> Result<Option<NoteId>, StoreError> {
    let (tx, now) = (turn.tx, turn.now);
    let (Some(compiled), Some((_, fleet))) = (d.schedule.compiled.get(&class), d.schedule.fleets.with(place.server))
    else {
        return Ok(None);
    };
    let avoids = d.attempts.barred.contains_key(&head.task) || d.attempts.retries.of(head.task).is_some();
    let own = (head.task, place.server);
    let servers = fleet.servers().len();
    let fresh = Duration::from_secs(if servers > VERDICTS_FREE { 10 } else { 1 });
    let verdicts = &d.schedule.verdicts;
    let kept = if avoids { verdicts.own.get(&own) } else { verdicts.kept.get(&class) };
    if let Some((_, note)) = kept.filter(|(at, _)| now.since(*at) < fresh) {
        return Ok(Some(*note));
    }
    if servers > VERDICTS_FREE {
        d.schedule.verdicts.left = (d.schedule.verdicts.left + VERDICTS_PER_PLACEMENT).min(VERDICTS_MAX);
        let Some(left) = d.schedule.verdicts.left.checked_sub(servers) else { return Ok(None) };
        d.schedule.verdicts.left = left;
    }
    let closed = d.attempts.suspects.closed_to(class, now.mono);
    let mut avoided = Vec::new();
    if avoids || !closed.is_empty() {
        let avoiding = Avoiding::new(tx, fleet, &compiled.query, class, now.wall)?;
        if avoids {
            avoided = avoiding.own(head.task, head.waiting, None)?;
        }
        let refused: Vec<ServerId> = refused(&avoided).collect();
        avoided.extend(avoiding.paused(&refused)?.into_iter().filter(|(server, _)| closed.contains(server)));
    }
    // A suspect gets a start now and then.
    avoided.retain(|(server, _)| *server != place.server && *server != place.host);
    let verdicts = fleet.explain_waiting(&compiled.query, Some(head.task), &avoided, now.wall);
    let note = tx.keep_note(&serde_json::to_string(&verdicts).unwrap_or_default())?;
    let verdicts = &mut d.schedule.verdicts;
    if verdicts.kept.len().max(verdicts.own.len()) > COMPILED_MAX {
        verdicts.kept.clear();
        verdicts.own.clear();
    }
    if avoids {
        verdicts.own.insert(own, (now.mono, note));
    } else {
        verdicts.kept.insert(class, (now.mono, note));
    }
    Ok(Some(note))
}
