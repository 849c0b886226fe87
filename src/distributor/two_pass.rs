//! The second tier, searched in two passes: who can start the task now, else who could ever run it.
//! The passes are the same for members of this home and of other homes; [`SecondTier`] is how a member is asked.

use super::front::Redirect;
use super::refusal::{RefusalCause, SearchRefusal};
use super::search::Trace;
use super::tier2::TierError;
use crate::model::distributor::Record;
use crate::model::id::TaskId;
use crate::protocol::distributor::{Offer, Offered, Placed};

/// What a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRequest {
    /// An offer, and if it can start now, to take it.
    Now,
    /// To take it, now or later.
    Queue,
    /// To keep it held: nothing could ever run it.
    Keep,
    /// Only an offer: it is drained.
    Drained,
}

impl MemberRequest {
    /// Does a member with this offer take the task?
    pub const fn accepts(self, offer: Offer) -> bool {
        match self {
            Self::Now => matches!(offer, Offer::Now),
            Self::Queue => matches!(offer, Offer::Now | Offer::Later),
            Self::Keep => !matches!(offer, Offer::Never),
            Self::Drained => false,
        }
    }
}

/// What a member answered.
#[derive(Debug)]
pub enum MemberReply<T> {
    /// It took the task, with these words.
    Took(T, String),
    /// It did not take the task: its offer.
    Offers(Offered),
    /// It refused the commit, for good up to this round.
    No(String),
    /// It refuses this caller, or such a task: its words.
    Denied(String),
    /// It gave no answer, so it did not take the task; it may answer in a minute. With the words for it.
    Passed(String),
    /// It was asked to take it, and did not say whether it did.
    Unsure(String),
}

/// Where a task was taken.
#[derive(Debug)]
pub enum Holder {
    Here(TaskId),
    There(Box<Placed>),
}

/// How second-tier members are asked.
pub trait SecondTier {
    /// Where a task is that was taken.
    type Taken;

    /// Asks one of them. Commits carry the round.
    fn ask(
        &mut self,
        member: &Record,
        request: MemberRequest,
        round: u32,
        trace: &Trace,
    ) -> Result<MemberReply<Self::Taken>, TierError>;
}

/// How the search of a second tier ended.
#[derive(Debug)]
pub enum TierOutcome<T> {
    Took { member: Record, taken: T },
    Unsure { member: Record, why: String },
    Refused(SearchRefusal),
}

/// Reasons of one refusal: what is more than a person reads is counted.
const REASONS_MAX: usize = 200;

/// Asks the members of the list in two passes until one takes the task. Each refused commit raises `round`.
pub fn two_pass<S: SecondTier>(
    to: &Redirect,
    round: &mut u32,
    trace: &mut Trace,
    tier: &mut S,
) -> Result<TierOutcome<S::Taken>, TierError> {
    let mut offers: Vec<(&Record, Offered)> = Vec::new();
    let mut denied = Vec::new();
    // Members that gave no answer, and drained ones.
    let (mut passed, mut drained) = (to.silent, Vec::new());
    for member in &to.list {
        match tier.ask(member, MemberRequest::Now, *round, trace)? {
            MemberReply::Took(taken, words) => return Ok(took(member, taken, words, trace)),
            MemberReply::Offers(offered) if offered.drained.is_some() => {
                trace.second(member.name.as_str(), drained_words(offered.drained.as_deref()));
                drained.push((member, offered));
            }
            MemberReply::Offers(offered) => {
                trace.second(member.name.as_str(), &*offered.words);
                offers.push((member, offered));
            }
            MemberReply::No(why) => {
                *round += 1;
                trace.second(member.name.as_str(), format!("no longer: {why}"));
                let later = Offered {
                    offer: Offer::Later,
                    words: why,
                    servers: Vec::new(),
                    relaxed: Vec::new(),
                    why: None,
                    drained: None,
                };
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
    // The offer of a member that refused later does not count.
    offers.retain(|(member, _)| !denied.contains(&member.id));
    let mut waits_for = None;
    if denied.is_empty() && !passed {
        waits_for = drained.iter().find(|(_, offered)| could_later(offered)).map(|(member, offered)| {
            let drained = drained_words(offered.drained.as_deref());
            format!("{} is {drained}; in its home, `grid distributor resume` lets it take tasks again", member.name)
        });
        for member in &to.drained {
            if waits_for.is_some() {
                break;
            }
            if let MemberReply::Offers(offered) = tier.ask(member, MemberRequest::Drained, *round, trace)?
                && could_later(&offered)
            {
                let (name, drained) = (&member.name, drained_words(member.drained.as_deref()));
                waits_for =
                    Some(format!("{name} is {drained}; `grid distributor resume {name}` lets it take tasks again"));
            }
        }
    }
    let others = Unoffered { denied: !denied.is_empty(), passed: passed || !drained.is_empty() };
    let refusal = refused(&offers, &others, trace);
    let waits_for = waits_for.map(|drained| format!("waits for a distributor that alone could run it: {drained}"));
    Ok(TierOutcome::Refused(SearchRefusal { waits_for, ..refusal }))
}

const fn could_later(offered: &Offered) -> bool {
    matches!(offered.offer, Offer::Now | Offer::Later)
}

/// `drained: moves`.
fn drained_words(reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("drained: {reason}"),
        _ => "drained".to_owned(),
    }
}

/// The refusal of a caller or of such a task, in the trace.
pub fn refuses(why: &str) -> String {
    format!("refuses: {why}")
}

/// The refusal of the only member, which is of this home: in its own words.
const fn own_words(why: String) -> SearchRefusal {
    SearchRefusal {
        cause: RefusalCause::Told(why),
        reasons: Vec::new(),
        answered: false,
        denied: true,
        waits_for: None,
    }
}

fn took<T>(member: &Record, taken: T, words: String, trace: &mut Trace) -> TierOutcome<T> {
    trace.second(member.name.as_str(), words);
    TierOutcome::Took { member: member.clone(), taken }
}

/// Members that offered nothing.
struct Unoffered {
    /// Some refuse the task or its user.
    denied: bool,
    /// Some gave no answer.
    passed: bool,
}

/// No member takes it: a reason for each server, or for the member where it named no server.
fn refused(offers: &[(&Record, Offered)], others: &Unoffered, trace: &Trace) -> SearchRefusal {
    let mut reasons = Vec::new();
    for (member, offered) in offers {
        reasons.extend(offered.servers.iter().map(|server| format!("{}/{server}", member.name)));
        if offered.servers.is_empty() {
            reasons.push(format!("{}: {}", member.name, offered.words));
        }
        // What helps in one does not in another.
        let place = if offers.len() > 1 { format!("in {}: ", member.name) } else { String::new() };
        reasons.extend(offered.relaxed.iter().map(|line| format!("{place}{line}")));
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
    let partial = others.passed;
    let cause = match (answered, others.denied) {
        (true, _) => RefusalCause::NoServer { partial },
        (false, true) => RefusalCause::MembersRefuse { partial },
        (false, false) => RefusalCause::NoMember,
    };
    SearchRefusal { cause, reasons, answered, denied: others.denied && !partial && !answered, waits_for: None }
}
