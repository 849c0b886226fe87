//! The second tier, searched in two passes: who can start the task now, else who could ever run it.
//! One way for members of this home and of others; how a member is asked is [`SecondTier`]'s matter.

use super::front::Redirect;
use super::search::Trace;
use super::tier2::TierError;
use crate::model::distributor::Record;
use crate::model::id::TaskId;
use crate::protocol::distributor::{Offer, Offered, Placed};
use serde::{Deserialize, Serialize};

/// What a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRequest {
    /// An offer, and if it can start now, to take it.
    Now,
    /// To take it, now or later.
    Queue,
    /// To keep it held: nothing could ever run it.
    Keep,
}

/// What a member said.
#[derive(Debug)]
pub enum MemberReply<T> {
    /// With the words for it.
    Took(T, String),
    /// It took nothing.
    Offers(Offered),
    /// It refused to take it after all, for good up to this round.
    No(String),
    /// It does nothing for this caller, or with such a task: its words.
    Denied(String),
    /// It gave no answer, so nothing was taken, and may give one in a minute; with the words for it.
    Passed(String),
    /// It was asked to take it, and did not say whether it did.
    Unsure(String),
}

/// Where a task is.
#[derive(Debug)]
pub enum Holder {
    Here(TaskId),
    There(Box<Placed>),
}

/// A way to ask second-tier members.
pub trait SecondTier {
    /// Where a task is that was taken.
    type Taken;

    /// Asks one of them. Commits carry the round.
    fn ask(
        &mut self,
        member: &Record,
        step: MemberRequest,
        round: u32,
        trace: &Trace,
    ) -> Result<MemberReply<Self::Taken>, TierError>;
}

/// How a walk ended.
#[derive(Debug)]
pub enum TierOutcome<T> {
    Took { member: Record, taken: T },
    Unsure { member: Record, why: String },
    Refused(SearchRefusal),
}

/// Why nobody takes a task: in short, and one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRefusal {
    pub summary: String,
    pub reasons: Vec<String>,
    /// False: no member has looked at it, so whoever searched has no answer.
    pub answered: bool,
    /// No member has looked at it: they refuse it, and none was passed over that may give another answer in a minute.
    #[serde(default)]
    pub denied: bool,
}

/// How the summary of a search ends.
pub(super) const NOTHING: &str = "; nothing was submitted";

impl SearchRefusal {
    /// The summary, within a sentence.
    pub fn what(&self) -> &str {
        self.summary.trim_end_matches(NOTHING)
    }
}

/// Reasons of one refusal: what is more than a person reads is counted.
const REASONS_MAX: usize = 200;

/// Walks the list until a member takes the task. `round` is raised with every refused commit.
pub fn two_pass<S: SecondTier>(
    to: &Redirect,
    round: &mut u32,
    trace: &mut Trace,
    tier: &mut S,
) -> Result<TierOutcome<S::Taken>, TierError> {
    let mut offers: Vec<(&Record, Offered)> = Vec::new();
    let mut denied = Vec::new();
    let mut passed = to.silent;
    for member in &to.list {
        match tier.ask(member, MemberRequest::Now, *round, trace)? {
            MemberReply::Took(taken, words) => return Ok(took(member, taken, words, trace)),
            MemberReply::Offers(offered) => {
                trace.second(member.name.as_str(), &*offered.words);
                offers.push((member, offered));
            }
            MemberReply::No(why) => {
                *round += 1;
                trace.second(member.name.as_str(), format!("no longer: {why}"));
                let later =
                    Offered { offer: Offer::Later, words: why, servers: Vec::new(), relaxed: Vec::new(), why: None };
                offers.push((member, later));
            }
            MemberReply::Denied(why) => {
                trace.second(member.name.as_str(), refuses(&why));
                if to.list.len() == 1 && !to.silent && !member.endpoint.is_elsewhere() {
                    return Ok(TierOutcome::Refused(own_words(why)));
                }
                denied.push(member.id);
            }
            MemberReply::Passed(words) => {
                passed = true;
                trace.second(member.name.as_str(), words);
            }
            MemberReply::Unsure(why) => return Ok(TierOutcome::Unsure { member: member.clone(), why }),
        }
    }
    let passes = [(MemberRequest::Queue, &[Offer::Later, Offer::Now][..]), (MemberRequest::Keep, &[Offer::Keep][..])];
    for (step, wanted) in passes {
        for (member, _) in offers.iter().filter(|(_, offered)| wanted.contains(&offered.offer)) {
            match tier.ask(member, step, *round, trace)? {
                MemberReply::Took(taken, words) => return Ok(took(member, taken, words, trace)),
                MemberReply::No(why) => {
                    *round += 1;
                    trace.second(member.name.as_str(), format!("no longer: {why}"));
                }
                MemberReply::Offers(changed) => trace.second(member.name.as_str(), &*changed.words),
                MemberReply::Denied(why) => {
                    trace.second(member.name.as_str(), refuses(&why));
                    denied.push(member.id);
                }
                MemberReply::Passed(words) => {
                    passed = true;
                    trace.second(member.name.as_str(), words);
                }
                MemberReply::Unsure(why) => return Ok(TierOutcome::Unsure { member: (*member).clone(), why }),
            }
        }
    }
    // What it offered before it refused is nothing to go by.
    offers.retain(|(member, _)| !denied.contains(&member.id));
    Ok(TierOutcome::Refused(refused(&offers, (!denied.is_empty(), passed), trace)))
}

/// A member's no to this caller, or to such a task.
pub fn refuses(why: &str) -> String {
    format!("refuses: {why}")
}

/// The only one that could be asked is of this home and refuses: nothing has to be said of who did.
const fn own_words(why: String) -> SearchRefusal {
    SearchRefusal { summary: why, reasons: Vec::new(), answered: false, denied: true }
}

fn took<T>(member: &Record, taken: T, words: String, trace: &mut Trace) -> TierOutcome<T> {
    trace.second(member.name.as_str(), words);
    TierOutcome::Took { member: member.clone(), taken }
}

/// Nobody: server by server, and member by member where none was told of.
fn refused(offers: &[(&Record, Offered)], (denied, passed): (bool, bool), trace: &Trace) -> SearchRefusal {
    let mut reasons = Vec::new();
    for (member, offered) in offers {
        reasons.extend(offered.servers.iter().map(|server| format!("{}/{server}", member.name)));
        if offered.servers.is_empty() {
            reasons.push(format!("{}: {}", member.name, offered.words));
        }
        reasons.extend(offered.relaxed.iter().cloned());
    }
    for searched in &trace.tiers[1].searched {
        if !offers.iter().any(|(member, _)| member.name.as_str() == searched.distributor) {
            reasons.push(format!("{}: {}", searched.distributor, searched.answer));
        }
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    if more > 0 {
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("and {more} more"));
    }
    let answered = !offers.is_empty();
    let what = match (answered, denied, passed) {
        (true, _, false) => "no server could ever run this",
        (true, _, true) => {
            "some second-tier distributors gave no answer, and no server of the others could ever run this"
        }
        (false, true, false) => "every second-tier distributor that answered refuses this",
        (false, true, true) => "some second-tier distributors refuse this, the others gave no answer",
        (false, false, _) => "no second-tier distributor answered",
    };
    let denied = denied && !passed && !answered;
    SearchRefusal { summary: format!("{what}{NOTHING}"), reasons, answered, denied }
}
