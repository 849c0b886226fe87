//! What starts next: waiting classes in their order, each on the best server that has room.

use crate::dispatch::attempts::lanes::Held;
use crate::dispatch::links::link_state::Slot;
use crate::dispatch::attempts::starts::Template;
use crate::dispatch::schedule::queue::{Freed, Key};
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::dispatch::turn::Outcome;
use crate::distributor::fleets::Booking;
use crate::distributor::tier2::VERDICTS_FREE;
use crate::matching::{Choice, Place, Query};
use crate::model::demand::{Demand, Target};
use crate::model::id::{AttemptId, BootId, ClassId, DistributorId, Epoch, LaneId, ServerId, TaskId, UserId};
use crate::model::resources::Needs;
use crate::model::time::Timestamp;
use crate::store::classes::Head;
use crate::store::ledger::Ledger;
use crate::store::placing::Placing;
use crate::store::trace::NoteId;
use crate::store::{StoreError, Tx};
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// A class made ready for the matcher.
#[derive(Debug)]
pub struct Compiled {
    pub query: Query,
    pub demand: Demand,
    /// Its user, where that is not the home's own account.
    pub guest: Option<UserId>,
}

/// A pass holds the gate: it is cut into slices of this length.
const SLICE: Duration = Duration::from_millis(10);
/// Compiled classes that are kept.
const COMPILED_MAX: usize = 2_048;

/// In large fleets each placement allows for the verdicts of so many servers more (about 150 bytes each) ..
const VERDICTS_PER_PLACEMENT: usize = 4;
/// .. and so many may be written at once.
pub(in crate::dispatch) const VERDICTS_MAX: usize = 40_000;

/// Starts what may start, until nothing fits or the slice is over.
pub fn pass(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    ledger: &mut Ledger<'_, '_>,
    outcome: &mut Outcome,
) -> Result<(), DispatchError> {
    let end = Instant::now() + SLICE;
    while Instant::now() <= end {
        if let Some(freed) = d.queue.next_freed() {
            d.queue.asked(&freed);
            if compile(d, tx, freed.key.2)? && fits_among(d, &freed) {
                d.queue.unblock(&freed);
                place(d, tx, ledger, outcome, freed.key, freed.distributor)?;
            }
        } else if let Some((key, distributor)) = d.queue.first() {
            place(d, tx, ledger, outcome, key, distributor)?;
        } else {
            break;
        }
    }
    Ok(())
}

/// Lanes that run out are given more of their class, as long as nothing else comes first and the server still matches.
pub fn top_up(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    ledger: &mut Ledger<'_, '_>,
    outcome: &mut Outcome,
) -> Result<(), DispatchError> {
    let low: Vec<(LaneId, ClassId, Place)> = d
        .lanes
        .iter()
        .filter(|(id, lane)| {
            !lane.recalled
                && !d.is_elsewhere(*id)
                && lane.attempts.len() * 2 <= d.lanes.window(lane.class) as usize
                && !d.lanes.is_long(*id)
        })
        .map(|(id, lane)| (id, lane.class, lane.place))
        .collect();
    for (id, class, held_place) in low {
        let Some(key) = d.queue.key(class).filter(|key| !d.queue.anything_before(*key)) else { continue };
        if !compile(d, tx, class)? || d.waits_for_room(tx, class)? {
            continue;
        }
        let Some(boot) = boot_of(d, held_place) else { continue };
        let Some(lane) = d.lanes.get(id) else { continue };
        let (needs, own, has) = (lane.needs, lane.task, lane.attempts.len());
        let mut head = next_head(d, tx, class, Some(own), TaskId(0))?;
        while let Some(barred) = head.as_ref().filter(|h| d.barred.contains_key(&h.task)).map(|h| h.task) {
            head = next_head(d, tx, class, Some(own), barred)?;
        }
        let Some(head) = head.filter(|h| !d.avoided.contains_key(&h.task)) else { continue };
        d.fleets.book(held_place, needs, Booking::GiveBack);
        let still = d.compiled.get(&class).zip(fleet_with(d, held_place.server)).is_some_and(|(c, fleet)| {
            fleet
                .best_among(&c.query, Some(head.task), &[held_place.server])
                .is_some_and(|choice| choice.place == held_place)
        });
        d.fleets.book(held_place, needs, Booking::Take);
        if still {
            let count = d.lanes.window(class).saturating_sub(u32::try_from(has).unwrap_or(u32::MAX));
            let sent = d.epoch;
            let filling = Filling { class, needs, lane: id, place: held_place, boot, sent, verdict: None };
            fill(d, tx, ledger, outcome, &head, filling, count)?;
            d.requeue(tx, key)?;
        }
    }
    Ok(())
}

/// One step: the head of the first class gets its server, or the class is blocked.
fn place(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    ledger: &mut Ledger<'_, '_>,
    outcome: &mut Outcome,
    key: Key,
    distributor: DistributorId,
) -> Result<(), DispatchError> {
    let class = key.2;
    if !compile(d, tx, class)? {
        d.queue.forget(class);
        return Ok(());
    }
    if d.waits_for_room(tx, class)? {
        d.queue.block(key);
        return Ok(());
    }
    let Some(first) = next_head(d, tx, class, None, TaskId(0))? else {
        d.queue.forget(class);
        return Ok(());
    };
    let Some((head, choice)) = choose_head(d, tx, class, distributor, first)? else {
        d.queue.block(key);
        d.want_for_blocked(class);
        d.to_explain.add(class);
        return Ok(());
    };
    // Where the link is not open yet, the member is given all the same; the hello sends it, or it goes elsewhere.
    let (boot, sent) = match boot_of(d, choice.place) {
        Some(boot) => (boot, d.epoch),
        None => match tx.server_boot(choice.place.host)? {
            Some(boot) => (boot, Epoch(0)),
            None => {
                d.queue.block(key);
                return Ok(());
            }
        },
    };
    let Some(needs) = d.compiled.get(&class).map(|c| c.query.needs()) else { return Ok(()) };
    let verdict = verdict(d, tx, class, distributor, head.task)?;
    let lane = d.new_lane(tx)?;
    tx.take(choice.place.server, choice.place.host, needs)?;
    d.fleets.book(choice.place, needs, Booking::Take);
    let window = d.lanes.window(class);
    let filling = Filling { class, needs, lane, place: choice.place, boot, sent, verdict };
    let filled = fill(d, tx, ledger, outcome, &head, filling, window)?;
    if filled == 0 {
        tx.give_back(choice.place.server, choice.place.host, needs)?;
        d.fleets.book(choice.place, needs, Booking::GiveBack);
        // Cancelled or held in this very transaction: the counts follow at its end, and with them the class.
        d.queue.forget(class);
        d.stirred = true;
        return Ok(());
    }
    for server in [choice.place.server, choice.place.host] {
        if d.fleets.with(server).is_some_and(|(_, fleet)| !fleet.has_slot(server)) {
            d.queue.full(distributor, server);
        }
    }
    Ok(d.requeue(tx, key)?)
}

/// A lane that is filled.
struct Filling {
    class: ClassId,
    needs: Needs,
    lane: LaneId,
    place: Place,
    boot: BootId,
    /// 0: there is no link; the hello sends it.
    sent: Epoch,
    verdict: Option<NoteId>,
}

/// Claims members for a lane and makes the orders. Gives their number.
fn fill(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    ledger: &mut Ledger<'_, '_>,
    outcome: &mut Outcome,
    head: &Head,
    Filling { class, needs, lane, place, boot, sent, verdict }: Filling,
    count: u32,
) -> Result<u32, DispatchError> {
    let machine = if sent == Epoch(0) { None } else { d.machine_at(place.host) };
    let placing = Placing { server: place.server, host: place.host, boot, machine, lane, sent, verdict };
    let claimed = ledger.claim(head.task, count.max(1), &placing)?;
    for member in &claimed {
        let attempt = AttemptId { task: head.uuid, index: member.index, number: member.number };
        d.lanes.put(lane, class, place, needs, Held { attempt, task: head.task, began: None });
    }
    if !claimed.is_empty() {
        d.lanes.give_to(lane, head.task);
        if sent != Epoch(0)
            && let Some(template) = Template::read(tx, head.task)?
        {
            outcome.orders.extend(template.orders(tx, place, lane, &placing.boot, d.epoch, &claimed)?);
        }
    }
    Ok(u32::try_from(claimed.len()).unwrap_or(u32::MAX))
}

/// What every server answered to a class at this placement, kept for `explain`. In large fleets it is long: there a class has one
/// for some seconds, and none while others have written much; `explain` then looks again.
fn verdict(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    class: ClassId,
    distributor: DistributorId,
    task: TaskId,
) -> Result<Option<NoteId>, StoreError> {
    let (Some(compiled), Some(fleet)) = (d.compiled.get(&class), d.fleets.get(distributor)) else { return Ok(None) };
    let servers = fleet.servers().len();
    let fresh = Duration::from_secs(if servers > VERDICTS_FREE { 10 } else { 1 });
    if let Some((_, note)) = d.judged.get(&class).filter(|(at, _)| at.elapsed() < fresh) {
        return Ok(Some(*note));
    }
    if servers > VERDICTS_FREE {
        d.verdicts_left = (d.verdicts_left + VERDICTS_PER_PLACEMENT).min(VERDICTS_MAX);
        let Some(left) = d.verdicts_left.checked_sub(servers) else { return Ok(None) };
        d.verdicts_left = left;
    }
    let verdicts = fleet.explain(&compiled.query, Some(task), Timestamp::now());
    let note = tx.keep_note(&serde_json::to_string(&verdicts).unwrap_or_default())?;
    if d.judged.len() > COMPILED_MAX {
        d.judged.clear();
    }
    d.judged.insert(class, (Instant::now(), note));
    Ok(Some(note))
}

/// The first task of a class that may start a member, and its server. Equal tasks fit on equal servers, but for those that a
/// task was refused on: behind one that waits for another server, others may go.
fn choose_head(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    class: ClassId,
    distributor: DistributorId,
    first: Head,
) -> Result<Option<(Head, Choice)>, DispatchError> {
    const PASSED_OVER: usize = 100;
    let mut head = first;
    for _ in 0..PASSED_OVER {
        if let Some(choice) = choose(d, tx, class, distributor, head.task)? {
            return Ok(Some((head, choice)));
        }
        if !d.barred.contains_key(&head.task) {
            return Ok(None);
        }
        match next_head(d, tx, class, None, head.task)? {
            Some(next) => head = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The oldest task of a class, behind a given one, that may start a member: arrays that run as many at once as they may are
/// passed over.
fn next_head(
    d: &mut Dispatcher,
    tx: &Tx<'_>,
    class: ClassId,
    own: Option<TaskId>,
    mut behind: TaskId,
) -> Result<Option<Head>, StoreError> {
    while let Some(head) = tx.head(class, behind)? {
        let lanes = d.lanes.count_of(head.task) - u32::from(own == Some(head.task)).min(d.lanes.count_of(head.task));
        if head.at_once.is_none_or(|most| lanes < most) {
            return Ok(Some(head));
        }
        d.capped.insert(class);
        behind = head.task;
    }
    Ok(None)
}

/// The best server; not one that the task can't start on, and elsewhere than its last failure if possible.
fn choose(
    d: &Dispatcher,
    tx: &Tx<'_>,
    class: ClassId,
    distributor: DistributorId,
    task: TaskId,
) -> Result<Option<Choice>, StoreError> {
    let (Some(compiled), Some(fleet)) = (d.compiled.get(&class), d.fleets.get(distributor)) else { return Ok(None) };
    let barred: Vec<ServerId> = d.barred.get(&task).into_iter().flatten().map(|(server, _)| *server).collect();
    let avoided = d.avoided.get(&task).copied();
    if barred.is_empty() && avoided.is_none() {
        return Ok(fleet.best(&compiled.query, Some(task)));
    }
    let without = |servers: &[ServerId]| -> Result<Option<Query>, StoreError> {
        let mut demand = compiled.demand.clone();
        for id in servers {
            // One that was removed is no more, and another one may have its name.
            if let Some(server) = d.fleets.server(*id).map(|server| server.name.clone()) {
                demand.exclude.push(Target { distributor: None, server, elsewhere: false });
            }
        }
        let Some(class) = tx.class(class)? else { return Ok(None) };
        let (Some(user), Some(client)) = (tx.user_by_id(class.user)?, tx.client_by_id(class.client)?) else {
            return Ok(None);
        };
        Ok(Query::new(&demand, &user, &client).ok())
    };
    if let Some(avoided) = avoided {
        let servers: Vec<ServerId> = barred.iter().copied().chain([avoided]).collect();
        if let Some(choice) = without(&servers)?.and_then(|query| fleet.best(&query, Some(task))) {
            return Ok(Some(choice));
        }
    }
    Ok(without(&barred)?.and_then(|query| fleet.best(&query, Some(task))))
}

fn fits_among(d: &Dispatcher, freed: &Freed) -> bool {
    let Freed { key, distributor, servers } = freed;
    let (Some(compiled), Some(fleet)) = (d.compiled.get(&key.2), d.fleets.get(*distributor)) else { return false };
    fleet.best_among(&compiled.query, Some(key.1), servers.as_ref()).is_some()
}

fn fleet_with(d: &Dispatcher, server: ServerId) -> Option<&crate::matching::Fleet> {
    d.fleets.with(server).map(|(_, fleet)| fleet)
}

fn boot_of(d: &Dispatcher, place: Place) -> Option<BootId> {
    d.route_of(place).and_then(|route| d.links.get(&route)).and_then(Slot::boot).cloned()
}

/// Compiles a class; false if it or what it needs is gone.
pub fn compile(d: &mut Dispatcher, tx: &Tx<'_>, id: ClassId) -> Result<bool, StoreError> {
    if d.compiled.contains_key(&id) {
        return Ok(true);
    }
    let Some(class) = tx.class(id)? else { return Ok(false) };
    let Some((user, client)) = d.people.of(tx, &class)? else { return Ok(false) };
    let query = match Query::new(&class.demand, user, client) {
        Ok(query) => query,
        Err(error) => {
            tx.set_class_reason(id, Some(&error.to_string()))?;
            return Ok(false);
        }
    };
    if d.compiled.len() >= COMPILED_MAX {
        d.compiled.clear();
    }
    let guest = class.demand.shared_account.then_some(class.user);
    d.compiled.insert(id, Compiled { query, demand: class.demand, guest });
    Ok(true)
}

impl Dispatcher {
    /// A new lane. Numbers are taken ahead, many with one write; those that are left when the dispatcher ends are nobody's.
    fn new_lane(&mut self, tx: &Tx<'_>) -> Result<LaneId, StoreError> {
        const NUMBERS_AHEAD: u32 = 64;
        if self.lane_numbers.is_empty() {
            self.lane_numbers = tx.new_lanes(NUMBERS_AHEAD)?;
        }
        let number = self.lane_numbers.start;
        self.lane_numbers.start += 1;
        Ok(LaneId(number))
    }

    /// A class's place in the queue after some of it was placed.
    fn requeue(&mut self, tx: &Tx<'_>, key: Key) -> Result<(), StoreError> {
        let (Reverse(priority), before, class) = key;
        let Some(distributor) = self.queue.distributor(class) else { return Ok(()) };
        match tx.head(class, TaskId(0))? {
            // Blocked stays blocked: only room was used up.
            Some(head) if head.task == before => {}
            Some(head) => self.queue.ready(class, priority, head.task, distributor),
            None => self.queue.forget(class),
        }
        Ok(())
    }
}
