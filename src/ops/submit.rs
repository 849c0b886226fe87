//! Submit: client's first-tier set -> redirect -> second-tier set -> match -> store -> wake the dispatcher.

use super::desk::Order;
use super::draft::Draft;
use super::{Grid, OpsError, report};
use crate::distributor::search::{self, Trace};
use crate::distributor::tier1;
use crate::distributor::tier2::{Asked, Commit, Committed, How, Offer, TierError, commit};
use crate::model::client::Client;
use crate::model::distributor::{Policy, Record, Tier};
use crate::model::failpoint::failpoint;
use crate::model::id::{Index, TaskId, TaskUuid};
use crate::model::task::{ClientFacts, Request};
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::protocol::envelope::Envelope;
use crate::protocol::seal;
use crate::store::tasks::Shape;
use crate::store::{Durability, Tx, View};

/// Submits a task; it is on the disk when this returns. [`OpsError::NoMatch`] where nothing could ever run it.
pub fn submit(grid: &mut Grid, order: Order) -> Result<report::Submitted, OpsError> {
    let (uuid, open, now) = (order.uuid, order.open, Timestamp::now());
    match grid.store.write(Durability::Full, |tx| within(tx, order, now)) {
        Ok(submitted) => {
            failpoint("client-committed");
            Ok(submitted)
        }
        Err(error) if !open => Err(error),
        // What was refused here may not be taken by a dispatcher that was asked before and did not answer; if it was taken, it counts.
        Err(error) => grid.store.write(Durability::Full, |tx| match tx.task_by_uuid(uuid)? {
            Some(task) => shown(tx, task),
            None => tx.bury(uuid, 1, now).map_err(OpsError::from).and(Err(error)),
        }),
    }
}

/// The same within a transaction: of a command, or of the dispatcher.
pub fn within(tx: &Tx<'_>, order: Order, now: Timestamp) -> Result<report::Submitted, OpsError> {
    if let Some(task) = tx.task_by_uuid(order.uuid)? {
        return shown(tx, task);
    }
    let request = completed(tx, order.draft, order.client)?;
    let client = tx.see_client(&request.client, now)?;
    let client = tx.client_by_id(client)?.ok_or_else(|| OpsError::Grid("the client row is gone".to_owned()))?;
    let user = whose(tx, &request, order.me.as_str())?;
    let envelope = envelope(order.uuid, &request)?;
    let found = find(tx, &envelope, &user, &client, now)?;
    advance(tx)?;
    let task = take(tx, &envelope, found, &request, &user, &client, now)?;
    shown(tx, task)
}

fn shown(view: &View<'_>, task: TaskId) -> Result<report::Submitted, OpsError> {
    let row = view.task(task)?.ok_or_else(|| OpsError::unknown("task", &task.to_string(), []))?;
    Ok(report_of(view, &row))
}

/// Where the task would go now and why; nothing is written.
pub fn dry_run(grid: &mut Grid, draft: Draft) -> Result<report::Explained, OpsError> {
    let now = Timestamp::now();
    let me = grid.me.clone();
    let host = grid.client.clone();
    grid.store.read(|view| {
        let request = completed(view, draft, host)?;
        let client = view.client(&request.client.host)?.unwrap_or_else(|| unseen(&request));
        let user = whose(view, &request, me.as_str())?;
        let found = find(view, &envelope(TaskUuid::new(), &request)?, &user, &client, now)?;
        Ok(super::explain::of_search(&found.trace, found.asked.verdicts(), found.asked.chosen(view)?, now))
    })
}

/// What was typed, with its profile merged in.
fn completed(view: &View<'_>, draft: Draft, host: ClientFacts) -> Result<Request, OpsError> {
    let Some(name) = draft.profile.clone() else { return draft.into_request(None, host) };
    let profile = view.profile(name.as_str())?;
    if profile.is_none() {
        let known = view.profiles()?;
        return Err(OpsError::unknown("profile", name.as_str(), known.iter().map(|p| p.name.as_str())));
    }
    draft.into_request(profile.as_ref(), host)
}

fn envelope(uuid: TaskUuid, request: &Request) -> Result<Envelope, OpsError> {
    let sealed = seal::seal(request).map_err(|e| OpsError::Usage(e.to_string()))?;
    Ok(Envelope { version: 1, uuid, round: 1, user: None, hops: 0, sealed })
}

fn unseen(request: &Request) -> Client {
    let facts = request.client.clone();
    let id = crate::model::id::ClientId(0);
    Client { id, host: facts.host, user: facts.user, os: facts.os, arch: facts.arch, attributes: Default::default() }
}

/// The user whose attributes count: the caller, or the one that the owner named.
fn whose(view: &View<'_>, request: &Request, me: &str) -> Result<User, OpsError> {
    let name = request.user.as_ref().map_or(me, |n| n.as_str());
    if let Some(user) = view.user(name)? {
        return Ok(user);
    }
    let known = view.users()?;
    Err(OpsError::unknown("user", name, known.iter().map(|u| u.name.as_str())))
}

/// Where a search ended.
struct Found {
    front: Record,
    member: Record,
    asked: Asked,
    offer: Offer,
    trace: Trace,
}

/// Searches the first-tier set until a member answers, then the second-tier set that it redirects to.
fn find(view: &View<'_>, envelope: &Envelope, user: &User, client: &Client, now: Timestamp) -> Result<Found, OpsError> {
    let mut trace = Trace::default();
    let (policy, cursor) = view.search_policy(Tier::First)?;
    let first_tier = view.distributors(Tier::First)?;
    for member in &first_tier {
        if let Some(why) = search::skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    for front in search::order(&first_tier, policy, cursor) {
        let second_tier = view.distributors(Tier::Second)?;
        let (policy, cursor) = view.search_policy(Tier::Second)?;
        let list = tier1::redirect(envelope, &second_tier, policy, cursor);
        if list.is_empty() {
            trace.first(front.name.as_str(), "no answer: it knows no live second-tier distributor");
            continue;
        }
        let names: Vec<&str> = list.iter().map(|m| m.name.as_str()).collect();
        trace.first(front.name.as_str(), format!("redirects to {}", names.join(", ")));
        for member in &second_tier {
            if let Some(why) = search::skipped(member) {
                trace.second(member.name.as_str(), why);
            }
        }
        return walk(view, envelope, front, &list, user, client, now, trace);
    }
    let reasons =
        trace.tiers.iter().flat_map(|t| &t.searched).map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    Err(OpsError::NoMatch { summary: "no distributor answered; nothing was submitted".to_owned(), reasons })
}

/// The second tier, in two passes: who can start it now, else who could ever run it.
#[expect(clippy::too_many_arguments, reason = "the parts of one search; a struct would only rename them")]
fn walk(
    view: &View<'_>,
    envelope: &Envelope,
    front: Record,
    list: &[Record],
    user: &User,
    client: &Client,
    now: Timestamp,
    mut trace: Trace,
) -> Result<Found, OpsError> {
    let request = seal::open(&envelope.sealed).map_err(|e| OpsError::Usage(e.to_string()))?;
    let mut later = Vec::new();
    for member in list {
        let mut asked = Asked::new(view, member.id, &request.demand, user, client).map_err(refusal)?;
        let offer = asked.offer(view, member.id, &request.demand, now).map_err(refusal)?;
        trace.second(member.name.as_str(), asked.words(&offer));
        if offer == Offer::Now {
            return Ok(Found { front, member: member.clone(), asked, offer, trace });
        }
        later.push((member, asked, offer));
    }
    if let Some(at) = later.iter().position(|(_, _, offer)| *offer == Offer::Later) {
        let (member, asked, offer) = later.swap_remove(at);
        return Ok(Found { front, member: member.clone(), asked, offer, trace });
    }
    if request.hold_unmatched && !later.is_empty() {
        let (member, asked, offer) = later.swap_remove(0);
        trace.second(member.name.as_str(), "keeps it held: unmatched");
        return Ok(Found { front, member: member.clone(), asked, offer, trace });
    }
    Err(no_match(&later, &trace))
}

fn no_match(asked: &[(&Record, Asked, Offer)], trace: &Trace) -> OpsError {
    let mut reasons = Vec::new();
    for (member, asked, _) in asked {
        for verdict in asked.verdicts() {
            reasons.push(format!("{}/{}: {}", member.name, verdict.server, verdict.reasons.join("; ")));
        }
        if asked.verdicts().is_empty() {
            reasons.push(format!("{}: has no servers", member.name));
        }
        reasons.extend(asked.relaxations());
    }
    for searched in &trace.tiers[1].searched {
        if !asked.iter().any(|(member, _, _)| member.name.as_str() == searched.distributor) {
            reasons.push(format!("{}: {}", searched.distributor, searched.answer));
        }
    }
    OpsError::NoMatch { summary: "no server could ever run this; nothing was submitted".to_owned(), reasons }
}

pub(super) fn refusal(error: TierError) -> OpsError {
    match error {
        TierError::Store(error) => error.into(),
        TierError::Expression(error) => OpsError::Usage(error.to_string()),
    }
}

/// Round-robin begins one member further for each task.
fn advance(tx: &Tx<'_>) -> Result<(), OpsError> {
    for tier in [Tier::First, Tier::Second] {
        if tx.search_policy(tier)?.0 == Policy::RoundRobin {
            tx.advance_cursor(tier)?;
        }
    }
    Ok(())
}

fn take(
    tx: &Tx<'_>,
    envelope: &Envelope,
    found: Found,
    request: &Request,
    user: &User,
    client: &Client,
    now: Timestamp,
) -> Result<TaskId, OpsError> {
    let how = match found.offer {
        _ if request.hold => How::Hold { unmatched: false },
        Offer::Now => How::Now,
        Offer::Later => How::Queue,
        Offer::Never => How::Hold { unmatched: true },
    };
    let search = tx.keep_note(&serde_json::to_string(&found.trace).unwrap_or_default())?;
    let asked_for = Commit {
        uuid: envelope.uuid,
        round: envelope.round,
        request,
        user: user.id,
        client: client.id,
        member: &found.member,
        front: found.front.name.as_str(),
        search: Some(search),
        how,
    };
    match commit(tx, &asked_for, &found.asked, now).map_err(refusal)? {
        Committed::Taken(task) => Ok(task),
        Committed::Buried => Err(OpsError::Refused("this task was refused for good".to_owned())),
    }
}

/// The head of every report about a task.
pub(super) fn report_of(view: &View<'_>, row: &crate::store::tasks::TaskRow) -> report::Submitted {
    let member = if row.shape == Shape::Single { view.member(row.id, Index(0)).ok().flatten() } else { None };
    let server = member.and_then(|m| m.server).and_then(|id| view.server_name(id).ok().flatten());
    report::Submitted {
        id: row.id.to_string(),
        uuid: row.uuid.to_string(),
        state: row.state(),
        reason: row.reason.clone().filter(|_| !row.state().ended()),
        server: server.map(|name| name.to_string()),
        route: vec![row.tier1.clone(), row.tier2.clone()],
        size: (row.shape != Shape::Single).then_some(row.size),
    }
}
