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
    let all_answered = denied.is_empty() && !passed;
    // Drained members that could run it, and how each takes tasks again.
    let mut could = Vec::new();
    for (member, offered) in drained {
        if could_later(&offered) {
            let (name, drained) = (&member.name, drained_words(offered.drained.as_deref()));
            could.push(format!("{name} is {drained}; in its home, `grid distributor resume` lets it take tasks again"));
        } else {
            offers.push((member, offered));
        }
    }
    for member in to.drained.iter().filter(|_| all_answered) {
        match tier.ask(member, MemberRequest::Drained, *round, trace)? {
            MemberReply::Offers(offered) if could_later(&offered) => {
                let (name, drained) = (&member.name, drained_words(member.drained.as_deref()));
                could.push(format!("{name} is {drained}; `grid distributor resume {name}` lets it take tasks again"));
            }
            MemberReply::Offers(offered) => offers.push((member, offered)),
            _ => passed = true,
        }
    }
    let others = Unoffered { denied: !denied.is_empty(), passed: passed || !could.is_empty() };
    let refusal = refused(&offers, &others, trace);
    let waits_for = waits_for(&could).filter(|_| all_answered);
    Ok(TierOutcome::Refused(SearchRefusal { waits_for, ..refusal }))
}

/// What a task waits for that only drained members could run.
fn waits_for(could: &[String]) -> Option<String> {
    match could {
        [] => None,
        [alone] => Some(format!("waits for a distributor that alone could run it: {alone}")),
        several => Some(format!("waits for one of the distributors that could run it: {}", several.join("; "))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::distributor::{Endpoint, Tier};
    use crate::model::id::DistributorId;

    fn member(name: &str, drained: Option<&str>) -> Record {
        Record {
            id: DistributorId(name.len() as i64),
            name: name.parse().unwrap(),
            tier: Tier::Second,
            endpoint: Endpoint::Local,
            home: None,
            there: None,
            called: None,
            allowed: true,
            due: false,
            left_at: None,
            drained: drained.map(str::to_owned),
            silent_since: None,
            load: None,
        }
    }

    /// Members by the lengths of their names: shorter ones could run the task later, the others never.
    struct Drained {
        could: usize,
    }

    impl SecondTier for Drained {
        type Taken = ();

        fn ask(&mut self, member: &Record, _: MemberRequest, _: u32, _: &Trace) -> Result<MemberReply<()>, TierError> {
            let could = member.name.as_str().len() < self.could;
            Ok(MemberReply::Offers(Offered {
                offer: if could { Offer::Later } else { Offer::Never },
                words: String::new(),
                servers: vec!["local: application nosuch is not there".to_owned()],
                relaxed: Vec::new(),
                why: None,
                drained: None,
            }))
        }
    }

    fn search(could: usize) -> SearchRefusal {
        let drained = vec![member("a", Some("moves")), member("ab", Some("")), member("abc", Some(""))];
        let to = Redirect { list: Vec::new(), silent: false, drained };
        let outcome = two_pass(&to, &mut 1, &mut Trace::default(), &mut Drained { could }).unwrap();
        let TierOutcome::Refused(refusal) = outcome else { panic!("it was taken: {outcome:?}") };
        refusal
    }

    #[test]
    fn what_no_drained_member_could_run_is_refused_with_their_reasons() {
        let refusal = search(0);
        assert_eq!((refusal.cause, refusal.answered), (RefusalCause::NoServer { partial: false }, true));
        assert_eq!(refusal.reasons[0], "a/local: application nosuch is not there");
        assert_eq!((refusal.reasons.len(), refusal.waits_for), (3, None));
    }

    #[test]
    fn every_drained_member_that_could_run_a_task_is_named() {
        let first = "a is drained: moves; `grid distributor resume a` lets it take tasks again";
        let alone = format!("waits for a distributor that alone could run it: {first}");
        assert_eq!(search(2).waits_for, Some(alone));
        let second = "ab is drained; `grid distributor resume ab` lets it take tasks again";
        let both = format!("waits for one of the distributors that could run it: {first}; {second}");
        assert_eq!(search(3).waits_for, Some(both));
    }
}
