//! Top-up: lanes that run out are filled again, without a new placement.

use super::pass::{Filling, boot_of, compile, fill, fleet_with, next_head};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::distributor::fleets::Booking;
use crate::matching::Place;
use crate::model::id::{ClassId, LaneId, TaskId};

/// Fills lanes that run out with more members of their class, if no other class comes first and the server still matches.
pub fn top_up(d: &mut Dispatcher, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
    let mut low: Vec<(LaneId, ClassId, Place, usize)> = d
        .attempts
        .lanes
        .iter()
        .filter(|(id, lane)| {
            !lane.recalled
                && !d.is_elsewhere(*id)
                && lane.attempts.len() * 2 <= d.window(lane.class, lane.place.host) as usize
                && !d.attempts.suspects.is_suspect(lane.place.host)
                && !d.attempts.lanes.is_long(*id, turn.now.mono)
        })
        .map(|(id, lane)| (id, lane.class, lane.place, lane.attempts.len()))
        .collect();
    // Empty lanes first: their places are idle.
    low.sort_unstable_by_key(|(id, .., left)| (*left, *id));
    for (id, class, held_place, _) in low {
        let Some(key) = d.schedule.queue.key(class).filter(|key| !d.schedule.queue.has_class_before(*key)) else {
            continue;
        };
        if !compile(d, turn.tx, class)? || d.waits_for_room(turn.tx, class)? {
            continue;
        }
        let Some(boot) = boot_of(d, held_place) else { continue };
        let Some(lane) = d.attempts.lanes.get(id) else { continue };
        let (needs, own, has) = (lane.needs, lane.task, lane.attempts.len());
        let mut head = next_head(d, turn.tx, class, Some(own), TaskId(0))?;
        while let Some(barred) = head.as_ref().filter(|h| d.attempts.barred.contains_key(&h.task)).map(|h| h.task) {
            head = next_head(d, turn.tx, class, Some(own), barred)?;
        }
        let Some(head) = head else { continue };
        if !d.any_may_go(turn.tx, &head, held_place.host, turn.now.mono)? {
            continue;
        }
        d.schedule.fleets.book(held_place, needs, Booking::GiveBack);
        let claimant = d.claimant(class, head.task);
        let still = d.schedule.compiled.get(&class).zip(fleet_with(d, held_place.server)).is_some_and(|(c, fleet)| {
            fleet
                .best_among(&c.query, Some(claimant), &[held_place.server])
                .is_some_and(|choice| choice.place == held_place)
        });
        d.schedule.fleets.book(held_place, needs, Booking::Take);
        if still {
            let count = d.window(class, held_place.host).saturating_sub(u32::try_from(has).unwrap_or(u32::MAX));
            let sent = Some(d.instance.epoch);
            let filling = Filling { class, needs, lane: id, place: held_place, boot, sent, verdict: None };
            fill(d, turn, &head, filling, count)?;
            d.requeue(turn.tx, key)?;
        }
    }
    Ok(())
}
