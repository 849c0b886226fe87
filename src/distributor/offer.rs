//! The offer of a second tier: it opens an envelope, checks who asks, matches the task with its servers, and admits it.
//! A client of this home and a client of another one are treated alike.

use super::fleets::Fleets;
use super::principal::{Access, Principal, REFUSED_BEFORE, UuidState, known, unknown};
use super::quotas;
use super::search::Trace;
use super::tier2::{Candidates, Commit, TierError, commit};
use crate::matching::{Query, Verdict};
use crate::model::client::Client;
use crate::model::demand::Target;
use crate::model::distributor::Record;
use crate::model::id::{ClientId, TaskId};
use crate::model::name::Name;
use crate::model::task::Request;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::protocol::distributor::{How, Offer, Offered, Why};
use crate::protocol::envelope::Envelope;
use crate::protocol::seal;
use crate::store::intake::TierRoute;
use crate::store::{StoreError, Tx, View};
use std::path::Path;

/// A sealed task before a second-tier member: who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct IncomingTask<'a> {
    pub member: &'a Record,
    pub envelope: &'a Envelope,
    pub principal: &'a Principal,
    pub now: Timestamp,
}

/// A task, matched with a member's servers.
pub struct Evaluation<'f> {
    request: Request,
    user: User,
    client: Client,
    pub asked: Candidates<'f>,
    pub offer: Offer,
    /// What may lie here for its user; None: of one that is not bounded.
    room: Option<quotas::SpoolRoom>,
    /// Its client is another home.
    foreign: bool,
}

/// What became of a commit.
#[derive(Debug)]
pub enum CommitOutcome {
    /// This home holds the task, perhaps since an earlier commit of the same uuid.
    Holds(TaskId),
    /// A task that is not this caller's has the uuid.
    Others,
    No(String),
}

/// How the task came here.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    pub front: &'a str,
    pub member: &'a str,
    pub trace: &'a Trace,
}

/// Matches a task with the member's servers.
pub fn evaluate<'f>(
    view: &View<'_>,
    fleets: &'f mut Fleets,
    incoming: &IncomingTask<'_>,
) -> Result<Evaluation<'f>, TierError> {
    let &IncomingTask { member, envelope, principal, now } = incoming;
    let mut request = seal::open(&envelope.sealed).map_err(|error| TierError::Denied(error.to_string()))?;
    let room = quotas::check(view, &request, principal)?;
    if let Some(fetch) = request.launch.fetch.as_mut().filter(|_| principal.access != Access::Resident) {
        // A directory of its client: nothing is unpacked there here.
        fetch.into = "".into();
    }
    if let Some(called) = &member.called {
        request.demand.on = request.demand.on.map(|target| as_here(target, called));
        request.demand.exclude = request.demand.exclude.into_iter().map(|target| as_here(target, called)).collect();
    }
    let user = whose(view, &request, principal)?;
    let client = client_of(view, &request)?;
    move_home(&mut request, principal);
    request.demand.shared_account = principal.access.is_other();
    if principal.access == Access::Resident {
        // They stand in this very database.
        request.demand.client.clear();
    }
    let asked = Candidates::new(view, fleets, member.id, Query::new(&request.demand, &user, &client)?, now)?;
    let offer = match asked.offer(view, &request.demand)? {
        Offer::Never if request.hold_unmatched => Offer::Keep,
        offer => offer,
    };
    Ok(Evaluation { request, user, client, asked, offer, room, foreign: principal.access != Access::Resident })
}

impl Evaluation<'_> {
    /// The words of the member, if it takes the task.
    pub fn words(&self) -> String {
        match self.offer {
            Offer::Keep => "keeps it held: unmatched".to_owned(),
            offer => self.asked.words(offer),
        }
    }

    /// The answer to a search.
    pub fn offered(&self) -> Offered {
        let hopeless = matches!(self.offer, Offer::Never | Offer::Keep);
        let verdicts = if hopeless { self.asked.verdicts(None) } else { Vec::new() };
        Offered {
            offer: self.offer,
            words: self.asked.words(self.offer),
            servers: in_one_answer(
                verdicts.iter().map(|v| format!("{}: {}", v.server, v.reasons.join("; "))).take(300),
            ),
            relaxed: if hopeless { self.asked.relaxations(None) } else { Vec::new() },
            why: None,
            drained: None,
        }
    }

    /// The answer with its verdicts: servers that fit come first if there are too many for one answer.
    pub fn offered_with_why(&self, view: &View<'_>) -> Result<Offered, StoreError> {
        let mut verdicts = self.asked.verdicts(None);
        let texts = |verdicts: &[Verdict]| {
            in_one_answer(verdicts.iter().map(|verdict| serde_json::to_string(verdict).unwrap_or_default()))
        };
        let mut kept = texts(&verdicts);
        if kept.len() < verdicts.len() {
            verdicts.sort_by_key(|verdict| !verdict.qualifies);
            kept = texts(&verdicts);
        }
        let left_out = verdicts.len() - kept.len();
        let why = Why { verdicts: format!("[{}]", kept.join(",")), chosen: self.asked.chosen(view)?, left_out };
        Ok(Offered { why: Some(why), ..self.offered() })
    }
}

/// Texts of one answer, and their bytes.
const TEXTS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

/// The first of these texts, as many as one answer holds.
fn in_one_answer(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |text: &String| {
        bytes += text.len();
        bytes <= BYTES_MAX
    };
    texts.take(TEXTS_MAX).take_while(fits).collect()
}

/// Admits a task that was evaluated in the same transaction.
pub fn admit(
    tx: &Tx<'_>,
    incoming: &IncomingTask<'_>,
    evaluation: &mut Evaluation<'_>,
    via: Via<'_>,
) -> Result<TaskId, TierError> {
    let &IncomingTask { member, envelope, principal, now } = incoming;
    if let Some(list) = &envelope.list {
        // Before it is decoded, which takes more.
        evaluation.room.as_ref().map_or(Ok(()), |room| room.holds(list.as_bytes().len() as u64))?;
        seal::open_list(&mut evaluation.request, list)
            .map_err(|error| TierError::Denied(format!("the list of the array can't be read: {error}")))?;
    }
    quotas::check_list(&evaluation.request.members, principal)?;
    // A class belongs to a client's row: one that was never seen gets it here.
    evaluation.client.id = tx.see_client(&evaluation.request.client, now)?;
    let mut trace = via.trace.clone();
    trace.second(via.member, evaluation.words());
    let trace = serde_json::to_string(&trace).unwrap_or_default();
    evaluation.room.as_ref().map_or(Ok(()), |room| room.holds(quotas::size_in_all(&evaluation.request, &trace)))?;
    let search = tx.keep_note(&trace)?;
    let kept = (principal.access != Access::Resident).then(|| quotas::size(&evaluation.request, &trace));
    let wanted = Commit {
        uuid: envelope.uuid,
        round: envelope.round,
        request: &evaluation.request,
        user: evaluation.user.id,
        client: evaluation.client.id,
        member,
        route: TierRoute { tier1: via.front, tier2: via.member },
        search: Some(search),
        unmatched: evaluation.offer == Offer::Keep,
        at_once: evaluation.offer == Offer::Now,
        adopts: tx.held_by_uuid(envelope.uuid)?.1,
        kept,
        environment: principal.environment,
    };
    let (foreign, adopts) = (evaluation.foreign, wanted.adopts);
    let task = commit(tx, &wanted, &mut evaluation.asked, now)?;
    if foreign && adopts.is_none() {
        tx.mark_foreign(task)?;
    }
    Ok(task)
}

/// Commits a task of another home: once for each uuid. A refusal is for good, up to the task's round.
pub fn take(
    tx: &Tx<'_>,
    fleets: &mut Fleets,
    incoming: &IncomingTask<'_>,
    how: How,
    via: Via<'_>,
) -> Result<CommitOutcome, TierError> {
    let &IncomingTask { member, envelope, principal, now } = incoming;
    let why = match known(tx, envelope, principal)? {
        UuidState::Held(task) => return Ok(CommitOutcome::Holds(task)),
        UuidState::Others => return Ok(CommitOutcome::Others),
        UuidState::Refused => REFUSED_BEFORE.to_owned(),
        UuidState::New => match super::search::skipped(member) {
            Some(reason) => reason,
            None => match evaluate(tx, fleets, incoming) {
                Ok(mut evaluation) if fits(how, evaluation.offer) => {
                    return Ok(CommitOutcome::Holds(admit(tx, incoming, &mut evaluation, via)?));
                }
                Ok(evaluation) => evaluation.asked.words(evaluation.offer),
                Err(TierError::Expression(error)) => error.to_string(),
                // Nothing is kept of what this caller may not.
                Err(error) => return Err(error),
            },
        },
    };
    quotas::add_tombstone(tx, envelope.uuid, envelope.round, principal, now)?;
    Ok(CommitOutcome::No(why))
}

/// Does the present offer allow what was agreed on?
const fn fits(how: How, offer: Offer) -> bool {
    match how {
        How::Now => matches!(offer, Offer::Now),
        How::Queue => matches!(offer, Offer::Now | Offer::Later),
        // It became possible meanwhile: all the better.
        How::Keep => matches!(offer, Offer::Keep | Offer::Now | Offer::Later),
    }
}

/// The client sits on another host, or is another account.
fn move_home(request: &mut Request, principal: &Principal) {
    let (Some(theirs), Some(ours)) = (&request.launch.home, &principal.home) else { return };
    let Ok(below) = Path::new(request.launch.cwd.as_os()).strip_prefix(theirs.as_os()) else { return };
    let ours = Path::new(ours.as_os());
    // Joining nothing would add a slash.
    let moved = if below.as_os_str().is_empty() { ours.to_owned() } else { ours.join(below) };
    request.launch.cwd = moved.into_os_string().into();
    request.launch.home = principal.home.clone();
}

/// `-w lab-x/n1` names a member as the searching side calls it. Any other member's servers are none of ours.
fn as_here(target: Target, called: &Name) -> Target {
    match &target.distributor {
        Some(name) if name == called => Target { distributor: None, ..target },
        Some(_) => Target { elsewhere: true, ..target },
        None => target,
    }
}

/// The user whose attributes count: the principal, or whom the owner named.
fn whose(view: &View<'_>, request: &Request, principal: &Principal) -> Result<User, TierError> {
    let name = match &request.user {
        Some(name) if principal.access == Access::Resident => name,
        Some(name) if *name != principal.user => {
            return Err(TierError::Denied(format!("--user {name}: only within the home where it is typed")));
        }
        _ => &principal.user,
    };
    view.user(name.as_str())?.ok_or_else(|| unknown(name))
}

/// The row of a client that has none.
const UNSEEN: ClientId = ClientId(0);

/// The client as it says of itself, with what is declared of it here.
fn client_of(view: &View<'_>, request: &Request) -> Result<Client, StoreError> {
    let facts = request.client.clone();
    let (id, attributes) = view.client(&facts.host)?.map_or((UNSEEN, Default::default()), |c| (c.id, c.attributes));
    Ok(Client { id, host: facts.host, user: facts.user, os: facts.os, arch: facts.arch, attributes })
}

/// The first member of the second tier in this home, or the one of this name.
pub fn member_at(view: &View<'_>, at: Option<&Name>) -> Result<Option<Record>, StoreError> {
    let all = view.distributors(crate::model::distributor::Tier::Second)?;
    Ok(all
        .into_iter()
        .filter(|m| !m.endpoint.is_elsewhere())
        .filter(|m| m.home.is_none())
        .find(|m| at.is_none_or(|name| m.name == *name)))
}
