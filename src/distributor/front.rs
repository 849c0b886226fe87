//! A first tier at work for other homes: it redirects, searches the list, and answers who took the task. It keeps nothing of it.

use super::context::TierContext;
use super::members::AllMembers;
use super::peers::{PeerError, silently};
use super::principal::{OTHERS, Principal};
use super::quotas;
use super::refusal::{RefusalCause, SearchRefusal};
use super::search::{self, Trace};
use super::tier1;
use super::tier2::TierError;
use super::two_pass::{Holder, TierOutcome, two_pass};
use crate::model::distributor::{Policy, Record, Tier};
use crate::model::id::{HomeId, TaskUuid};
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Placed, Question, Refused};
use crate::protocol::envelope::Envelope;
use crate::store::{Durability, Store, StoreError, Tx, View};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rounds of one search: every search of a task begins a new series, so that a refusal of the last one binds no later one.
pub const SERIES: u32 = 1_000;
/// From here on searches begin no new series: other homes take no round of more than 4e9.
pub const LAST_ROUND: u32 = 3_999_000_000;

/// The answer to a caller that did not say that members may be asked to take its task.
const NO_GO: &str = "its caller did not say that it has heard the redirect: no distributor was asked to take it";

/// The home that asks, while its question is answered.
pub trait Asker {
    /// Sends it a word before the answer.
    fn say(&mut self, word: Answer);

    /// Waits until it has said [`ToServe::Go`](crate::protocol::distributor::ToServe::Go) behind each redirect that was said. False:
    /// it is gone, or silent for too long.
    fn goes(&mut self) -> bool;
}

/// A task that a first tier is asked to place.
#[derive(Debug)]
pub struct PlaceQuestion {
    pub envelope: Envelope,
    /// No member is asked to take it before the caller has heard the redirect.
    pub on_go: bool,
}

/// The last round of the series that a round belongs to.
pub const fn series_end(round: u32) -> u32 {
    (round / SERIES + 1) * SERIES - 1
}

/// The round of the next search: above all that refused in the one before, as long as there are rounds.
pub const fn next_series(round: u32) -> u32 {
    if round < LAST_ROUND { series_end(round) + 1 } else { round }
}

/// The second tier as this home redirects to it now.
#[derive(Debug, Default)]
pub struct Redirect {
    /// Who is asked, in this order.
    pub list: Vec<Record>,
    /// Somebody is passed over who was silent a moment ago, and may take the task in another.
    pub silent: bool,
    /// Members that are drained here: who alone could run a task is waited for.
    pub drained: Vec<Record>,
}

impl Redirect {
    /// True if there is nobody to ask, now or later.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.drained.is_empty()
    }
}

/// Redirects; members that are passed over are noted.
pub fn redirect(view: &View<'_>, envelope: &Envelope, trace: &mut Trace) -> Result<Redirect, StoreError> {
    let (second_tier, policy, cursor) = view.search_set(Tier::Second)?;
    let list = tier1::redirect(envelope, &second_tier, policy, cursor);
    let waits = |m: &&Record| m.drained.is_some() && m.allowed && m.left_at.is_none() && m.silent_since.is_none();
    let drained: Vec<Record> = second_tier.iter().filter(waits).cloned().collect();
    if !list.is_empty() || !drained.is_empty() {
        for member in &second_tier {
            if let Some(why) = search::skipped(member) {
                trace.second(member.name.as_str(), why);
            }
        }
    }
    Ok(Redirect { list, silent: search::silent(&second_tier).next().is_some(), drained })
}

/// `redirects to lab-x, lab-y`.
pub fn redirects_to(list: &[Record]) -> String {
    if list.is_empty() {
        return "redirects to nobody: every second-tier distributor is drained".to_owned();
    }
    let names: Vec<&str> = list.iter().map(|m| m.name.as_str()).collect();
    format!("redirects to {}", names.join(", "))
}

/// Round-robin begins one member further for each task.
pub fn advance(store: &mut Store, tiers: &[Tier]) -> Result<(), StoreError> {
    let view = store.view();
    let mut moving = Vec::new();
    for tier in tiers {
        if view.search_policy(*tier)?.0 == Policy::RoundRobin {
            moving.push(*tier);
        }
    }
    if moving.is_empty() {
        return Ok(());
    }
    store.write(Durability::Normal, |tx| moving.iter().try_for_each(|tier| tx.advance_cursor(*tier)))
}

/// Where the second tier is searched by load: what was just placed at a member counts before that reports it.
pub(super) fn count_placed(store: &mut Store, member: &Record, placed: &Placed) {
    let members = placed.task.counts.unended();
    if member.load.is_none() || members == 0 {
        return;
    }
    // The task is placed, whatever becomes of the count.
    let counted = store.write::<_, StoreError>(Durability::Normal, |tx| tx.placed_there(member.id, members));
    counted.unwrap_or_else(|error| tracing::warn!("{}: what was placed there is not counted: {error}", member.name));
}

/// The first-tier member of this home that redirects for others.
pub fn own_front(view: &View<'_>) -> Result<Option<Record>, StoreError> {
    let mut all = view.distributors(Tier::First)?.into_iter();
    Ok(all.find(|m| !m.endpoint.is_elsewhere() && search::skipped(m).is_none()))
}

/// Answers [`Question::Place`] and [`Question::PlaceOnGo`].
pub fn place(
    context: &mut TierContext<'_>,
    PlaceQuestion { mut envelope, on_go }: PlaceQuestion,
    principal: &Principal,
    asker: &mut dyn Asker,
) -> Result<Answer, TierError> {
    let mut trace = Trace::default();
    let (front, to) = context.store.read(|view| {
        let front = own_front(view)?;
        let to = if front.is_some() { redirect(view, &envelope, &mut trace)? } else { Redirect::default() };
        Ok::<_, StoreError>((front, to))
    })?;
    advance(context.store, &[Tier::Second])?;
    let Some(front) = front else { return Ok(refused(no_front(context.store)?, &trace)) };
    if to.is_empty() {
        return Ok(refused(nobody_lives(), &trace));
    }
    trace.first(front.name.as_str(), redirects_to(&to.list));
    let own = context.store.view().home_row()?.id;
    let all = homes(own, &to.list);
    // This home names itself only before it takes a task: no other front can tell whether a task is in the home of a lost one.
    let members: Vec<HomeId> = all.iter().copied().filter(|home| !on_go || *home != own).collect();
    let mut untold = (members.len() < all.len()).then_some(all);
    // A member elsewhere whose home is not known yet has to be asked too.
    if !on_go || to.list.iter().any(|member| member.endpoint.is_elsewhere()) {
        asker.say(Answer::Redirect { members });
    }
    let mut round = envelope.round;
    let asker = RefCell::new(asker);
    let mut members = AllMembers {
        context: context.reborrow(),
        envelope: &mut envelope,
        principal,
        front: front.name.as_str(),
        // Offers need no go: members are asked for them meanwhile.
        offers_first: true,
        before_commit: &mut |_, _, endpoint| {
            if let Some(members) = untold.take_if(|_| !endpoint.is_elsewhere()) {
                asker.borrow_mut().say(Answer::Redirect { members });
            }
            let goes = !on_go || asker.borrow_mut().goes();
            if goes { Ok(()) } else { Err(TierError::Denied(NO_GO.to_owned())) }
        },
        working: &mut || asker.borrow_mut().say(Answer::Working),
    };
    let outcome = two_pass(&to, &mut round, &mut trace, &mut members)?;
    Ok(match outcome {
        TierOutcome::Took { member, taken: Holder::Here(id) } => {
            let task = super::snapshot::of(&context.store.view(), id)?;
            Answer::Placed(Placed { home: own, member: member.name.to_string(), task, search: text(&trace) })
        }
        TierOutcome::Took { member, taken: Holder::There(placed) } => {
            count_placed(context.store, &member, &placed);
            Answer::Placed(Placed { member: member.name.to_string(), search: text(&trace), ..*placed })
        }
        TierOutcome::Unsure { member, why } => Answer::Unsure { member: member.name.to_string(), why },
        TierOutcome::Refused(refusal) => refused(refusal, &trace),
    })
}

/// There is no member to redirect to.
pub fn nobody_lives() -> SearchRefusal {
    no_look("it knows no live second-tier distributor".to_owned())
}

/// This home has no first-tier distributor that redirects now.
pub fn no_front(store: &Store) -> Result<SearchRefusal, StoreError> {
    let all = store.view().distributors(Tier::First)?;
    let own = all.iter().find(|m| !m.endpoint.is_elsewhere()).and_then(search::skipped);
    Ok(no_look(own.map_or_else(|| "it has no first-tier distributor".to_owned(), |why| format!("it is {why}"))))
}

/// No member has looked at the task, for this reason.
pub const fn no_look(why: String) -> SearchRefusal {
    SearchRefusal {
        cause: RefusalCause::Told(why),
        reasons: Vec::new(),
        answered: false,
        denied: false,
        waits_for: None,
    }
}

/// The answer to [`Question::Place`] where nobody takes it.
pub fn refused(refusal: SearchRefusal, trace: &Trace) -> Answer {
    let SearchRefusal { cause, reasons, answered, denied, waits_for } = refusal;
    Answer::Refused(Refused { summary: cause.into(), reasons, search: text(trace), answered, denied, waits_for })
}

/// The homes of the members, in their order; those that never said hello are not known yet.
fn homes(own: HomeId, list: &[Record]) -> Vec<HomeId> {
    list.iter().filter_map(|m| if m.endpoint.is_elsewhere() { m.home } else { Some(own) }).collect()
}

fn text(trace: &Trace) -> String {
    serde_json::to_string(trace).unwrap_or_default()
}

/// A question counts its age from when it was asked, and may wait so long for its link: the search began that much earlier at most.
const ON_ITS_WAY: Duration = Duration::from_secs(60);

/// The task that is looked for, and its search.
#[derive(Debug)]
pub struct Sought {
    pub uuid: TaskUuid,
    pub round: u32,
    /// Ask the second tier in other homes too.
    pub onward: bool,
    /// The age of the search.
    pub age: Duration,
    /// The homes that it can be in, where that is known.
    pub among: Option<Vec<HomeId>>,
}

impl Sought {
    /// When its search began, by this clock.
    fn began_at(&self, now: Timestamp) -> Timestamp {
        now.minus(self.age)
    }
}

/// Answers [`Question::Find`]. A home that does not hold the task writes a tombstone up to the round before it says so.
pub fn find(
    context: &mut TierContext<'_>,
    sought: &Sought,
    principal: &Principal,
    each: &mut dyn FnMut(Answer),
) -> Result<Answer, TierError> {
    let came = context.ambient.now();
    let now = came.wall;
    let own = context.store.view().home_row()?.id;
    let here = context.store.write(Durability::Full, |tx: &Tx<'_>| {
        let held = tx.held_by_uuid(sought.uuid)?.0;
        match held {
            None => quotas::add_tombstone(tx, sought.uuid, sought.round, principal, now)?,
            // "Nowhere" would let its client start it a second time, where this is only another login of the same home.
            Some(id) if !principal.sees(tx, id)? => return Err(TierError::Denied(OTHERS.to_owned())),
            Some(_) => {}
        }
        Ok::<_, TierError>(held)
    })?;
    if let Some(id) = here {
        let task = super::snapshot::of(&context.store.view(), id)?;
        let route = context.store.view().task(id)?.map(|row| row.tier2).unwrap_or_default();
        return Ok(Answer::Placed(Placed { home: own, member: route, task, search: String::new() }));
    }
    // The home that was here before may have taken it; what that one did with it is not known here.
    let mut unsure = (sought.began_at(now) < context.store.view().begins_at()?).then(|| {
        let why = "it was restored, or made anew, after this task was submitted: the home before it may have taken it";
        ("this home".to_owned(), why.to_owned())
    });
    if !sought.onward {
        return Ok(unsure.map_or(Answer::Nowhere, |(member, why)| Answer::Unsure { member, why }));
    }
    let members: Vec<Record> =
        context.store.view().distributors(Tier::Second)?.into_iter().filter(|m| m.endpoint.is_elsewhere()).collect();
    let missing = |home: &HomeId| *home != own && !members.iter().any(|m| m.home == Some(*home));
    if let Some(unknown) = sought.among.iter().flatten().find(|home| missing(home)) {
        return Ok(Answer::Unsure { member: unknown.to_string(), why: "it is not known here".to_owned() });
    }
    let mut asked = BTreeSet::new();
    for member in members {
        let concerned = sought.among.as_ref().is_none_or(|among| member.home.is_some_and(|home| among.contains(&home)));
        // Who was silent since before the search began was never asked to take it.
        let age = sought.age.saturating_add(ON_ITS_WAY);
        let too_late = member.silent_since.is_some_and(|since| since.age_at(now) > age);
        // Who is newer here than the search is asked as well: it may have come before the redirect, or have been removed and added
        // again.
        if !concerned || too_late || !asked.insert(member.endpoint.clone()) {
            continue;
        }
        each(Answer::Working);
        let age = sought.age.saturating_add(context.ambient.now().since(came.mono));
        let question = super::members::find(sought.uuid, sought.round, age, principal.spoken_for());
        match context.peers.ask(&member.endpoint, &question, &mut silently) {
            Ok(Answer::Placed(placed)) => {
                return Ok(Answer::Placed(Placed { member: member.name.to_string(), ..placed }));
            }
            Ok(Answer::Nowhere) => {}
            Ok(other) => unsure = Some((member.name.to_string(), super::members::words_of(other))),
            Err(PeerError::Unreached(why) | PeerError::Late(why) | PeerError::Cut(why)) => {
                unsure = Some((member.name.to_string(), why))
            }
        }
    }
    Ok(match unsure {
        Some((member, why)) => Answer::Unsure { member, why },
        None => Answer::Nowhere,
    })
}

/// The question that [`find`] answers.
pub fn question(sought: &Sought) -> Question {
    Question::Find {
        uuid: sought.uuid,
        round: sought.round,
        onward: sought.onward,
        age_ms: u64::try_from(sought.age.as_millis()).unwrap_or(u64::MAX),
        among: sought.among.clone(),
        user: None,
    }
}
