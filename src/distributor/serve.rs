//! What this home's tiers answer to callers from other homes; `grid serve` is the door, this the counter behind it.

use super::dry;
use super::fleets::Fleets;
use super::front::{self, Sought};
use super::offer::{self, CommitOutcome, Via};
use super::peers::Peers;
use super::principal::{OTHERS, Principal, UuidState, known};
use super::quotas;
use super::search::{Trace, skipped};
use super::snapshot;
use super::tier2::TierError;
use crate::model::failpoint::failpoint;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, How, Placed, Question, Way};
use crate::protocol::envelope::Envelope;
use crate::store::{Durability, Store};

/// Questions to the tiers, by somebody who is known.
#[derive(Debug)]
pub enum TierQuestion<'a> {
    Place(Envelope),
    /// The same, taking nothing.
    Look(Envelope),
    Offer {
        at: Option<&'a Name>,
        called: Option<&'a Name>,
        envelope: &'a Envelope,
        why: bool,
    },
    Commit {
        at: Option<&'a Name>,
        envelope: &'a Envelope,
        how: How,
        way: &'a Way,
    },
    Find(Sought),
}

/// Answers; words on the way go to `each`. The fleets are those of earlier questions, or none.
pub fn answer(
    store: &mut Store,
    fleets: &mut Fleets,
    peers: &mut dyn Peers,
    principal: &Principal,
    asked: TierQuestion<'_>,
    each: &mut dyn FnMut(Answer),
) -> Result<Answer, TierError> {
    match asked {
        TierQuestion::Place(envelope) => {
            let answer = front::place(store, peers, envelope, principal, each)?;
            failpoint("way-before-answer");
            Ok(answer)
        }
        TierQuestion::Look(mut envelope) => dry::answer(store, peers, &mut envelope, principal, each),
        TierQuestion::Offer { at, called, envelope, why } => {
            offer((store, fleets), at, called, (envelope, why), principal)
        }
        TierQuestion::Commit { at, envelope, how, way } => commit((store, fleets), at, envelope, how, way, principal),
        TierQuestion::Find(sought) => front::find(store, peers, &sought, principal, each),
    }
}

/// How a home answers a question that it can't look at now, for it has too many or its own trouble: whoever searches passes it
/// over, for it has refused nobody.
pub const fn unable(question: &Question) -> fn(String) -> Answer {
    match question {
        Question::Offer { .. } => |why| Answer::No { why },
        Question::Place(_) => |why| front::refused(front::no_look(why), &Trace::default()),
        Question::Look(_) => |why| dry::refused(Trace::default(), front::no_look(why)),
        // To a commit `No` would be for good, and the others are not about a search.
        _ => Answer::Denied,
    }
}

fn offer(
    (store, fleets): (&mut Store, &mut Fleets),
    at: Option<&Name>,
    called: Option<&Name>,
    (envelope, why): (&Envelope, bool),
    principal: &Principal,
) -> Result<Answer, TierError> {
    failpoint("way-offer-asked");
    let answer = store.read(|view| {
        let Some(mut member) = offer::member_at(view, at)? else {
            let name = at.map_or_else(String::new, |name| format!(" {name}"));
            return Ok(Answer::No { why: format!("this home has no second-tier distributor{name}") });
        };
        if let Some(why) = skipped(&member) {
            return Ok(Answer::No { why });
        }
        member.called = called.cloned();
        let now = Timestamp::now();
        fleets.catch_up(view, now)?;
        let evaluation = offer::evaluate(view, fleets, &member, envelope, principal, now)?;
        Ok(Answer::Offered(if why { evaluation.offered_with_why(view)? } else { evaluation.offered() }))
    });
    failpoint("way-offer-made");
    answer
}

fn commit(
    (store, fleets): (&mut Store, &mut Fleets),
    at: Option<&Name>,
    envelope: &Envelope,
    how: How,
    way: &Way,
    principal: &Principal,
) -> Result<Answer, TierError> {
    let now = Timestamp::now();
    let trace: Trace = serde_json::from_str(&way.search).unwrap_or_default();
    failpoint("way-commit-asked");
    let taking = store.write(Durability::Full, |tx| {
        let Some(mut member) = offer::member_at(tx, at)? else {
            if known(tx, envelope, principal)? == UuidState::Others {
                return Ok(CommitOutcome::Others);
            }
            quotas::add_tombstone(tx, envelope.uuid, envelope.round, principal, now)?;
            return Ok(CommitOutcome::No("this home has no such second-tier distributor".to_owned()));
        };
        member.called = way.member.parse().ok();
        let via = Via { front: &way.front, member: &way.member, trace: &trace };
        fleets.catch_up(tx, now)?;
        offer::take((tx, fleets), &member, envelope, how, principal, via, now)
    })?;
    failpoint("way-commit-made");
    match taking {
        CommitOutcome::No(why) => Ok(Answer::No { why }),
        // A no would be for good. It may be this caller's after all, taken in under another login of its home.
        CommitOutcome::Others => Ok(Answer::Unsure { member: "it".to_owned(), why: OTHERS.to_owned() }),
        CommitOutcome::Holds(id) => {
            let view = store.view();
            let (task, home) = (snapshot::of(&view, id)?, view.home_row()?.id);
            Ok(Answer::Placed(Placed { home, member: way.member.clone(), task, search: String::new() }))
        }
    }
}
