//! Second-tier members of this home and of other homes: how a search asks each of them.

use super::context::TierContext;
use super::fleets::Fleets;
use super::offer::{self, Evaluation, IncomingTask, Via};
use super::peers::{PeerError, silently};
use super::principal::{OTHERS, Principal, REFUSED_BEFORE, UuidState, known};
use super::search::Trace;
use super::tier2::TierError;
use super::two_pass::{Holder, MemberReply, MemberRequest, SecondTier};
use crate::model::distributor::{Endpoint, Record};
use crate::model::failpoint::failpoint;
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::protocol::distributor::{Answer, How, Offer, Question, Way};
use crate::protocol::envelope::Envelope;
use crate::store::{Durability, Tx, View};
use std::time::Duration;

/// Called before a member at an endpoint is asked to take the task: the client's home records durably which other home is asked, a
/// first tier waits for its caller.
pub type BeforeCommit<'a> = dyn FnMut(&mut TierContext<'_>, &Envelope, &Endpoint) -> Result<(), TierError> + 'a;

/// The second tier of one search, with members in several homes.
pub struct AllMembers<'a> {
    pub context: TierContext<'a>,
    pub envelope: &'a mut Envelope,
    pub principal: &'a Principal,
    /// The first-tier member that redirected here.
    pub front: &'a str,
    /// Members of this home are asked for an offer before [`Self::before_commit`], as those of other homes are.
    pub offers_first: bool,
    pub before_commit: &'a mut BeforeCommit<'a>,
    /// Called with every question, to report that the search continues.
    pub working: &'a mut dyn FnMut(),
}

impl SecondTier for AllMembers<'_> {
    type Taken = Holder;

    fn ask(
        &mut self,
        member: &Record,
        request: MemberRequest,
        round: u32,
        trace: &Trace,
    ) -> Result<MemberReply<Holder>, TierError> {
        (self.working)();
        self.envelope.round = round;
        if member.endpoint.is_elsewhere() {
            self.there(member, request, trace)
        } else {
            self.here(member, request, trace)
        }
    }
}

impl AllMembers<'_> {
    fn here(
        &mut self,
        member: &Record,
        request: MemberRequest,
        trace: &Trace,
    ) -> Result<MemberReply<Holder>, TierError> {
        let (principal, ambient) = (self.principal, self.context.ambient);
        if self.offers_first {
            let envelope = &*self.envelope;
            let looked = self.context.store.read(|view| {
                let incoming = IncomingTask { member, envelope, principal, now: ambient.now().wall };
                Ok(match look(view, &mut Fleets::default(), &incoming, request)? {
                    Looked::Says(reply) => Some(reply),
                    Looked::Takes(_) => None,
                })
            });
            match looked {
                Ok(None) => {}
                Ok(Some(reply)) => return Ok(reply),
                Err(error) => return or_denied(Err(error)),
            }
        }
        if request != MemberRequest::Drained {
            (self.before_commit)(&mut self.context, self.envelope, &member.endpoint)?;
        }
        let envelope = &*self.envelope;
        let via = Via { front: self.front, member: member.name.as_str(), trace };
        let said = self.context.store.write(Durability::Full, |tx| {
            let incoming = IncomingTask { member, envelope, principal, now: ambient.now().wall };
            ask_own_member(tx, &mut Fleets::default(), &incoming, request, via)
        });
        or_denied(said)
    }

    fn there(
        &mut self,
        member: &Record,
        request: MemberRequest,
        trace: &Trace,
    ) -> Result<MemberReply<Holder>, TierError> {
        if let Err(why) = self.envelope.may_travel() {
            return Ok(MemberReply::Passed(not_asked(&why)));
        }
        let at = member.there.clone();
        let (how, words) = match request {
            MemberRequest::Now | MemberRequest::Drained => {
                let offer = Question::Offer {
                    at: at.clone(),
                    envelope: self.envelope.without_list(),
                    called: Some(member.name.clone()),
                    why: false,
                    even_drained: true,
                };
                match self.context.peers.ask(&member.endpoint, &offer, &mut silently) {
                    Ok(Answer::Offered(offered)) if request == MemberRequest::Drained || offered.drained.is_some() => {
                        return Ok(MemberReply::Offers(offered));
                    }
                    Ok(Answer::Offered(offered)) if offered.offer == Offer::Now => (How::Now, offered.words),
                    Ok(Answer::Offered(offered)) => return Ok(MemberReply::Offers(offered)),
                    Ok(Answer::Denied(why)) => return Ok(MemberReply::Denied(why)),
                    Ok(answer) => return Ok(MemberReply::Passed(words_of(answer))),
                    // An offer reserves nothing: whether it was heard does not matter.
                    Err(error) => return Ok(MemberReply::Passed(no_answer(&error))),
                }
            }
            MemberRequest::Queue => (How::Queue, "could run it later".to_owned()),
            MemberRequest::Keep => (How::Keep, "keeps it held: unmatched".to_owned()),
        };
        let mut search = trace.clone();
        search.second(member.name.as_str(), &*words);
        let way = Way {
            front: self.front.to_owned(),
            member: member.name.to_string(),
            search: serde_json::to_string(&search).unwrap_or_default(),
        };
        (self.before_commit)(&mut self.context, self.envelope, &member.endpoint)?;
        failpoint("way-before-commit");
        let commit = Question::Commit { at, envelope: self.envelope.clone(), how, way };
        let said = self.context.peers.ask(&member.endpoint, &commit, &mut silently);
        failpoint("way-after-commit");
        Ok(match said {
            Ok(Answer::Placed(placed)) => MemberReply::Took(Holder::There(Box::new(placed)), words),
            Ok(Answer::No { why }) => MemberReply::No(why),
            // Refused before the commit was looked at.
            Ok(Answer::Denied(why)) => MemberReply::Denied(why),
            Err(error @ (PeerError::Unreached(_) | PeerError::Late(_))) => MemberReply::Passed(no_answer(&error)),
            Ok(other) => self.sure(member, words, &words_of(other)),
            Err(PeerError::Cut(why)) => self.sure(member, words, &why),
        })
    }

    /// After an ambiguous failure the same member is asked again, and no other one until it has said no.
    fn sure(&mut self, member: &Record, words: String, why: &str) -> MemberReply<Holder> {
        (self.working)();
        let again = find(self.envelope.uuid, self.envelope.round, Duration::ZERO, self.envelope.user.clone());
        match self.context.peers.ask(&member.endpoint, &again, &mut silently) {
            Ok(Answer::Placed(placed)) => MemberReply::Took(Holder::There(Box::new(placed)), words),
            Ok(Answer::Nowhere) => MemberReply::No(why.to_owned()),
            _ => MemberReply::Unsure(why.to_owned()),
        }
    }
}

/// Asks a member of this home. Offer and commit are one transaction, so the offer still holds at the commit.
pub(super) fn ask_own_member(
    tx: &Tx<'_>,
    fleets: &mut Fleets,
    incoming: &IncomingTask<'_>,
    request: MemberRequest,
    via: Via<'_>,
) -> Result<MemberReply<Holder>, TierError> {
    let mut evaluation = match look(tx, fleets, incoming, request)? {
        Looked::Takes(evaluation) => evaluation,
        Looked::Says(reply) => return Ok(reply),
    };
    let words = evaluation.words();
    let task = offer::admit(tx, incoming, &mut evaluation, via)?;
    Ok(MemberReply::Took(Holder::Here(task), words))
}

/// What a member of this home finds, before it takes the task.
enum Looked<'f> {
    Takes(Box<Evaluation<'f>>),
    /// It does not take it, or has it already.
    Says(MemberReply<Holder>),
}

fn look<'f>(
    view: &View<'_>,
    fleets: &'f mut Fleets,
    incoming: &IncomingTask<'_>,
    request: MemberRequest,
) -> Result<Looked<'f>, TierError> {
    // This search may be an old one that was taken for dead: what was reconciled meanwhile stands.
    match known(view, incoming.envelope, incoming.principal)? {
        UuidState::Held(task) => {
            return Ok(Looked::Says(MemberReply::Took(Holder::Here(task), "has it already".to_owned())));
        }
        UuidState::Others => return Ok(Looked::Says(MemberReply::Unsure(OTHERS.to_owned()))),
        UuidState::Refused => return Ok(Looked::Says(MemberReply::No(REFUSED_BEFORE.to_owned()))),
        UuidState::New => {}
    }
    let evaluation = offer::evaluate(view, fleets, incoming)?;
    Ok(match request.accepts(evaluation.offer) {
        true => Looked::Takes(Box::new(evaluation)),
        false => Looked::Says(MemberReply::Offers(evaluation.offered())),
    })
}

/// Asks whether that very home holds a task; if not, it never will. `age`: of the search; `user`: its user, if it is not this home's
/// own account.
pub fn find(uuid: TaskUuid, round: u32, age: Duration, user: Option<Name>) -> Question {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Question::Find { uuid, round, onward: false, age_ms, among: None, user }
}

/// A member of this home that refuses the caller is passed over, as a member of another home is.
pub(super) fn or_denied<T>(said: Result<MemberReply<T>, TierError>) -> Result<MemberReply<T>, TierError> {
    match said {
        Err(TierError::Denied(why)) => Ok(MemberReply::Denied(why)),
        said => said,
    }
}

/// No answer, for this reason.
pub(super) fn no_answer(why: &impl std::fmt::Display) -> String {
    format!("no answer: {why}")
}

/// The task does not go to other homes, for this reason.
pub(super) fn not_asked(why: &str) -> String {
    format!("not asked: {why}")
}

/// The words of an answer that was not expected, for a person.
pub fn words_of(answer: Answer) -> String {
    match answer {
        Answer::Denied(why) | Answer::Unknown(why) | Answer::No { why } | Answer::Note(why) => why,
        Answer::Unsure { member, why } => format!("{member}: {why}"),
        Answer::Refused(refused) => refused.summary,
        _ => "it gave an answer that does not fit the question: is it a newer grid?".to_owned(),
    }
}
