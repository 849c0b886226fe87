//! Failed members until their next attempt begins: for a while each waits for a server on which it has not failed.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::model::ambient::Now;
use crate::model::id::{AttemptKey, Index, ServerId, TaskId};
use crate::model::settings::RETRY_ELSEWHERE;
use crate::store::{StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The members of a task that wait for another server than those on which they failed, with the time until when they do.
pub(in crate::dispatch) type Groups = BTreeMap<Vec<ServerId>, BTreeMap<Index, Instant>>;

/// Members that wait for another server. Members that were cancelled or held meanwhile may still be among them.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Retries {
    of: BTreeMap<TaskId, Groups>,
    /// When a member may return to a server on which it failed.
    due: BTreeSet<(Instant, ServerId)>,
}

impl Retries {
    /// Lets a member wait for another server than these, until then.
    fn add(&mut self, task: TaskId, index: Index, mut failed_on: Vec<ServerId>, until: Instant) {
        failed_on.sort_unstable();
        failed_on.dedup();
        self.take(task, index);
        self.due.extend(failed_on.iter().map(|server| (until, *server)));
        self.of.entry(task).or_default().entry(failed_on).or_default().insert(index, until);
    }

    /// The waiting members of a task, by the servers on which they failed.
    pub(in crate::dispatch) fn of(&self, task: TaskId) -> Option<&Groups> {
        self.of.get(&task)
    }

    /// Until when a member does not return to a server; None: it has not failed there.
    pub(in crate::dispatch) fn kept_from(&self, task: TaskId, index: Index, server: ServerId) -> Option<Instant> {
        let mut groups = self.of.get(&task)?.iter().filter(|(failed_on, _)| failed_on.contains(&server));
        groups.find_map(|(_, members)| members.get(&index)).copied()
    }

    /// Removes a member: its next attempt runs.
    pub(in crate::dispatch) fn take(&mut self, task: TaskId, index: Index) {
        let Some(groups) = self.of.get_mut(&task) else { return };
        groups.retain(|_, members| {
            members.remove(&index);
            !members.is_empty()
        });
        if groups.is_empty() {
            self.of.remove(&task);
        }
    }

    /// Lets members of a task go anywhere: no server but those on which they failed could run them.
    pub(in crate::dispatch) fn release(&mut self, task: TaskId, failed_on: &[ServerId]) {
        let Some(groups) = self.of.get_mut(&task) else { return };
        groups.remove(failed_on);
        if groups.is_empty() {
            self.of.remove(&task);
        }
    }

    /// Removes a task that has ended.
    pub(in crate::dispatch) fn forget(&mut self, task: TaskId) {
        self.of.remove(&task);
    }

    /// When the next member may return to a server on which it failed.
    pub(in crate::dispatch) fn due_at(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Servers to which members may return by now; each is given once.
    fn take_due(&mut self, now: Instant) -> BTreeSet<ServerId> {
        let mut servers = BTreeSet::new();
        while let Some((at, server)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, server));
                break;
            }
            servers.insert(server);
        }
        servers
    }

    /// Servers on which waiting members failed.
    fn servers(&self) -> BTreeSet<ServerId> {
        self.of.values().flat_map(BTreeMap::keys).flatten().copied().collect()
    }
}

impl Dispatcher {
    /// Lets a failed member wait for another server than those on which it has failed.
    pub(in crate::dispatch) fn wait_for_another(
        &mut self,
        turn: &Turn<'_, '_>,
        AttemptKey { task, index, number }: AttemptKey,
        server: ServerId,
    ) -> Result<(), StoreError> {
        let mut failed_on = vec![server];
        if number > 1 {
            failed_on.extend(turn.tx.failed_on(task, index)?);
        }
        let patience = self.attempts.settings.retry_elsewhere(turn.tx)?;
        self.attempts.retries.add(task, index, failed_on, turn.now.mono + patience);
        self.match_anew(turn, task)
    }

    /// Matches the class of a task with all servers again: a member of it waits that may go where those that waited before may not.
    pub(super) fn match_anew(&mut self, turn: &Turn<'_, '_>, task: TaskId) -> Result<(), StoreError> {
        if let Some(row) = turn.tx.task(task)? {
            self.schedule.queue.match_anew(row.class);
        }
        Ok(())
    }

    /// Lets the failed members in the database wait as before this dispatcher.
    pub(in crate::dispatch) fn adopt_retries(&mut self, tx: &Tx<'_>, now: Now) -> Result<(), StoreError> {
        let patience = tx.value_of(&RETRY_ELSEWHERE)?;
        for (member, ended_at) in tx.failed_members()? {
            let left = patience.saturating_sub(ended_at.age_at(now.wall));
            if left > Duration::ZERO {
                let failed_on = tx.failed_on(member.task, member.index)?;
                self.attempts.retries.add(member.task, member.index, failed_on, now.mono + left);
            }
        }
        Ok(())
    }

    /// Matches blocked classes again with servers to which members may return, and with suspects that get a start.
    pub(in crate::dispatch) fn free_due(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
        let mut servers = self.attempts.retries.take_due(turn.now.mono);
        servers.extend(self.look_after_suspects(turn)?);
        servers.into_iter().for_each(|server| self.free_host_of(server));
        Ok(())
    }

    /// Matches blocked classes again with servers that they were kept from: what they waited for is gone.
    pub(in crate::dispatch) fn free_kept_from(&mut self) {
        let mut servers = self.attempts.retries.servers();
        servers.extend(self.attempts.suspects.servers());
        servers.into_iter().for_each(|server| self.free_host_of(server));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(1);
    const BAD: ServerId = ServerId(1);
    const GOOD: ServerId = ServerId(2);

    fn may(retries: &Retries, index: u32, server: ServerId, now: Instant) -> bool {
        retries.kept_from(TASK, Index(index), server).is_none_or(|until| until <= now)
    }

    #[test]
    fn member_returns_to_a_server_once_its_time_is_over() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        let until = now + Duration::from_secs(300);
        retries.add(TASK, Index(3), vec![BAD], until);
        assert!(!may(&retries, 3, BAD, now) && may(&retries, 3, GOOD, now) && may(&retries, 4, BAD, now));
        assert_eq!((retries.due_at(), retries.take_due(now).len()), (Some(until), 0));
        assert_eq!(retries.take_due(until), [BAD].into());
        assert!(may(&retries, 3, BAD, until));
    }

    #[test]
    fn member_that_fails_again_waits_for_a_third_server() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        let until = now + Duration::from_secs(300);
        retries.add(TASK, Index(3), vec![BAD], until);
        retries.add(TASK, Index(3), vec![GOOD, BAD], until);
        assert!(!may(&retries, 3, BAD, now) && !may(&retries, 3, GOOD, now) && may(&retries, 3, ServerId(9), now));
        assert_eq!(retries.of(TASK).unwrap().len(), 1);
        retries.release(TASK, &[BAD, GOOD]);
        assert!(may(&retries, 3, BAD, now) && retries.of(TASK).is_none());
    }

    #[test]
    fn member_that_got_a_server_waits_no_more() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        retries.add(TASK, Index(3), vec![BAD], now + Duration::from_secs(300));
        retries.take(TASK, Index(3));
        assert!(may(&retries, 3, BAD, now) && retries.of(TASK).is_none());
    }
}
