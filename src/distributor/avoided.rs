//! Servers that a waiting task is kept from though they may fit: those on which it failed, and suspects. As the database tells of
//! them, for people; the dispatcher decides by what it has seen itself.

use super::tier2::Candidates;
use crate::matching::Avoidance;
use crate::model::id::{Index, ServerId};
use crate::model::settings::RETRY_ELSEWHERE;
use crate::model::time::Timestamp;
use crate::store::failing::KEPT;
use crate::store::tasks::TaskRow;
use crate::store::{StoreError, View};
use std::collections::BTreeMap;
use std::time::Duration;

impl Candidates<'_> {
    /// The servers that a waiting task, or a waiting member of it, is kept from. None that it goes to because no other could run it.
    pub fn avoided(
        &self,
        view: &View<'_>,
        row: &TaskRow,
        index: Option<Index>,
        now: Timestamp,
    ) -> Result<Vec<(ServerId, Avoidance)>, StoreError> {
        let patience = view.value_of(&RETRY_ELSEWHERE)?;
        let failing = view.failing_servers()?.into_iter().filter(|(_, failing)| failing.at.age_at(now) <= KEPT);
        let suspects: Vec<(ServerId, u32)> = failing.map(|(server, failing)| (server, failing.failures)).collect();
        let others_than = |servers: &[ServerId]| {
            let without: Vec<ServerId> =
                suspects.iter().map(|(server, _)| *server).chain(servers.iter().copied()).collect();
            self.could_elsewhere(&without, patience)
        };
        let failed_on = failed_on(view, row, index, patience, now)?;
        let servers: Vec<ServerId> = failed_on.keys().copied().collect();
        let mut all = Vec::new();
        if !servers.is_empty() && others_than(&servers) {
            all.extend(failed_on.into_iter().map(|(server, left)| (server, Avoidance::FailedThere { left })));
        }
        if !suspects.is_empty() && others_than(&[]) {
            let paused = suspects.into_iter().filter(|(server, _)| !servers.contains(server));
            all.extend(paused.map(|(server, failures)| (server, Avoidance::Pauses { failures })));
        }
        Ok(all)
    }
}

/// The servers on which every waiting member failed, each with the time until the first of them may return there.
fn failed_on(
    view: &View<'_>,
    row: &TaskRow,
    index: Option<Index>,
    patience: Duration,
    now: Timestamp,
) -> Result<BTreeMap<ServerId, Duration>, StoreError> {
    let failed = view.failed_members()?.into_iter().filter(|(member, _)| member.task == row.id);
    let failed = failed.filter(|(member, _)| index.is_none_or(|index| member.index == index));
    let kept: Vec<(Index, Duration)> = failed
        .map(|(member, ended_at)| (member.index, patience.saturating_sub(ended_at.age_at(now))))
        .filter(|(_, left)| *left > Duration::ZERO)
        .collect();
    let waiting = index.map_or(row.counts.waiting as usize, |_| 1);
    let mut servers: Option<BTreeMap<ServerId, Duration>> = None;
    for (index, left) in kept.iter().filter(|_| kept.len() == waiting) {
        let on = view.failed_on(row.id, *index)?;
        let of_all = match servers.take() {
            None => on.into_iter().map(|server| (server, *left)).collect(),
            Some(others) => others
                .into_iter()
                .filter(|(server, _)| on.contains(server))
                .map(|(server, least)| (server, least.min(*left)))
                .collect(),
        };
        if servers.insert(of_all).is_empty() {
            break;
        }
    }
    Ok(servers.unwrap_or_default())
}
