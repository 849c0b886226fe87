//! Snapshots of tasks: made of a task of this home for the home that submitted it, and recorded there.

use crate::model::id::{HomeId, Index, TaskId};
use crate::model::time::Timestamp;
use crate::protocol::distributor::{HeardEnd, Placed, Snapshot};
use crate::store::away::Heard;
use crate::store::intake::TierRoute;
use crate::store::members::MemberRow;
use crate::store::tasks::Shape;
use crate::store::{Result, StoreError, Tx, View};

/// The snapshot of a task of this home.
pub fn of(view: &View<'_>, id: TaskId) -> Result<Snapshot> {
    let gone = || StoreError::Corrupt { path: "grid.db".into(), found: format!("task {id} is gone") };
    let row = view.task(id)?.ok_or_else(gone)?;
    let member = if row.shape == Shape::Single { view.member(id, Index(0))? } else { None };
    let server = member.as_ref().and_then(MemberRow::server).map_or(Ok(None), |server| view.server_name(server))?;
    let last = member.as_ref().and_then(MemberRow::last);
    Ok(Snapshot {
        uuid: row.uuid,
        id,
        counts: row.counts,
        server: server.map(|name| name.to_string()),
        reason: row
            .reason
            .map(|reason| reason.words().to_owned())
            .or_else(|| last.and_then(|last| last.detail.clone())),
        exit_code: row.exit_code,
        shell_code: row.shell_code,
        signal: last.and_then(|last| last.signal),
        started_at: if row.shape == Shape::Single {
            member.as_ref().and_then(MemberRow::started_at)
        } else {
            row.started_at
        },
        ended_at: row.ended_at,
    })
}

/// Records the snapshot of a task in another home. One with another number of members is reported as the row's reason, and the last
/// state stays. Gives the end until it is confirmed: its owner keeps the task until then.
pub fn hear(tx: &Tx<'_>, task: TaskId, said: &Snapshot, now: Timestamp) -> Result<Option<HeardEnd>> {
    let before = tx.task(task)?;
    let (size, told) = (before.as_ref().map_or(0, |row| row.size), said.counts.size());
    if size != told {
        tx.unheard_away(task, now)?;
        tx.set_away_reason(task, &format!("its home tells of {told} members, it has {size}"))?;
        return Ok(None);
    }
    let knew = before.is_some_and(|row| row.counts.unended() == 0 && row.ended_at == said.ended_at);
    let heard = Heard {
        counts: &said.counts,
        server: said.server.as_deref(),
        reason: said.reason.as_deref(),
        exit_code: said.exit_code,
        shell_code: said.shell_code,
        signal: said.signal,
        started_at: said.started_at,
        ended_at: said.ended_at,
        news: !knew,
    };
    tx.heard_away(task, &heard, now)?;
    let unconfirmed = tx.away(task)?.is_some_and(|away| away.unconfirmed);
    Ok(said.end().filter(|_| unconfirmed))
}

/// Records which home took a task. If the way led back to this home, the row is its own task by now. Gives its end if it has ended.
pub fn placed(
    tx: &Tx<'_>,
    task: TaskId,
    own: HomeId,
    front: &str,
    placed: &Placed,
    now: Timestamp,
) -> Result<Option<HeardEnd>> {
    if placed.home == own || tx.away(task)?.is_none() {
        return Ok(None);
    }
    let route = TierRoute { tier1: front, tier2: &placed.member };
    tx.placed_away(task, placed.home, placed.task.id, route)?;
    hear(tx, task, &placed.task, now)
}
