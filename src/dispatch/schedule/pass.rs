//! The pass: places waiting classes in their order, each on the best server with room.

use crate::dispatch::attempts::lanes::LaneAttempt;
use crate::dispatch::attempts::starts::Template;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::choose::choose_head;
use crate::dispatch::schedule::queue::{Freed, Key};
use crate::dispatch::schedule::verdicts;
use crate::dispatch::turn::Turn;
use crate::distributor::fleets::Booking;
use crate::matching::{ExpressionError, Place, Query};
use crate::model::id::{AttemptId, BootId, ClassId, DistributorId, Epoch, LaneId, ServerId, TaskId, UserId};
use crate::model::resources::Needs;
use crate::store::classes::Head;
use crate::store::placing::Placing;
use crate::store::trace::NoteId;
use crate::store::{StoreError, Tx, View};
use std::cmp::Reverse;
use std::time::Duration;

/// A class, compiled for the matcher.
#[derive(Debug)]
pub struct Compiled {
    pub query: Query,
    /// Its user, if that is not the home's own account.
    pub guest: Option<UserId>,
}

/// Longest time of a pass: it holds the write gate.
const SLICE: Duration = Duration::from_millis(10);
/// How many compiled classes are kept.
pub(super) const COMPILED_MAX: usize = 2_048;

/// Places what may start, until nothing fits or the slice is over.
pub fn pass(d: &mut Dispatcher, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
    let begun = d.ambient.now();
    while d.ambient.now().since(begun.mono) <= SLICE {
        if let Some(freed) = d.schedule.queue.next_freed() {
            d.schedule.queue.asked(&freed);
            if compile(d, turn.tx, freed.key.2)? && fits_among(d, &freed) {
                d.schedule.queue.unblock(&freed);
                place(d, turn, freed.key, freed.distributor)?;
            }
        } else if let Some((key, distributor)) = d.schedule.queue.first() {
            place(d, turn, key, distributor)?;
        } else {
            break;
        }
    }
    Ok(())
}

/// Places the head of the first class, or blocks the class.
fn place(
    d: &mut Dispatcher,
    turn: &mut Turn<'_, '_>,
    key: Key,
    distributor: DistributorId,
) -> Result<(), DispatchError> {
    let class = key.2;
    if !compile(d, turn.tx, class)? {
        d.schedule.queue.forget(class);
        return Ok(());
    }
    if d.waits_for_room(turn.tx, class)? {
        d.schedule.queue.block(key);
        return Ok(());
    }
    let Some(first) = next_head(d, turn.tx, class, None, TaskId(0))? else {
        d.schedule.queue.forget(class);
        return Ok(());
    };
    let Some((head, choice)) = choose_head(d, turn, class, distributor, first)? else {
        d.schedule.queue.block(key);
        d.probe_for_blocked(class, turn.now.mono);
        d.schedule.to_explain.add(class);
        return Ok(());
    };
    // Without an open link the member is placed all the same: its start follows the hello, or it goes to another server.
    let (boot, sent) = match boot_of(d, choice.place) {
        Some(boot) => (boot, Some(d.instance.epoch)),
        None => match turn.tx.server_boot(choice.place.host)? {
            Some(boot) => (boot, None),
            None => {
                d.schedule.queue.block(key);
                return Ok(());
            }
        },
    };
    let Some(needs) = d.schedule.compiled.get(&class).map(|c| c.query.needs()) else { return Ok(()) };
    let verdict = verdicts::verdict(d, turn, key, &head, choice.place)?;
    let lane = d.new_lane(turn.tx)?;
    turn.tx.take(choice.place.server, choice.place.host, needs)?;
    d.schedule.fleets.book(choice.place, needs, Booking::Take);
    let window = d.window(class, choice.place.host);
    let filling = Filling { class, needs, lane, place: choice.place, boot, sent, verdict };
    let filled = fill(d, turn, &head, filling, window)?;
    if filled == 0 {
        turn.tx.give_back(choice.place.server, choice.place.host, needs)?;
        d.schedule.fleets.book(choice.place, needs, Booking::GiveBack);
        // The member was cancelled or held in this transaction: the counts, and the class, follow at its end.
        d.schedule.queue.forget(class);
        d.activity.dirty = true;
        return Ok(());
    }
    d.attempts.suspects.started(choice.place.host, turn.now.mono);
    for server in [choice.place.server, choice.place.host] {
        if d.schedule.fleets.with(server).is_some_and(|(_, fleet)| !fleet.has_slot(server)) {
            d.schedule.queue.full(distributor, server);
        }
    }
    Ok(d.requeue(turn.tx, key)?)
}

/// A lane to fill.
pub(super) struct Filling {
    pub(super) class: ClassId,
    pub(super) needs: Needs,
    pub(super) lane: LaneId,
    pub(super) place: Place,
    pub(super) boot: BootId,
    /// The epoch of the starts. None: there is no link yet; the starts follow the hello.
    pub(super) sent: Option<Epoch>,
    pub(super) verdict: Option<NoteId>,
}

/// Claims members for a lane and makes the starts. Gives their number.
pub(super) fn fill(
    d: &mut Dispatcher,
    turn: &mut Turn<'_, '_>,
    head: &Head,
    Filling { class, needs, lane, place, boot, sent, verdict }: Filling,
    count: u32,
) -> Result<u32, DispatchError> {
    let machine = sent.and_then(|_| d.machine_at(place.host));
    let placing = Placing { server: place.server, host: place.host, boot, machine, lane, sent, verdict };
    let may_go = |index| d.may_go(head.task, index, place.host, turn.now.mono);
    let claimed = turn.ledger.claim(head.task, count.max(1), &placing, &may_go)?;
    for member in &claimed {
        let attempt = AttemptId { task: head.uuid, index: member.index, number: member.number };
        d.attempts.lanes.put(lane, class, place, needs, LaneAttempt { attempt, task: head.task, began: None });
    }
    if !claimed.is_empty() {
        d.attempts.lanes.count_for(lane, head.task);
        if sent.is_some()
            && let Some(template) = Template::read(turn.tx, &d.attempts.settings, head.task)?
        {
            let starts = template.starts(turn.tx, &d.start_target(place, lane, &placing.boot), &claimed)?;
            turn.effects.extend(starts.into_iter().map(Effect::Start));
        }
    }
    Ok(u32::try_from(claimed.len()).unwrap_or(u32::MAX))
}

/// The oldest task of a class after a given one that may start a member. Arrays that run as many members at once as they may are
/// skipped.
pub(super) fn next_head(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    class: ClassId,
    own: Option<TaskId>,
    mut behind: TaskId,
) -> Result<Option<Head>, StoreError> {
    while let Some(head) = tx.head(class, behind)? {
        let lanes = d.attempts.lanes.count_of(head.task)
            - u32::from(own == Some(head.task)).min(d.attempts.lanes.count_of(head.task));
        if head.at_once.is_none_or(|most| lanes < most) {
            return Ok(Some(head));
        }
        d.schedule.capped.insert(class);
        behind = head.task;
    }
    Ok(None)
}

fn fits_among(d: &Dispatcher, freed: &Freed) -> bool {
    let Freed { key, distributor, servers } = freed;
    let (Some(compiled), Some(fleet)) = (d.schedule.compiled.get(&key.2), d.schedule.fleets.get(*distributor)) else {
        return false;
    };
    fleet.best_among(&compiled.query, Some(d.claimant(key.2, key.1)), servers.as_ref()).is_some()
}

pub(super) fn fleet_with(d: &Dispatcher, server: ServerId) -> Option<&crate::matching::Fleet> {
    d.schedule.fleets.with(server).map(|(_, fleet)| fleet)
}

pub(super) fn boot_of(d: &Dispatcher, place: Place) -> Option<BootId> {
    d.route_of(place).and_then(|route| d.links.slots.get(&route)).and_then(LinkState::boot).cloned()
}

/// Compiles a class. False: it, or something it needs, does not exist any more; or it can't be compiled, which is then its reason.
pub fn compile(d: &mut Dispatcher, tx: &Tx<'_>, id: ClassId) -> Result<bool, StoreError> {
    match compile_by(d, tx, id)? {
        Ok(there) => Ok(there),
        Err(error) => {
            tx.set_class_reason(id, Some(&error.to_string()))?;
            Ok(false)
        }
    }
}

/// The same without writing the reason.
pub(super) fn compile_by(
    d: &mut Dispatcher,
    view: &View<'_>,
    id: ClassId,
) -> Result<Result<bool, ExpressionError>, StoreError> {
    if d.schedule.compiled.contains_key(&id) {
        return Ok(Ok(true));
    }
    let Some(class) = view.class(id)? else { return Ok(Ok(false)) };
    let Some((user, client)) = d.schedule.users.of(view, &class)? else { return Ok(Ok(false)) };
    let query = match Query::new(&class.demand, user, client) {
        Ok(query) => query,
        Err(error) => return Ok(Err(error)),
    };
    if d.schedule.compiled.len() >= COMPILED_MAX {
        d.schedule.compiled.clear();
    }
    let guest = class.demand.shared_account.then_some(class.user);
    d.schedule.compiled.insert(id, Compiled { query, guest });
    Ok(Ok(true))
}

impl Dispatcher {
    /// A new lane. Numbers are reserved in blocks, one write for many; the rest is dropped when the dispatcher exits.
    fn new_lane(&mut self, tx: &Tx<'_>) -> Result<LaneId, StoreError> {
        const NUMBERS_AHEAD: u32 = 64;
        if self.attempts.lane_numbers.is_empty() {
            self.attempts.lane_numbers = tx.new_lanes(NUMBERS_AHEAD)?;
        }
        let number = self.attempts.lane_numbers.start;
        self.attempts.lane_numbers.start += 1;
        Ok(LaneId(number))
    }

    /// Updates the place of a class in the queue after some of it was placed.
    pub(super) fn requeue(&mut self, tx: &Tx<'_>, key: Key) -> Result<(), StoreError> {
        let (Reverse(priority), before, class) = key;
        let Some(distributor) = self.schedule.queue.distributor(class) else { return Ok(()) };
        match tx.head(class, TaskId(0))? {
            // A blocked class stays blocked: room was only used up.
            Some(head) if head.task == before => {}
            Some(head) => self.schedule.queue.ready(class, priority, head.task, distributor),
            None => self.schedule.queue.forget(class),
        }
        Ok(())
    }
}
