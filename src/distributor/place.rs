//! A client's search: its first-tier set in order, until a member answers with a second tier that takes the task.

use super::client_row::{Asked, ClientRow, take_second};
use super::context::TierContext;
use super::front::{self, advance, redirects_to};
use super::members::{AllMembers, no_answer, not_asked, words_of};
use super::peers::PeerError;
use super::principal::Principal;
use super::refusal::{RefusalCause, SearchRefusal};
use super::search::{Trace, order as in_order, silent, skipped};
use super::tier2::TierError;
use super::two_pass::{Holder, TierOutcome, refuses, two_pass};
use crate::model::distributor::{Endpoint, Record, Tier};
use crate::model::failpoint::failpoint;
use crate::model::id::{HomeId, TaskId};
use crate::model::task::Request;
use crate::protocol::distributor::{Answer, Placed, Question, Refused};
use crate::protocol::envelope::Envelope;
use crate::store::{Durability, StoreError};
use std::collections::VecDeque;

/// A task that is to be placed.
#[derive(Debug)]
pub struct PlacementRequest<'a> {
    pub envelope: Envelope,
    pub client: ClientRow<'a>,
}

impl<'a> PlacementRequest<'a> {
    /// A search that begins.
    pub const fn new(envelope: Envelope, request: &'a Request, principal: &'a Principal) -> Self {
        Self { envelope, client: ClientRow { request, principal, row: None, resumed: false, lock: None } }
    }

    /// A search that is resumed for a task with a row.
    pub const fn again(envelope: Envelope, request: &'a Request, principal: &'a Principal, row: TaskId) -> Self {
        Self { envelope, client: ClientRow { request, principal, row: Some(row), resumed: true, lock: None } }
    }
}

/// How a search ended.
#[derive(Debug)]
pub enum SearchOutcome {
    /// A task of this home.
    Here(TaskId),
    /// Another home holds it; the id is this home's.
    Away(TaskId),
    /// A distributor was asked to take it and has not said whether it did: it is asked again, and no other one.
    Open { task: TaskId, why: String },
    /// Nobody takes it.
    Refused(SearchRefusal),
}

/// What one first-tier member gave.
enum Front {
    Done(SearchOutcome),
    /// It has no answer, in these words: the next one is asked.
    Passes(String),
    /// It has no answer, in these words, but a drained member behind it alone could run the task.
    Waits {
        words: String,
        waits_for: String,
    },
    /// It gave no sign of life at once: the others are asked first.
    Late,
    /// No server behind it could run the task. If some members there gave no answer, the next one is asked.
    Refused(SearchRefusal),
    /// It, or every member that it redirects to, refuses the task: the next one is asked.
    Denies(String),
}

/// Searches. If another home has to answer, a row is on the disk before anything is sent.
pub fn place(context: &mut TierContext<'_>, order: &mut PlacementRequest<'_>) -> Result<SearchOutcome, TierError> {
    let mut trace = Trace::default();
    let outcome = match search(context, order, &mut trace) {
        Ok(SearchOutcome::Refused(refusal)) => wait_for_drained(context, order, refusal, &trace),
        other => other,
    };
    order.client.lock = None;
    outcome
}

/// Keeps a task in this home that a drained member alone could run: it is searched for again until somebody takes it.
fn wait_for_drained(
    context: &mut TierContext<'_>,
    order: &mut PlacementRequest<'_>,
    refusal: SearchRefusal,
    trace: &Trace,
) -> Result<SearchOutcome, TierError> {
    let Some(why) = refusal.waits_for.clone().filter(|_| !order.client.resumed) else {
        return Ok(SearchOutcome::Refused(refusal));
    };
    // Files are sent by the command that submits, and this one ends before there is somebody to send them to.
    if order.client.request.launch.workplace.sent().is_some() {
        return order.client.refused(context, SearchRefusal { waits_for: None, ..refusal });
    }
    if order.client.row.is_none() {
        let set = context.store.view().distributors(Tier::First)?;
        let Some(front) = set.first() else { return Ok(SearchOutcome::Refused(refusal)) };
        // Nobody was asked to take it.
        order.client.record(context, &order.envelope, Asked { front, endpoint: &Endpoint::Local, onward: false })?;
    }
    order.client.waits(context, why, trace)
}

fn search(
    context: &mut TierContext<'_>,
    order: &mut PlacementRequest<'_>,
    trace: &mut Trace,
) -> Result<SearchOutcome, TierError> {
    let (set, policy, cursor) = context.store.read(|view| view.search_set(Tier::First))?;
    for member in &set {
        if let Some(why) = skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    advance(context.store, &[Tier::First, Tier::Second])?;
    let (mut denied, mut passed, mut waits_for, mut partial) = (false, false, None, None);
    let asked: Vec<Record> = in_order(&set, policy, cursor).into_iter().chain(silent(&set)).collect();
    let alone = asked.len() == 1;
    // A member that is late is asked again, with all the time that it needs, once the others gave no answer.
    let mut turns: VecDeque<(&Record, bool)> = asked.iter().map(|member| (member, true)).collect();
    while let Some((member, soon)) = turns.pop_front() {
        let said = if member.endpoint.is_elsewhere() {
            elsewhere(context, order, &FirstTierTurn { front: member, soon: soon && !turns.is_empty() }, trace)?
        } else {
            here(context, order, member, alone, trace)?
        };
        match said {
            Front::Done(outcome) => return Ok(outcome),
            Front::Late => turns.push_back((member, false)),
            Front::Waits { words, waits_for: why } => {
                waits_for.get_or_insert(why);
                trace.first(member.name.as_str(), words);
            }
            // What others could not reach may be able to run it all the same.
            Front::Refused(refusal) if !refusal.is_partial() => {
                return order.client.refused(context, partial.unwrap_or(refusal));
            }
            Front::Refused(refusal) => {
                passed = true;
                trace.first(member.name.as_str(), partly(&refusal));
                partial.get_or_insert(refusal);
                order.envelope.round = front::next_series(order.envelope.round);
            }
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
    // No other one has looked at the task.
    if let Some(refusal) = partial {
        return order.client.refused(context, refusal);
    }
    let waits_for = waits_for.filter(|_| !denied && !passed);
    let passed = passed || waits_for.is_some();
    order.client.refused(context, SearchRefusal { waits_for, ..nobody(trace, denied, passed) })
}

/// No first-tier member found a second-tier one that looked at the task. `denied`: some refuse it; `passed`: some gave no answer.
pub(super) fn nobody(trace: &Trace, denied: bool, passed: bool) -> SearchRefusal {
    let searched = trace.tiers.iter().flat_map(|t| &t.searched);
    let reasons = searched.map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    let cause = match denied {
        true => RefusalCause::DistributorsRefuse { partial: passed },
        false => RefusalCause::NoDistributor,
    };
    SearchRefusal { cause, reasons, answered: false, denied: denied && !passed, waits_for: None }
}

/// The answer of a first tier whose second tier refuses a task; the trace names the members that refuse.
pub(super) const REFUSED_BEHIND: &str = "redirects; refused there";

/// The answer of a first tier that could not ask its whole second tier.
pub(super) fn partly(refusal: &SearchRefusal) -> String {
    format!("redirects; {}", refusal.what())
}

/// A first-tier member of this home. `alone`: it is the only one, and a refusal of its second tier is the answer.
fn here(
    context: &mut TierContext<'_>,
    order: &mut PlacementRequest<'_>,
    front: &Record,
    alone: bool,
    trace: &mut Trace,
) -> Result<Front, TierError> {
    let to = context.store.read(|view| front::redirect(view, &order.envelope, trace))?;
    if to.is_empty() {
        return Ok(Front::Passes(no_answer(&front::nobody_lives().what())));
    }
    trace.first(front.name.as_str(), redirects_to(&to.list));
    let mut round = order.envelope.round;
    let client = &mut order.client;
    let principal = client.principal;
    let mut members = AllMembers {
        context: context.reborrow(),
        envelope: &mut order.envelope,
        principal,
        front: front.name.as_str(),
        offers_first: false,
        before_commit: &mut |context, envelope, endpoint| match endpoint.is_elsewhere() {
            true => client.record(context, envelope, Asked { front, endpoint, onward: false }),
            false => Ok(()),
        },
        working: &mut || {},
    };
    let outcome = two_pass(&to, &mut round, trace, &mut members)?;
    order.envelope.round = round;
    Ok(match outcome {
        TierOutcome::Took { taken: Holder::Here(task), .. } => Front::Done(SearchOutcome::Here(task)),
        TierOutcome::Took { member, taken: Holder::There(placed) } => {
            front::count_placed(context.store, &member, &placed);
            let placed = Placed { member: member.name.to_string(), ..*placed };
            Front::Done(order.client.landed(context, front.name.as_str(), &placed, trace)?)
        }
        TierOutcome::Unsure { member, why } => {
            Front::Done(order.client.open(context, member.name.as_str(), &why, &[])?)
        }
        TierOutcome::Refused(refusal) if refusal.answered || (alone && refusal.denied) => Front::Refused(refusal),
        TierOutcome::Refused(SearchRefusal { waits_for: Some(waits_for), cause, .. }) => {
            Front::Waits { words: no_answer(&String::from(cause)), waits_for }
        }
        TierOutcome::Refused(SearchRefusal { denied: true, .. }) => Front::Denies(REFUSED_BEHIND.to_owned()),
        TierOutcome::Refused(refusal) => Front::Passes(no_answer(&refusal.what())),
    })
}

/// What a task waits for behind a first tier of another home: what is drained has its name there.
pub(super) fn waits_behind(front: &str, waits_for: &str) -> String {
    format!("{front}: {waits_for}")
}

/// A first-tier member whose turn it is.
struct FirstTierTurn<'a> {
    front: &'a Record,
    /// Others can be asked instead, if it gives no sign of life at once.
    soon: bool,
}

/// A first-tier member of another home.
fn elsewhere(
    context: &mut TierContext<'_>,
    order: &mut PlacementRequest<'_>,
    turn: &FirstTierTurn<'_>,
    trace: &mut Trace,
) -> Result<Front, TierError> {
    if order.client.request.user.is_some() {
        return Ok(Front::Passes(not_asked("--user counts only in the home where it is typed")));
    }
    if let Err(why) = order.envelope.may_travel() {
        return Ok(Front::Passes(not_asked(&why)));
    }
    let asked = match ask_front(context, order, turn, trace)? {
        // Only the link was lost, or it came back: it answers, and no member holds the task.
        FirstTierReply::Nowhere(_) => ask_front(context, order, turn, trace)?,
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
    context: &mut TierContext<'_>,
    order: &mut PlacementRequest<'_>,
    turn: &FirstTierTurn<'_>,
    trace: &mut Trace,
) -> Result<FirstTierReply, TierError> {
    let front = turn.front;
    let asked = Asked { front, endpoint: &front.endpoint, onward: true };
    order.client.record(context, &order.envelope, asked)?;
    failpoint("way-before-place");
    let HeardRedirect { said, among, on_go } = ask_to_place(context, order, turn)?;
    // The go is said behind the redirect: without that no member was asked to take the task.
    let untold = on_go && among.is_none();
    let among = among.unwrap_or_default();
    failpoint("way-after-place");
    let (name, client) = (front.name.as_str(), &order.client);
    Ok(FirstTierReply::Said(match said {
        Ok(Answer::Placed(placed)) => {
            trace.first(name, "redirects");
            Front::Done(client.landed(context, name, &placed, trace)?)
        }
        Ok(Answer::Refused(Refused { summary, reasons, answered: true, denied, waits_for, .. })) => {
            let waits_for = waits_for.map(|why| waits_behind(name, &why));
            let refusal = SearchRefusal { cause: summary.into(), reasons, answered: true, denied, waits_for };
            Front::Refused(refusal)
        }
        Ok(Answer::Refused(said)) if said.denied => {
            take_second(trace, &said.search);
            Front::Denies(REFUSED_BEHIND.to_owned())
        }
        Ok(Answer::Refused(Refused { waits_for: Some(waits_for), summary, search, .. })) => {
            take_second(trace, &search);
            Front::Waits { words: no_answer(&summary), waits_for: waits_behind(name, &waits_for) }
        }
        Ok(Answer::Refused(said)) => {
            let why = [vec![said.summary], said.reasons].concat().join("; ");
            Front::Passes(no_answer(&why))
        }
        Ok(Answer::Unsure { member, why }) => Front::Done(client.open(context, &member, &why, &among)?),
        // Nothing is said about the task: nothing was done with it.
        Ok(Answer::Denied(why)) => Front::Denies(refuses(&why)),
        Err(error @ PeerError::Unreached(_)) => Front::Passes(no_answer(&error)),
        Err(error @ PeerError::Late(_)) => {
            trace.first(name, no_answer(&error));
            Front::Late
        }
        Err(PeerError::Cut(why)) if untold => return Ok(FirstTierReply::Nowhere(why)),
        Ok(other) if untold => Front::Passes(no_answer(&words_of(other))),
        Ok(other) => Front::Done(client.open(context, name, &words_of(other), &among)?),
        Err(PeerError::Cut(why)) => {
            // Asked again at once: most often only the link was lost.
            match super::reconcile::ask(context, order, &front.endpoint, &among)? {
                Ok(Answer::Placed(placed)) => Front::Done(client.landed(context, name, &placed, trace)?),
                Ok(Answer::Nowhere) => {
                    order.envelope.round = front::next_series(order.envelope.round);
                    return Ok(FirstTierReply::Nowhere(why));
                }
                _ => Front::Done(client.open(context, name, &why, &among)?),
            }
        }
    }))
}

/// What a first tier said to a question to place a task.
struct HeardRedirect {
    said: Result<Answer, PeerError>,
    /// The homes that it redirected to; None: no redirect was heard.
    among: Option<Vec<HomeId>>,
    /// It asks no member to take the task before the caller's go; an older grid does.
    on_go: bool,
}

/// Asks a first tier to place the task. A redirect is recorded before the go is said: a process that continues this
/// search knows then who may hold the task.
fn ask_to_place(
    context: &mut TierContext<'_>,
    order: &PlacementRequest<'_>,
    turn: &FirstTierTurn<'_>,
) -> Result<HeardRedirect, TierError> {
    let TierContext { store, peers, .. } = context;
    let (mut among, mut recorded) = (None, Ok::<_, StoreError>(()));
    let mut each = |word| {
        if let (Answer::Redirect { members }, Some(row)) = (word, order.client.row) {
            // After a power cut the first tier alone can be asked, which is still safe.
            recorded = store.write(Durability::Normal, |tx| tx.redirected_away(row, &members));
            among = Some(members);
        }
        recorded.is_ok()
    };
    let endpoint = &turn.front.endpoint;
    let mut ask = |question: &Question| match turn.soon {
        true => peers.ask_soon(endpoint, question, &mut each),
        false => peers.ask(endpoint, question, &mut each),
    };
    let mut on_go = true;
    let mut said = ask(&Question::PlaceOnGo(order.envelope.clone()));
    if matches!(said, Ok(Answer::No { .. })) {
        // It is too old for that question.
        on_go = false;
        said = ask(&Question::Place(order.envelope.clone()));
    }
    recorded?;
    // Behind a redirect it is not known what was done with the task, whatever became of the link.
    let said = match said {
        Err(PeerError::Unreached(why) | PeerError::Late(why)) if among.is_some() => Err(PeerError::Cut(why)),
        said => said,
    };
    Ok(HeardRedirect { said, among, on_go })
}
