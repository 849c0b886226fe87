//! A client's search: its first-tier set in order, until a member answers with a second tier that takes the task.

use super::front::{self, advance, redirects_to};
use super::members::{AllMembers, no_answer, not_asked, words_of};
use super::peers::{PeerError, Peers};
use super::principal::Principal;
use super::search::{Trace, order as in_order, silent, skipped};
use super::search_lock::SearchLock;
use super::snapshot;
use super::tier2::TierError;
use super::two_pass::{Holder, NOTHING, SearchRefusal, TierOutcome, refuses, two_pass};
use crate::model::bounds;
use crate::model::distributor::{Endpoint, Record, Tier};
use crate::model::failpoint::failpoint;
use crate::model::id::{HomeId, TaskId};
use crate::model::task::{HELD_BY_USER, Request};
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Placed, Question, Refused};
use crate::protocol::envelope::{Envelope, Sealed};
use crate::store::intake::{Begins, NewTask};
use crate::store::{Durability, Store, StoreError};

/// A task that is to be placed.
#[derive(Debug)]
pub struct PlacementRequest<'a> {
    pub envelope: Envelope,
    /// What is sealed in it: the client knows its own task.
    pub request: &'a Request,
    pub principal: &'a Principal,
    /// The client's row, once one was written.
    pub row: Option<TaskId>,
    /// The task's id was told already: its row stays whatever comes.
    pub resumed: bool,
    /// Held from before the row is there until the search has ended.
    going_on: Option<SearchLock>,
}

impl<'a> PlacementRequest<'a> {
    /// A search that begins.
    pub const fn new(envelope: Envelope, request: &'a Request, principal: &'a Principal) -> Self {
        Self { envelope, request, principal, row: None, resumed: false, going_on: None }
    }

    /// One that goes on for a task whose row is there.
    pub const fn again(envelope: Envelope, request: &'a Request, principal: &'a Principal, row: TaskId) -> Self {
        Self { envelope, request, principal, row: Some(row), resumed: true, going_on: None }
    }
}

/// How a search ended.
#[derive(Debug)]
pub enum SearchOutcome {
    /// A task of this home.
    Here(TaskId),
    /// Another home holds it; the id is this home's.
    Away(TaskId),
    /// Somebody was asked to take it and has not said whether it did: it is asked again, and nobody else.
    Open { task: TaskId, why: String },
    /// Nobody takes it.
    Refused(SearchRefusal),
}

/// What one first-tier member gave.
enum Front {
    Done(SearchOutcome),
    /// It has no answer, in these words: the next one is asked.
    Passes(String),
    /// It, or whoever it redirects to, refuses this: the next one is asked.
    Denies(String),
}

/// Searches. Where the answer must come from another home, a row is on the disk before anything is sent.
pub fn place(
    store: &mut Store,
    peers: &mut dyn Peers,
    order: &mut PlacementRequest<'_>,
) -> Result<SearchOutcome, TierError> {
    let outcome = search(store, peers, order);
    order.going_on = None;
    outcome
}

fn search(
    store: &mut Store,
    peers: &mut dyn Peers,
    order: &mut PlacementRequest<'_>,
) -> Result<SearchOutcome, TierError> {
    let mut trace = Trace::default();
    let (set, policy, cursor) = store.read(|view| view.search_set(Tier::First))?;
    for member in &set {
        if let Some(why) = skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    advance(store, &[Tier::First, Tier::Second])?;
    let (mut denied, mut passed) = (false, false);
    let asked: Vec<Record> = in_order(&set, policy, cursor).into_iter().chain(silent(&set)).collect();
    for member in &asked {
        let said = if member.endpoint.is_elsewhere() {
            elsewhere(store, peers, order, member, &mut trace)?
        } else {
            here(store, peers, order, (member, asked.len() == 1), &mut trace)?
        };
        match said {
            Front::Done(outcome) => return Ok(outcome),
            Front::Passes(words) => {
                passed = true;
                trace.first(member.name.as_str(), words);
            }
            Front::Denies(words) => {
                denied = true;
                trace.first(member.name.as_str(), words);
            }
        }
    }
    refused(store, order, nobody(&trace, denied, passed))
}

/// No first-tier member found one of the second that looked at the task: some refuse it, others were passed over.
pub(super) fn nobody(trace: &Trace, denied: bool, passed: bool) -> SearchRefusal {
    let searched = trace.tiers.iter().flat_map(|t| &t.searched);
    let reasons = searched.map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    let what = match (denied, passed) {
        (true, false) => "every distributor that answered refuses this",
        (true, true) => "some distributors refuse this, the others gave no answer",
        (false, _) => "no distributor answered",
    };
    SearchRefusal { summary: format!("{what}{NOTHING}"), reasons, answered: false, denied: denied && !passed }
}

/// What is told of a first tier whose second tier refuses a task: who, stands with the members.
pub(super) const REFUSED_BEHIND: &str = "redirects; refused there";

/// A first-tier member of this home. Where it is the only one, a refusal of its second tier is the answer.
fn here(
    store: &mut Store,
    peers: &mut dyn Peers,
    order: &mut PlacementRequest<'_>,
    (front, alone): (&Record, bool),
    trace: &mut Trace,
) -> Result<Front, TierError> {
    let to = store.read(|view| front::redirect(view, &order.envelope, trace))?;
    if to.list.is_empty() {
        return Ok(Front::Passes(no_answer(&front::nobody_lives().summary)));
    }
    trace.first(front.name.as_str(), redirects_to(&to.list));
    let mut round = order.envelope.round;
    let (request, row, going_on) = (order.request, &mut order.row, &mut order.going_on);
    let outcome = two_pass(
        &to,
        &mut round,
        trace,
        &mut AllMembers {
            store: &mut *store,
            peers,
            envelope: &mut order.envelope,
            principal: order.principal,
            front: front.name.as_str(),
            before_commit: &mut |store, envelope, endpoint| {
                write_down(
                    store,
                    (&mut *row, &mut *going_on),
                    request,
                    order.principal,
                    envelope,
                    front,
                    endpoint,
                    false,
                )
            },
            working: &mut || {},
        },
    )?;
    order.envelope.round = round;
    Ok(match outcome {
        TierOutcome::Took { taken: Holder::Here(task), .. } => Front::Done(SearchOutcome::Here(task)),
        TierOutcome::Took { member, taken: Holder::There(placed) } => {
            let placed = Placed { member: member.name.to_string(), ..*placed };
            Front::Done(landed(store, order, front.name.as_str(), &placed, trace)?)
        }
        TierOutcome::Unsure { member, why } => Front::Done(open(store, order, member.name.as_str(), &why, &[])?),
        TierOutcome::Refused(refusal) if refusal.answered || (alone && refusal.denied) => {
            Front::Done(refused(store, order, refusal)?)
        }
        TierOutcome::Refused(SearchRefusal { denied: true, .. }) => Front::Denies(REFUSED_BEHIND.to_owned()),
        TierOutcome::Refused(refusal) => Front::Passes(no_answer(&refusal.what())),
    })
}

/// A first-tier member of another home.
fn elsewhere(
    store: &mut Store,
    peers: &mut dyn Peers,
    order: &mut PlacementRequest<'_>,
    front: &Record,
    trace: &mut Trace,
) -> Result<Front, TierError> {
    if order.request.user.is_some() {
        return Ok(Front::Passes(not_asked("--user counts only in the home where it is typed")));
    }
    if let Err(why) = order.envelope.may_travel() {
        return Ok(Front::Passes(not_asked(&why)));
    }
    let asked = match ask_front(store, peers, order, front, trace)? {
        // It lost only the line, or came back: it is there, and nobody holds the task.
        FirstTierReply::Nowhere(_) => ask_front(store, peers, order, front, trace)?,
        other => other,
    };
    Ok(match asked {
        FirstTierReply::Said(said) => said,
        FirstTierReply::Nowhere(why) => Front::Passes(no_answer(&why)),
    })
}

/// What came of asking a first tier once.
enum FirstTierReply {
    Said(Front),
    /// It did not answer; asked where the task is, it said that nobody holds it or will.
    Nowhere(String),
}

fn ask_front(
    store: &mut Store,
    peers: &mut dyn Peers,
    order: &mut PlacementRequest<'_>,
    front: &Record,
    trace: &mut Trace,
) -> Result<FirstTierReply, TierError> {
    let envelope = &order.envelope;
    let kept = (&mut order.row, &mut order.going_on);
    write_down(store, kept, order.request, order.principal, envelope, front, &front.endpoint, true)?;
    failpoint("way-before-place");
    let mut among: Vec<HomeId> = Vec::new();
    let said = peers.ask(&front.endpoint, &Question::Place(order.envelope.clone()), &mut |word| {
        if let Answer::Redirect { members } = word {
            among = members;
        }
        true
    });
    failpoint("way-after-place");
    Ok(FirstTierReply::Said(match said {
        Ok(Answer::Placed(placed)) => {
            trace.first(front.name.as_str(), "redirects");
            Front::Done(landed(store, order, front.name.as_str(), &placed, trace)?)
        }
        Ok(Answer::Refused(Refused { summary, reasons, answered: true, denied, .. })) => {
            Front::Done(refused(store, order, SearchRefusal { summary, reasons, answered: true, denied })?)
        }
        Ok(Answer::Refused(said)) if said.denied => {
            take_second(trace, &said.search);
            Front::Denies(REFUSED_BEHIND.to_owned())
        }
        Ok(Answer::Refused(said)) => {
            let why = [vec![said.summary], said.reasons].concat().join("; ");
            Front::Passes(no_answer(&why))
        }
        Ok(Answer::Unsure { member, why }) => Front::Done(open(store, order, &member, &why, &among)?),
        // Not a word about the task: nothing was done with it.
        Ok(Answer::Denied(why)) => Front::Denies(refuses(&why)),
        Err(error @ PeerError::Unreached(_)) => Front::Passes(no_answer(&error)),
        Ok(other) => Front::Done(open(store, order, front.name.as_str(), &words_of(other), &among)?),
        Err(PeerError::Cut(why)) => {
            // Asked again at once: most often it only lost the line.
            match super::reconcile::ask(store, peers, order, &front.endpoint, &among)? {
                Ok(Answer::Placed(placed)) => Front::Done(landed(store, order, front.name.as_str(), &placed, trace)?),
                Ok(Answer::Nowhere) => {
                    order.envelope.round = front::series_end(order.envelope.round) + 1;
                    return Ok(FirstTierReply::Nowhere(why));
                }
                _ => Front::Done(open(store, order, front.name.as_str(), &why, &among)?),
            }
        }
    }))
}

/// Before anything is sent: the client's own row, and who is asked now.
#[expect(clippy::too_many_arguments, reason = "the parts of one row")]
fn write_down(
    store: &mut Store,
    (row, going_on): (&mut Option<TaskId>, &mut Option<SearchLock>),
    request: &Request,
    principal: &Principal,
    envelope: &Envelope,
    front: &Record,
    asked: &Endpoint,
    onward: bool,
) -> Result<(), TierError> {
    let now = Timestamp::now();
    if row.is_none() && going_on.is_none() {
        let begun = SearchLock::begin(store.home(), envelope.uuid);
        let unwritable = |error| StoreError::Unwritable { path: store.home().run_dir(), error };
        *going_on = Some(begun.map_err(unwritable)?);
    }
    let task = store.write(Durability::Full, |tx| {
        let task = match *row {
            Some(task) => task,
            None => {
                let me = tx.user(principal.user.as_str())?;
                let me = me.ok_or_else(|| TierError::Denied(format!("user {} is unknown here", principal.user)))?;
                let client = tx.see_client(&request.client, now)?;
                // Of a first-tier member: a class that no server of ours looks at.
                let class = tx.class_of(front.id, me.id, client, &request.demand)?;
                let new = NewTask {
                    uuid: envelope.uuid,
                    class,
                    user: me.id,
                    request,
                    begins: if request.hold { Begins::Held(HELD_BY_USER) } else { Begins::Waiting },
                    unmatched: false,
                    round: envelope.round,
                    route: (front.name.as_str(), ""),
                    search: None,
                    verdict: None,
                    kept: 0,
                };
                tx.add_task(&new, now)?
            }
        };
        let list = envelope.list.as_ref().map(Sealed::as_bytes);
        tx.ask_away(task, (envelope.sealed.as_bytes(), list), envelope.round, asked, onward, now)?;
        Ok::<_, TierError>(task)
    })?;
    *row = Some(task);
    failpoint("way-row-written");
    Ok(())
}

/// Another home holds it, or, where the way led back, this one.
fn landed(
    store: &mut Store,
    order: &PlacementRequest<'_>,
    front: &str,
    placed: &Placed,
    trace: &mut Trace,
) -> Result<SearchOutcome, TierError> {
    let own = store.view().home_row()?.id;
    if placed.home == own {
        return Ok(SearchOutcome::Here(placed.task.id));
    }
    let Some(task) = order.row else { return Err(TierError::Denied("a task without a row".to_owned())) };
    take_second(trace, &placed.search);
    let now = Timestamp::now();
    store.write(Durability::Normal, |tx| {
        snapshot::placed(tx, task, own, front, placed, now)?;
        let search = tx.keep_note(&serde_json::to_string(trace).unwrap_or_default())?;
        tx.set_search(task, search)
    })?;
    Ok(SearchOutcome::Away(task))
}

/// What the second tier said came from where it was asked.
fn take_second(trace: &mut Trace, search: &str) {
    if let Ok(there) = serde_json::from_str::<Trace>(search) {
        let [_, second] = there.tiers;
        trace.tiers[1] = second;
    }
}

/// Somebody may hold it.
fn open(
    store: &mut Store,
    order: &PlacementRequest<'_>,
    who: &str,
    why: &str,
    among: &[HomeId],
) -> Result<SearchOutcome, TierError> {
    let Some(task) = order.row else { return Err(TierError::Denied(format!("{who}: {why}"))) };
    let now = Timestamp::now();
    let mut why = why.to_owned();
    bounds::cut(&mut why);
    let said = format!("no answer from {who} since {}: {why}", now.local());
    store.write(Durability::Full, |tx| {
        if !among.is_empty() {
            tx.redirected_away(task, among)?;
        }
        tx.set_reason(task, Some(&said))?;
        tx.trace(task, now, &format!("{who} was asked to take it and did not answer: {why}"))
    })?;
    Ok(SearchOutcome::Open { task, why: said })
}

/// Nobody takes it. A row that was written for it goes, if its id was told to nobody.
fn refused(
    store: &mut Store,
    order: &PlacementRequest<'_>,
    refusal: SearchRefusal,
) -> Result<SearchOutcome, TierError> {
    if let Some(task) = order.row.filter(|_| !order.resumed) {
        // A row that came back after a power cut would be searched for, and run.
        store.write(Durability::Full, |tx| tx.drop_away(task))?;
    }
    Ok(SearchOutcome::Refused(refusal))
}
