//! The choice of a server: the first task of a class that may start, and the best server to which a member of it may go.

use super::pass::next_head;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::distributor::avoided::OtherServers;
use crate::matching::Choice;
use crate::model::id::{ClassId, DistributorId, Index, ServerId, TaskId};
use crate::store::classes::Head;
use crate::store::{StoreError, Tx};
use std::collections::BTreeMap;
use std::time::Instant;

/// How many tasks of a class that wait for other servers than those with room may be passed over.
const PASSED_OVER: usize = 100;

/// The first task of a class that may start a member, and its server. Equal tasks fit on equal servers, except those that refused
/// them and those on which they failed: tasks behind one that waits for another server may pass it.
pub(super) fn choose_head(
    d: &mut Dispatcher,
    turn: &Turn<'_, '_>,
    class: ClassId,
    distributor: DistributorId,
    first: Head,
) -> Result<Option<(Head, Choice)>, DispatchError> {
    let mut head = first;
    for _ in 0..PASSED_OVER {
        if let Some(choice) = choose(d, turn, class, distributor, &head)? {
            return Ok(Some((head, choice)));
        }
        if !d.attempts.barred.contains_key(&head.task) && d.attempts.retries.of(head.task).is_none() {
            return Ok(None);
        }
        match next_head(d, turn.tx, class, None, head.task)? {
            Some(next) => head = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The best server for a task: none that refused it, none on which its waiting members failed before their time is over, and no
/// suspect that gets no start now. If no other server could run it, the last two are as good as any.
fn choose(
    d: &mut Dispatcher,
    turn: &Turn<'_, '_>,
    class: ClassId,
    distributor: DistributorId,
    head: &Head,
) -> Result<Option<Choice>, StoreError> {
    let barred: Vec<ServerId> = d.attempts.barred.get(&head.task).into_iter().flatten().copied().collect();
    let closed = d.attempts.suspects.closed_to(class, turn.now.mono);
    let open = best(d, turn, (class, distributor), head, [barred.as_slice(), &closed].concat())?;
    if open.is_some() || closed.is_empty() && d.attempts.retries.of(head.task).is_none() {
        return Ok(open);
    }
    let (Some(compiled), Some(fleet)) = (d.schedule.compiled.get(&class), d.schedule.fleets.get(distributor)) else {
        return Ok(None);
    };
    let patience = d.attempts.settings.retry_elsewhere(turn.tx)?;
    let without = [barred.as_slice(), &d.attempts.suspects.servers()].concat();
    let others = OtherServers { fleet, query: &compiled.query, without, patience };
    let is_over = |members: &BTreeMap<Index, Instant>| members.values().all(|until| *until <= turn.now.mono);
    let groups = d.attempts.retries.of(head.task).into_iter().flatten();
    let is_alone = |(failed_on, members): &(&Vec<ServerId>, &BTreeMap<Index, Instant>)| match is_over(members) {
        true => !others.any(failed_on),
        false => !others.any_soon(failed_on),
    };
    let alone: Vec<Vec<ServerId>> = groups.filter(is_alone).map(|(failed_on, _)| failed_on.clone()).collect();
    let all_are_suspects = !closed.is_empty() && !others.any(&[]);
    if alone.is_empty() && !all_are_suspects {
        return Ok(None);
    }
    alone.iter().for_each(|failed_on| d.attempts.retries.release(head.task, failed_on));
    let without = if all_are_suspects { barred } else { [barred, closed].concat() };
    best(d, turn, (class, distributor), head, without)
}

/// The best server for a task, without these and those to which none of its waiting members may go.
fn best(
    d: &Dispatcher,
    turn: &Turn<'_, '_>,
    (class, distributor): (ClassId, DistributorId),
    head: &Head,
    mut without: Vec<ServerId>,
) -> Result<Option<Choice>, StoreError> {
    let (Some(compiled), Some(fleet)) = (d.schedule.compiled.get(&class), d.schedule.fleets.get(distributor)) else {
        return Ok(None);
    };
    let claimant = d.claimant(class, head.task);
    while let Some(choice) = fleet.best_without(&compiled.query, Some(claimant), &without) {
        if d.any_may_go(turn.tx, head, choice.place.host, turn.now.mono)? {
            return Ok(Some(choice));
        }
        without.push(choice.place.host);
    }
    Ok(None)
}

impl Dispatcher {
    /// True if a waiting member may go to a server, as far as its failures go. To a suspect none returns.
    pub(super) fn may_go(&self, task: TaskId, index: Index, server: ServerId, now: Instant) -> bool {
        let until = self.attempts.retries.kept_from(task, index, server);
        until.is_none_or(|until| until <= now && !self.attempts.suspects.is_suspect(server))
    }

    /// True if any waiting member of a task may go to a server.
    pub(super) fn any_may_go(
        &self,
        tx: &Tx<'_>,
        head: &Head,
        server: ServerId,
        now: Instant,
    ) -> Result<bool, StoreError> {
        if head.fresh || self.attempts.retries.of(head.task).is_none() {
            return Ok(true);
        }
        if head.single {
            return Ok(self.may_go(head.task, Index(0), server, now));
        }
        let may_go = |index| self.may_go(head.task, index, server, now);
        Ok(!tx.waiting_again(head.task, 1, &may_go)?.is_empty())
    }

    /// How many attempts of a class a lane on a server may hold.
    pub(super) fn window(&self, class: ClassId, server: ServerId) -> u32 {
        let window = self.attempts.lanes.window(class);
        self.attempts.suspects.ahead(class, server).map_or(window, |ahead| window.min(ahead))
    }
}
