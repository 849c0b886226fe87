//! Servers that a waiting task is kept from though they may fit: those that refused it, those on which it failed, and suspects. As the
//! database tells of them, for people and for offers; the dispatcher decides by what it has seen itself.

use crate::matching::{Avoidance, Fleet, Query};
use crate::model::id::{ClassId, Index, ServerId, TaskId};
use crate::model::settings::RETRY_ELSEWHERE;
use crate::model::time::Timestamp;
use crate::store::failing::{FailedGroup, Failing, KEPT};
use crate::store::{StoreError, View};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// The other servers that a task of a class may wait for: none that refused it, and no suspect. The rule by which people are told and
/// by which the dispatcher decides.
pub struct OtherServers<'a> {
    pub fleet: &'a Fleet,
    pub query: &'a Query,
    /// Servers that refused the task, and suspects.
    pub without: Vec<ServerId>,
    /// How long a server that is down is waited for.
    pub patience: Duration,
}

impl OtherServers<'_> {
    /// Is there one, besides those on which it failed?
    pub fn any(&self, failed_on: &[ServerId]) -> bool {
        self.fleet.could_elsewhere(self.query, &[&self.without, failed_on].concat(), self.patience)
    }

    /// The same for a wait that ends soon.
    pub fn any_soon(&self, failed_on: &[ServerId]) -> bool {
        self.fleet.could_elsewhere_soon(self.query, &[&self.without, failed_on].concat(), self.patience)
    }
}

/// What keeps waiting tasks of a class from servers of a fleet.
pub struct Avoiding<'a> {
    view: &'a View<'a>,
    fleet: &'a Fleet,
    query: &'a Query,
    class: ClassId,
    now: Timestamp,
    /// How long a failed member waits for another server.
    patience: Duration,
    /// Servers on which much fails; read when they matter.
    suspects: OnceCell<Vec<(ServerId, Failing)>>,
}

impl<'a> Avoiding<'a> {
    pub fn new(
        view: &'a View<'a>,
        fleet: &'a Fleet,
        query: &'a Query,
        class: ClassId,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let patience = view.value_of(&RETRY_ELSEWHERE)?;
        Ok(Self { view, fleet, query, class, now, patience, suspects: OnceCell::new() })
    }

    /// The class of the tasks.
    pub const fn class(&self) -> ClassId {
        self.class
    }

    /// The servers that a task of which so many members wait, or a waiting member of it, is kept from.
    pub fn of(
        &self,
        task: TaskId,
        waiting: u32,
        index: Option<Index>,
    ) -> Result<Vec<(ServerId, Avoidance)>, StoreError> {
        let mut all = self.own(task, waiting, index)?;
        let own: Vec<ServerId> = all.iter().map(|(server, _)| *server).collect();
        let refused: Vec<ServerId> = refused(&all).collect();
        all.extend(self.paused(&refused)?.into_iter().filter(|(server, _)| !own.contains(server)));
        Ok(all)
    }

    /// Those that this task is kept from and its equals are not: they refused it, or it failed there.
    pub fn own(
        &self,
        task: TaskId,
        waiting: u32,
        index: Option<Index>,
    ) -> Result<Vec<(ServerId, Avoidance)>, StoreError> {
        let refusals = self.refused(task)?;
        let mut all: Vec<_> = refusals.into_iter().map(|(server, why)| (server, Avoidance::Refused { why })).collect();
        let refused: Vec<ServerId> = refused(&all).collect();
        let failed = self.failed_there(task, waiting, index, &refused)?.into_iter();
        all.extend(failed.filter(|(server, _)| !refused.contains(server)));
        Ok(all)
    }

    /// Those that refused to start it, each with the reason.
    pub fn refused(&self, task: TaskId) -> Result<Vec<(ServerId, String)>, StoreError> {
        self.view.refusals(task)
    }

    /// Those on which all of it that waits failed, unless no other server could run it. `refused`: by these servers.
    pub fn failed_there(
        &self,
        task: TaskId,
        waiting: u32,
        index: Option<Index>,
        refused: &[ServerId],
    ) -> Result<Vec<(ServerId, Avoidance)>, StoreError> {
        let groups = self.view.failed_groups(task, index, self.now.minus(self.patience))?;
        let members: u32 = groups.iter().map(|group| group.members).sum();
        if groups.is_empty() || members < index.map_or(waiting, |_| 1) {
            return Ok(Vec::new());
        }
        let others = self.others(refused)?;
        let left = |ended_at: Timestamp| self.patience.saturating_sub(ended_at.age_at(self.now));
        let failed = failed_on_by_all(&groups, |failed_on| others.any_soon(failed_on)).into_iter();
        Ok(failed.map(|(server, ended_at)| (server, Avoidance::FailedThere { left: left(ended_at) })).collect())
    }

    /// Suspects of the class, unless no other server could run a task of it that these servers refused.
    pub fn paused(&self, refused: &[ServerId]) -> Result<Vec<(ServerId, Avoidance)>, StoreError> {
        let suspects = self.suspects()?;
        let about = suspects.iter().filter(|(_, failing)| failing.about.includes(self.class));
        if suspects.is_empty() || !self.others(refused)?.any(&[]) {
            return Ok(Vec::new());
        }
        Ok(about.map(|(server, failing)| (*server, Avoidance::Pauses { failures: failing.failures })).collect())
    }

    /// Other servers for a task that these refused.
    fn others(&self, refused: &[ServerId]) -> Result<OtherServers<'_>, StoreError> {
        let suspects = self.suspects()?.iter().map(|(server, _)| *server);
        let without = refused.iter().copied().chain(suspects).collect();
        Ok(OtherServers { fleet: self.fleet, query: self.query, without, patience: self.patience })
    }

    fn suspects(&self) -> Result<&[(ServerId, Failing)], StoreError> {
        if let Some(read) = self.suspects.get() {
            return Ok(read);
        }
        let failing = self.view.failing_servers()?.into_iter();
        let fresh = failing.filter(|(_, failing)| failing.at.age_at(self.now) <= KEPT);
        let suspects = fresh.collect();
        Ok(self.suspects.get_or_init(|| suspects))
    }
}

/// The servers of a list that refused the task.
pub fn refused(avoided: &[(ServerId, Avoidance)]) -> impl Iterator<Item = ServerId> {
    avoided.iter().filter(|(_, why)| matches!(why, Avoidance::Refused { .. })).map(|(server, _)| *server)
}

/// The servers on which the members of each group failed, with the first end there. A group that no other server could run goes
/// anywhere: then there are none.
fn failed_on_by_all(groups: &[FailedGroup], elsewhere: impl Fn(&[ServerId]) -> bool) -> BTreeMap<ServerId, Timestamp> {
    let Some((first, others)) = groups.split_first() else { return BTreeMap::new() };
    if !groups.iter().all(|group| elsewhere(&group.servers)) {
        return BTreeMap::new();
    }
    let by_all = first.servers.iter().filter(|server| others.iter().all(|group| group.servers.contains(server)));
    let ended_at = groups.iter().map(|group| group.ended_at).min().unwrap_or(first.ended_at);
    by_all.map(|server| (*server, ended_at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(servers: &[i64], ended_at: i64) -> FailedGroup {
        let servers = servers.iter().copied().map(ServerId).collect();
        FailedGroup { servers, members: 1, ended_at: Timestamp(ended_at) }
    }

    fn by_all(groups: &[FailedGroup], only: &[i64]) -> Vec<(i64, i64)> {
        let elsewhere = |failed_on: &[ServerId]| !only.iter().all(|server| failed_on.contains(&ServerId(*server)));
        failed_on_by_all(groups, elsewhere).into_iter().map(|(server, at)| (server.0, at.0)).collect()
    }

    #[test]
    fn servers_on_which_every_group_failed_are_avoided_until_the_first_of_it_may_return() {
        assert_eq!(by_all(&[group(&[1, 2], 50), group(&[2, 3], 40)], &[9]), [(2, 40)]);
        assert_eq!(by_all(&[group(&[1], 50), group(&[3], 40)], &[9]), []);
        assert_eq!(by_all(&[], &[9]), []);
    }

    #[test]
    fn group_that_no_other_server_could_run_goes_anywhere() {
        assert_eq!(by_all(&[group(&[1, 2], 50), group(&[2], 40)], &[1, 2]), []);
    }
}
