//! What the tiers of this home answer to other homes. `grid serve` is the process that hears the questions.

use super::context::TierContext;
use super::dry;
use super::fleets::Fleets;
use super::front::{self, Asker, PlaceQuestion, Sought};
use super::moving;
use super::offer::{self, CommitOutcome, IncomingTask, Via};
use super::principal::{OTHERS, Principal, UuidState, known};
use super::quotas;
use super::search::{Trace, skipped};
use super::snapshot;
use super::tier2::TierError;
use crate::model::failpoint::failpoint;
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::protocol::distributor::{Answer, How, Offered, Placed, Question, Way};
use crate::protocol::envelope::Envelope;
use crate::store::Durability;

/// A question to the tiers, by a principal.
#[derive(Debug)]
pub enum TierQuestion<'a> {
    Place(PlaceQuestion),
    /// The same search, taking nothing.
    Look(Envelope),
    Offer(OfferQuestion<'a>),
    Commit(CommitQuestion<'a>),
    Find(Sought),
    /// Give this task up, for good up to this round.
    GiveUp {
        uuid: TaskUuid,
        round: u32,
    },
}

/// What would the member do with this task?
#[derive(Debug)]
pub struct OfferQuestion<'a> {
    /// The member; None: the first one of this home.
    pub at: Option<&'a Name>,
    /// The member's name in the home that searches.
    pub called: Option<&'a Name>,
    pub envelope: &'a Envelope,
    /// With verdicts, server by server.
    pub why: bool,
    /// Also if it is drained: what it could do later.
    pub even_drained: bool,
}

/// The member is to take this task.
#[derive(Debug)]
pub struct CommitQuestion<'a> {
    /// The member; None: the first one of this home.
    pub at: Option<&'a Name>,
    pub envelope: &'a Envelope,
    pub how: How,
    pub way: &'a Way,
}

/// Answers. The fleets are those of earlier questions, or none.
pub fn answer(
    context: &mut TierContext<'_>,
    fleets: &mut Fleets,
    principal: &Principal,
    asked: TierQuestion<'_>,
    asker: &mut dyn Asker,
) -> Result<Answer, TierError> {
    let mut each = |word| asker.say(word);
    match asked {
        TierQuestion::Place(question) => {
            let answer = front::place(context, question, principal, asker)?;
            failpoint("way-before-answer");
            Ok(answer)
        }
        TierQuestion::Look(mut envelope) => dry::answer(context, &mut envelope, principal, &mut each),
        TierQuestion::Offer(question) => offer(context, fleets, principal, &question),
        TierQuestion::Commit(question) => commit(context, fleets, principal, &question),
        TierQuestion::Find(sought) => front::find(context, &sought, principal, &mut each),
        TierQuestion::GiveUp { uuid, round } => moving::give_up(context, uuid, round, principal),
    }
}

/// How a home answers a question that it can't look at now, for it has too many or its own trouble: whoever searches passes it
/// over, for it has refused nobody.
pub const fn unable(question: &Question) -> fn(String) -> Answer {
    match question {
        Question::Offer { .. } => |why| Answer::No { why },
        Question::Place(_) | Question::PlaceOnGo(_) => |why| front::refused(front::no_look(why), &Trace::default()),
        Question::Look(_) => |why| dry::refused(Trace::default(), front::no_look(why)),
        // To a commit `No` would be for good, and the others are not about a search.
        _ => Answer::Denied,
    }
}

fn offer(
    context: &mut TierContext<'_>,
    fleets: &mut Fleets,
    principal: &Principal,
    question: &OfferQuestion<'_>,
) -> Result<Answer, TierError> {
    failpoint("way-offer-asked");
    let &OfferQuestion { at, called, envelope, why, even_drained } = question;
    let ambient = context.ambient;
    let answer = context.store.read(|view| {
        let Some(mut member) = offer::member_at(view, at)? else {
            let name = at.map_or_else(String::new, |name| format!(" {name}"));
            return Ok(Answer::No { why: format!("this home has no second-tier distributor{name}") });
        };
        if let Some(why) = skipped(&member).filter(|_| !(even_drained && member.drained.is_some())) {
            return Ok(Answer::No { why });
        }
        member.called = called.cloned();
        let now = ambient.now().wall;
        fleets.catch_up(view, now)?;
        let incoming = IncomingTask { member: &member, envelope, principal, now };
        let evaluation = offer::evaluate(view, fleets, &incoming)?;
        let offered = if why { evaluation.offered_with_why(view)? } else { evaluation.offered() };
        Ok(Answer::Offered(Offered { drained: member.drained.clone(), ..offered }))
    });
    failpoint("way-offer-made");
    answer
}

fn commit(
    context: &mut TierContext<'_>,
    fleets: &mut Fleets,
    principal: &Principal,
    question: &CommitQuestion<'_>,
) -> Result<Answer, TierError> {
    let &CommitQuestion { at, envelope, how, way } = question;
    let now = context.now();
    let trace: Trace = serde_json::from_str(&way.search).unwrap_or_default();
    failpoint("way-commit-asked");
    let outcome = context.store.write(Durability::Full, |tx| {
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
        offer::take(tx, fleets, &IncomingTask { member: &member, envelope, principal, now }, how, via)
    })?;
    failpoint("way-commit-made");
    match outcome {
        CommitOutcome::No(why) => Ok(Answer::No { why }),
        // A no would be for good. It may be this caller's after all, taken in under another login of its home.
        CommitOutcome::Others => Ok(Answer::Unsure { member: "it".to_owned(), why: OTHERS.to_owned() }),
        CommitOutcome::Holds(id) => {
            let view = context.store.view();
            let (task, home) = (snapshot::of(&view, id)?, view.home_row()?.id);
            Ok(Answer::Placed(Placed { home, member: way.member.clone(), task, search: String::new() }))
        }
    }
}
