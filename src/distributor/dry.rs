//! A search that takes nothing: where would this task go now, and why?

use super::across::words_of;
use super::desk::{self, Guest};
use super::fleets::Fleets;
use super::front::{own_front, redirect, redirects_to};
use super::peers::{Peers, silently};
use super::search::{self, Trace};
use super::tier2::TierError;
use super::walk::{Said, SecondTier, Step, Walked, walk};
use crate::matching::Verdict;
use crate::model::distributor::{Record, Tier};
use crate::model::task::Request;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Offer, Question};
use crate::protocol::envelope::Envelope;
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// What a search would find.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    pub trace: Trace,
    /// Server by server, of the member that would take it.
    pub verdicts: Vec<Verdict>,
    pub chosen: Option<String>,
    /// Nobody would.
    pub refused: Option<Refusal>,
}

/// In short, and one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub summary: String,
    pub reasons: Vec<String>,
    /// False: no second tier answered, so this first tier has no answer.
    pub answered: bool,
}

/// Searches as [`super::place`] does, and takes nothing.
pub fn search(
    store: &mut Store,
    peers: &mut dyn Peers,
    envelope: &mut Envelope,
    request: &Request,
    guest: &Guest,
) -> Result<Found, TierError> {
    let mut trace = Trace::default();
    let (set, policy, cursor) = store.read(|view| view.search_set(Tier::First))?;
    for member in &set {
        if let Some(why) = search::skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    for front in search::order(&set, policy, cursor).into_iter().chain(search::silent(&set)) {
        let (front, name) = (&front, front.name.as_str());
        let found = if front.endpoint.is_elsewhere() {
            elsewhere(peers, front, envelope, request)?
        } else {
            look(store, peers, front, envelope, guest, &mut || {})?
        };
        let why = match found {
            Ok(Found { refused: Some(refused), .. }) if !refused.answered => {
                [vec![refused.summary], refused.reasons].concat().join("; ")
            }
            Ok(mut found) => {
                let [first, second] = found.trace.tiers;
                // By the name that it has in this home.
                trace.first(name, first.searched.last().map_or("redirects", |said| said.answer.as_str()));
                trace.tiers[1] = second;
                found.trace = trace;
                return Ok(found);
            }
            Err(why) => why,
        };
        trace.first(name, format!("no answer: {why}"));
    }
    let searched = trace.tiers.iter().flat_map(|t| &t.searched);
    let reasons = searched.map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    let summary = "no distributor answered; nothing was submitted".to_owned();
    let refused = Some(Refusal { summary, reasons, answered: false });
    Ok(Found { trace, verdicts: Vec::new(), chosen: None, refused })
}

/// Asks a first tier in another home; or says why it has no answer.
fn elsewhere(
    peers: &mut dyn Peers,
    front: &Record,
    envelope: &Envelope,
    request: &Request,
) -> Result<Result<Found, String>, TierError> {
    if request.user.is_some() {
        return Ok(Err("--user counts only in the home where it is typed".to_owned()));
    }
    if let Err(why) = envelope.may_travel() {
        return Ok(Err(why));
    }
    let said = peers.ask(&front.endpoint, &Question::Look(envelope.without_list()), &mut silently);
    Ok(match said {
        Ok(Answer::Report(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Ok(other) => Err(words_of(other)),
        Err(error) => Err(error.to_string()),
    })
}

/// Answers [`Question::Look`].
pub fn answer(
    store: &mut Store,
    peers: &mut dyn Peers,
    envelope: &mut Envelope,
    guest: &Guest,
    each: &mut dyn FnMut(Answer),
) -> Result<Answer, TierError> {
    let found = match own_front(&store.view())? {
        Some(front) => look(store, peers, &front, envelope, guest, &mut || each(Answer::Working))?,
        None => Err("none of its first-tier distributors is to be asked".to_owned()),
    };
    Ok(match found {
        Ok(found) => Answer::Report(serde_json::to_string(&found).unwrap_or_default()),
        Err(why) => Answer::Denied(why),
    })
}

/// A first tier of this home: redirects, and walks the list.
fn look(
    store: &mut Store,
    peers: &mut dyn Peers,
    front: &Record,
    envelope: &mut Envelope,
    guest: &Guest,
    working: &mut dyn FnMut(),
) -> Result<Result<Found, String>, TierError> {
    let mut trace = Trace::default();
    let list = store.read(|view| redirect(view, envelope, &mut trace))?;
    if list.is_empty() {
        return Ok(Err("it knows no live second-tier distributor".to_owned()));
    }
    trace.first(front.name.as_str(), redirects_to(&list));
    let mut dry = Dry { store, peers, envelope, guest, working, verdicts: Vec::new(), chosen: None };
    let walked = walk(&list, &mut 0, &mut trace, &mut dry)?;
    let (verdicts, chosen) = (dry.verdicts, dry.chosen);
    let refused = match walked {
        Walked::Refused { summary, reasons, answered } => Some(Refusal { summary, reasons, answered }),
        Walked::Took { .. } | Walked::Unsure { .. } => None,
    };
    Ok(Ok(Found { trace, verdicts, chosen, refused }))
}

/// Members as a search meets them that takes nothing.
struct Dry<'a> {
    store: &'a mut Store,
    peers: &'a mut dyn Peers,
    envelope: &'a mut Envelope,
    guest: &'a Guest,
    working: &'a mut dyn FnMut(),
    verdicts: Vec<Verdict>,
    chosen: Option<String>,
}

impl SecondTier for Dry<'_> {
    type Taken = ();

    fn ask(&mut self, member: &Record, step: Step, _round: u32, _trace: &Trace) -> Result<Said<()>, TierError> {
        (self.working)();
        let mut offered = if member.endpoint.is_elsewhere() {
            let question = Question::Offer {
                at: member.there.clone(),
                envelope: self.envelope.without_list(),
                called: Some(member.name.clone()),
                why: true,
            };
            match self.peers.ask(&member.endpoint, &question, &mut silently) {
                Ok(Answer::Offered(offered)) => offered,
                Ok(other) => return Ok(Said::Silent(words_of(other))),
                Err(error) => return Ok(Said::Silent(error.to_string())),
            }
        } else {
            let (envelope, guest) = (&*self.envelope, self.guest);
            let mut fleets = Fleets::default();
            self.store.read(|view| {
                let look = desk::look(view, &mut fleets, member, envelope, guest, Timestamp::now())?;
                Ok::<_, TierError>(look.offered_with_why(view)?)
            })?
        };
        if let Some(why) = offered.why.take() {
            self.verdicts = serde_json::from_str(&why.verdicts).unwrap_or_default();
            // By the name that the member has for whoever searches.
            self.verdicts.iter_mut().for_each(|verdict| verdict.distributor = member.name.clone());
            self.chosen = why.chosen;
        }
        let takes = match step {
            Step::Now => offered.offer == Offer::Now,
            Step::Queue => matches!(offered.offer, Offer::Now | Offer::Later),
            Step::Keep => offered.offer != Offer::Never,
        };
        Ok(if takes {
            let words =
                if offered.offer == Offer::Keep { "keeps it held: unmatched".to_owned() } else { offered.words };
            Said::Took((), words)
        } else {
            Said::Offers(offered)
        })
    }
}
