//! A search that takes nothing: where the task would go now, and why.

use super::context::TierContext;
use super::fleets::Fleets;
use super::front::{no_front, nobody_lives, own_front, redirect, redirects_to};
use super::members::{no_answer, not_asked, or_denied, words_of};
use super::offer::{self, IncomingTask};
use super::peers::{Peers, silently};
use super::place::{REFUSED_BEHIND, nobody, partly, waits_behind};
use super::principal::Principal;
use super::refusal::SearchRefusal;
use super::search::{self, Trace};
use super::tier2::TierError;
use super::two_pass::{MemberReply, MemberRequest, SecondTier, TierOutcome, refuses, two_pass};
use crate::matching::Verdict;
use crate::model::distributor::{Record, Tier};
use crate::model::name::Name;
use crate::model::task::Request;
use crate::protocol::distributor::{Answer, Offer, Question};
use crate::protocol::envelope::Envelope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a search would find.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryRun {
    pub trace: Trace,
    /// Server by server, of the members that were asked.
    pub verdicts: Vec<Verdict>,
    pub chosen: Option<String>,
    /// Servers whose verdicts are too many for one answer.
    #[serde(default)]
    pub left_out: usize,
    /// The member that could start it now. An older grid does not say.
    #[serde(default)]
    pub now: Option<String>,
    /// Some distributor gave no answer, which could start it perhaps.
    #[serde(default)]
    pub partial: bool,
    /// Why no member would take it.
    pub refused: Option<SearchRefusal>,
}

impl DryRun {
    /// No member would take it.
    fn refused(trace: Trace, refusal: SearchRefusal) -> Self {
        let (verdicts, refused) = (Vec::new(), Some(refusal));
        Self { trace, verdicts, chosen: None, left_out: 0, now: None, partial: false, refused }
    }
}

/// What a first tier gives.
enum FirstTierLook {
    Found(DryRun),
    /// No answer, in these words.
    Passes(String),
    /// It refuses this, in these words.
    Denies(String),
}

/// Searches as [`super::place`] does, and takes nothing.
pub fn search(
    context: &mut TierContext<'_>,
    envelope: &mut Envelope,
    request: &Request,
    principal: &Principal,
) -> Result<DryRun, TierError> {
    let mut trace = Trace::default();
    let (set, policy, cursor) = context.store.read(|view| view.search_set(Tier::First))?;
    for member in &set {
        if let Some(why) = search::skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    let (mut denied, mut passed, mut waits_for, mut incomplete) = (false, false, None, None);
    let asked: Vec<Record> = search::order(&set, policy, cursor).into_iter().chain(search::silent(&set)).collect();
    for front in &asked {
        let name = front.name.as_str();
        let own = asked.len() == 1 && !front.endpoint.is_elsewhere();
        let look = if front.endpoint.is_elsewhere() {
            elsewhere(context.peers, front, envelope, request)
        } else {
            FirstTierLook::Found(look(context, front, envelope, principal, &mut || {})?)
        };
        let words = match look {
            FirstTierLook::Found(DryRun { trace: told, refused: Some(SearchRefusal { denied: true, .. }), .. })
                if !own =>
            {
                denied = true;
                let [_, second] = told.tiers;
                trace.tiers[1] = second;
                REFUSED_BEHIND.to_owned()
            }
            FirstTierLook::Found(DryRun { refused: Some(refused), .. }) if !refused.answered && !refused.denied => {
                passed |= refused.waits_for.is_none();
                waits_for = waits_for.or_else(|| refused.waits_for.clone());
                no_answer(&[vec![refused.summary()], refused.reasons].concat().join("; "))
            }
            FirstTierLook::Found(found) if found.refused.as_ref().is_some_and(SearchRefusal::is_partial) => {
                passed = true;
                let words = found.refused.as_ref().map_or_else(String::new, partly);
                incomplete.get_or_insert(found);
                words
            }
            FirstTierLook::Found(found) => {
                // What others could not reach may be able to run it all the same.
                let refused = found.refused.as_ref().and_then(|_| incomplete.take());
                let told = told(trace, name, found, passed);
                return Ok(match refused {
                    Some(before) => with_first(told.trace, before),
                    None => told,
                });
            }
            FirstTierLook::Passes(words) => {
                passed = true;
                words
            }
            FirstTierLook::Denies(words) => {
                denied = true;
                words
            }
        };
        trace.first(name, words);
    }
    if let Some(found) = incomplete {
        return Ok(with_first(trace, found));
    }
    let waits_for = waits_for.filter(|_| !denied && !passed);
    let refusal = nobody(&trace, denied, passed || waits_for.is_some());
    Ok(DryRun { partial: passed, ..DryRun::refused(trace, SearchRefusal { waits_for, ..refusal }) })
}

/// What a first tier found that could not ask its whole second tier, with the answers of all first tiers.
fn with_first(mut trace: Trace, found: DryRun) -> DryRun {
    let [_, second] = found.trace.tiers;
    trace.tiers[1] = second;
    DryRun { trace, ..found }
}

/// What one first tier found, after the others that were asked before it; `passed`: some of those gave no answer.
fn told(mut trace: Trace, name: &str, found: DryRun, passed: bool) -> DryRun {
    let [first, second] = found.trace.tiers;
    // By the name that it has in this home.
    trace.first(name, first.searched.last().map_or("redirects", |said| said.answer.as_str()));
    trace.tiers[1] = second;
    DryRun { trace, partial: found.partial || passed, ..found }
}

/// Asks a first tier in another home.
fn elsewhere(peers: &mut dyn Peers, front: &Record, envelope: &Envelope, request: &Request) -> FirstTierLook {
    if request.user.is_some() {
        return FirstTierLook::Passes(not_asked("--user counts only in the home where it is typed"));
    }
    if let Err(why) = envelope.may_travel() {
        return FirstTierLook::Passes(not_asked(&why));
    }
    let said = peers.ask(&front.endpoint, &Question::Look(envelope.without_list()), &mut silently);
    match said {
        Ok(Answer::Report(text)) => match serde_json::from_str::<DryRun>(&text) {
            Ok(mut found) => {
                if let Some(why) = found.refused.as_mut().and_then(|refused| refused.waits_for.as_mut()) {
                    *why = waits_behind(front.name.as_str(), why);
                }
                FirstTierLook::Found(found)
            }
            Err(error) => FirstTierLook::Passes(no_answer(&error)),
        },
        Ok(Answer::Denied(why)) => FirstTierLook::Denies(refuses(&why)),
        Ok(other) => FirstTierLook::Passes(no_answer(&words_of(other))),
        Err(error) => FirstTierLook::Passes(no_answer(&error)),
    }
}

/// Answers [`Question::Look`].
pub fn answer(
    context: &mut TierContext<'_>,
    envelope: &mut Envelope,
    principal: &Principal,
    each: &mut dyn FnMut(Answer),
) -> Result<Answer, TierError> {
    let found = match own_front(&context.store.view())? {
        Some(front) => look(context, &front, envelope, principal, &mut || each(Answer::Working))?,
        None => DryRun::refused(Trace::default(), no_front(context.store)?),
    };
    Ok(report(&found))
}

/// The answer to [`Question::Look`] if no member would take it.
pub fn refused(trace: Trace, refusal: SearchRefusal) -> Answer {
    report(&DryRun::refused(trace, refusal))
}

fn report(found: &DryRun) -> Answer {
    Answer::Report(serde_json::to_string(found).unwrap_or_default())
}

/// A first tier of this home: redirects, and walks the list.
fn look(
    context: &mut TierContext<'_>,
    front: &Record,
    envelope: &mut Envelope,
    principal: &Principal,
    working: &mut dyn FnMut(),
) -> Result<DryRun, TierError> {
    let mut trace = Trace::default();
    let to = context.store.read(|view| redirect(view, envelope, &mut trace))?;
    if to.is_empty() {
        return Ok(DryRun::refused(trace, nobody_lives()));
    }
    trace.first(front.name.as_str(), redirects_to(&to.list));
    let context = context.reborrow();
    let mut dry = DryMembers {
        context,
        envelope,
        principal,
        working,
        verdicts: Vec::new(),
        chosen: None,
        left_out: BTreeMap::new(),
        now: None,
        partial: to.silent,
    };
    let outcome = two_pass(&to, &mut 0, &mut trace, &mut dry)?;
    let (verdicts, chosen, left_out, now) = (dry.verdicts, dry.chosen, dry.left_out.into_values().sum(), dry.now);
    let partial = dry.partial;
    let refused = match outcome {
        TierOutcome::Refused(refusal) => Some(refusal),
        TierOutcome::Took { .. } | TierOutcome::Unsure { .. } => None,
    };
    Ok(DryRun { trace, verdicts, chosen, left_out, now, partial, refused })
}

/// The second tier of a search that takes nothing.
struct DryMembers<'a> {
    context: TierContext<'a>,
    envelope: &'a mut Envelope,
    principal: &'a Principal,
    working: &'a mut dyn FnMut(),
    /// Of all members that were asked, also those that refused; the last answer of each.
    verdicts: Vec<Verdict>,
    chosen: Option<String>,
    left_out: BTreeMap<Name, usize>,
    now: Option<String>,
    /// Some member gave no answer.
    partial: bool,
}

impl SecondTier for DryMembers<'_> {
    type Taken = ();

    fn ask(
        &mut self,
        member: &Record,
        request: MemberRequest,
        _round: u32,
        _trace: &Trace,
    ) -> Result<MemberReply<()>, TierError> {
        (self.working)();
        let mut offered = if member.endpoint.is_elsewhere() {
            let question = Question::Offer {
                at: member.there.clone(),
                envelope: self.envelope.without_list(),
                called: Some(member.name.clone()),
                why: true,
                even_drained: true,
            };
            match self.context.peers.ask(&member.endpoint, &question, &mut silently) {
                Ok(Answer::Offered(offered)) => offered,
                Ok(Answer::Denied(why)) => return Ok(MemberReply::Denied(why)),
                other => {
                    self.partial = true;
                    return Ok(MemberReply::Passed(match other {
                        Ok(other) => words_of(other),
                        Err(error) => no_answer(&error),
                    }));
                }
            }
        } else {
            let (envelope, principal, ambient) = (&*self.envelope, self.principal, self.context.ambient);
            let looked = self.context.store.read(|view| {
                let incoming = IncomingTask { member, envelope, principal, now: ambient.now().wall };
                let mut fleets = Fleets::default();
                let evaluation = offer::evaluate(view, &mut fleets, &incoming)?;
                Ok::<_, TierError>(evaluation.offered_with_why(view)?)
            });
            match looked {
                Ok(offered) => offered,
                Err(error) => return or_denied(Err(error)),
            }
        };
        if let Some(why) = offered.why.take() {
            let mut verdicts: Vec<Verdict> = serde_json::from_str(&why.verdicts).unwrap_or_default();
            // By the name that the member has for whoever searches.
            verdicts.iter_mut().for_each(|verdict| verdict.distributor = member.name.clone());
            self.verdicts.retain(|verdict| verdict.distributor != member.name);
            self.verdicts.append(&mut verdicts);
            self.left_out.insert(member.name.clone(), why.left_out);
            self.chosen = why.chosen;
        }
        if request == MemberRequest::Drained || offered.drained.is_some() {
            self.chosen = None;
            return Ok(MemberReply::Offers(offered));
        }
        Ok(if request.accepts(offered.offer) {
            self.now = Some(member.name.to_string()).filter(|_| offered.offer == Offer::Now);
            let words =
                if offered.offer == Offer::Keep { "keeps it held: unmatched".to_owned() } else { offered.words };
            MemberReply::Took((), words)
        } else {
            MemberReply::Offers(offered)
        })
    }
}
