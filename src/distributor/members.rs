//! Asking second-tier members wherever they live: those of this home at its own desk, others through whoever carries questions.

use super::fleets::Fleets;
use super::offer::{self, Via};
use super::peers::{PeerError, Peers, silently};
use super::principal::{OTHERS, Principal, UuidState, known};
use super::search::Trace;
use super::tier2::TierError;
use super::two_pass::{Holder, MemberReply, MemberRequest, SecondTier};
use crate::model::distributor::{Endpoint, Record};
use crate::model::failpoint::failpoint;
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, How, Offer, Question, Way};
use crate::protocol::envelope::Envelope;
use crate::store::{Durability, Store, Tx};
use std::time::Duration;

/// Called before a commit leaves this home: whoever owns the client writes down durably who is asked.
pub type BeforeCommit<'a> = dyn FnMut(&mut Store, &Envelope, &Endpoint) -> Result<(), TierError> + 'a;

/// The second tier, as one search sees it.
pub struct AllMembers<'a> {
    pub store: &'a mut Store,
    pub peers: &'a mut dyn Peers,
    pub envelope: &'a mut Envelope,
    pub principal: &'a Principal,
    /// The first-tier member that redirected here.
    pub front: &'a str,
    pub before_commit: &'a mut BeforeCommit<'a>,
    /// Called with every question: the search goes on.
    pub working: &'a mut dyn FnMut(),
}

impl SecondTier for AllMembers<'_> {
    type Taken = Holder;

    fn ask(
        &mut self,
        member: &Record,
        step: MemberRequest,
        round: u32,
        trace: &Trace,
    ) -> Result<MemberReply<Holder>, TierError> {
        (self.working)();
        self.envelope.round = round;
        if member.endpoint.is_elsewhere() { self.there(member, step, trace) } else { self.here(member, step, trace) }
    }
}

impl AllMembers<'_> {
    fn here(&mut self, member: &Record, step: MemberRequest, trace: &Trace) -> Result<MemberReply<Holder>, TierError> {
        let (envelope, principal, front) = (&*self.envelope, self.principal, self.front);
        let said = self.store.write(Durability::Full, |tx| {
            ask_own_member(tx, &mut Fleets::default(), member, step, envelope, principal, (front, trace))
        });
        or_denied(said)
    }

    fn there(&mut self, member: &Record, step: MemberRequest, trace: &Trace) -> Result<MemberReply<Holder>, TierError> {
        if let Err(why) = self.envelope.may_travel() {
            return Ok(MemberReply::Passed(not_asked(&why)));
        }
        let at = member.there.clone();
        let (how, words) = match step {
            MemberRequest::Now => {
                let offer = Question::Offer {
                    at: at.clone(),
                    envelope: self.envelope.without_list(),
                    called: Some(member.name.clone()),
                    why: false,
                };
                match self.peers.ask(&member.endpoint, &offer, &mut silently) {
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
        (self.before_commit)(self.store, self.envelope, &member.endpoint)?;
        failpoint("way-before-commit");
        let commit = Question::Commit { at, envelope: self.envelope.clone(), how, way };
        let said = self.peers.ask(&member.endpoint, &commit, &mut silently);
        failpoint("way-after-commit");
        Ok(match said {
            Ok(Answer::Placed(placed)) => MemberReply::Took(Holder::There(Box::new(placed)), words),
            Ok(Answer::No { why }) => MemberReply::No(why),
            // Not a word about the commit: it was not even looked at.
            Ok(Answer::Denied(why)) => MemberReply::Denied(why),
            Err(error @ PeerError::Unreached(_)) => MemberReply::Passed(no_answer(&error)),
            Ok(other) => self.sure(member, words, &words_of(other)),
            Err(PeerError::Cut(why)) => self.sure(member, words, &why),
        })
    }

    /// After an ambiguous failure the same member is asked again, and nobody else until it has said no.
    fn sure(&mut self, member: &Record, words: String, why: &str) -> MemberReply<Holder> {
        (self.working)();
        let again = find(self.envelope.uuid, self.envelope.round, Duration::ZERO, self.envelope.user.clone());
        match self.peers.ask(&member.endpoint, &again, &mut silently) {
            Ok(Answer::Placed(placed)) => MemberReply::Took(Holder::There(Box::new(placed)), words),
            Ok(Answer::Nowhere) => MemberReply::No(why.to_owned()),
            _ => MemberReply::Unsure(why.to_owned()),
        }
    }
}

/// Offer and commit are one transaction here, so what was offered still stands.
pub(super) fn ask_own_member(
    tx: &Tx<'_>,
    fleets: &mut Fleets,
    member: &Record,
    step: MemberRequest,
    envelope: &Envelope,
    principal: &Principal,
    (front, trace): (&str, &Trace),
) -> Result<MemberReply<Holder>, TierError> {
    let now = Timestamp::now();
    // This search may be an old one that was taken for dead: what was settled meanwhile stands.
    match known(tx, envelope, principal)? {
        UuidState::Held(task) => return Ok(MemberReply::Took(Holder::Here(task), "has it already".to_owned())),
        UuidState::Others => return Ok(MemberReply::Unsure(OTHERS.to_owned())),
        UuidState::Refused => return Ok(MemberReply::No("it was refused before".to_owned())),
        UuidState::New => {}
    }
    let mut evaluation = offer::evaluate(tx, fleets, member, envelope, principal, now)?;
    let takes = match step {
        MemberRequest::Now => evaluation.offer == Offer::Now,
        MemberRequest::Queue => matches!(evaluation.offer, Offer::Now | Offer::Later),
        MemberRequest::Keep => evaluation.offer != Offer::Never,
    };
    if !takes {
        return Ok(MemberReply::Offers(evaluation.offered()));
    }
    let words = offer::taking(&evaluation);
    let via = Via { front, member: member.name.as_str(), trace };
    Ok(MemberReply::Took(
        Holder::Here(offer::admit(tx, member, envelope, principal, &mut evaluation, via, now)?),
        words,
    ))
}

/// Whether this very home holds a task of this age; if not, it never will. `user`: who submitted it, where that is not this home itself.
pub fn find(uuid: TaskUuid, round: u32, age: Duration, user: Option<Name>) -> Question {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Question::Find { uuid, round, onward: false, age_ms, among: None, user }
}

/// A member that does nothing for this caller is passed over as one in another home would be.
pub(super) fn or_denied<T>(said: Result<MemberReply<T>, TierError>) -> Result<MemberReply<T>, TierError> {
    match said {
        Err(TierError::Denied(why)) => Ok(MemberReply::Denied(why)),
        said => said,
    }
}

/// Nobody was reached, for this reason.
pub(super) fn no_answer(why: &impl std::fmt::Display) -> String {
    format!("no answer: {why}")
}

/// It is not for others, for this reason.
pub(super) fn not_asked(why: &str) -> String {
    format!("not asked: {why}")
}

/// For people.
pub fn words_of(answer: Answer) -> String {
    match answer {
        Answer::Denied(why) | Answer::Unknown(why) | Answer::No { why } | Answer::Note(why) => why,
        Answer::Unsure { member, why } => format!("{member}: {why}"),
        Answer::Refused(refused) => refused.summary,
        _ => "it gave an answer that does not fit the question: is it a newer grid?".to_owned(),
    }
}
