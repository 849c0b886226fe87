//! A search that takes nothing: where would this task go now, and why?

use super::across::words_of;
use super::desk::{self, Guest};
use super::fleets::Fleets;
use super::front::{redirect, redirects_to};
use super::peers::{Peers, silently};
use super::search::{self, Trace};
use super::tier2::TierError;
use super::walk::{Said, SecondTier, Step, Walked, walk};
use crate::matching::Verdict;
use crate::model::distributor::{Record, Tier};
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Offer, Question};
use crate::protocol::envelope::Envelope;
use crate::store::Store;

/// What a search would find.
#[derive(Debug)]
pub struct Found {
    pub trace: Trace,
    /// Of the member that would take it, where that is in this home.
    pub verdicts: Vec<Verdict>,
    pub chosen: Option<String>,
    /// Nobody would: in short, and one by one.
    pub refused: Option<(String, Vec<String>)>,
}

/// Searches as [`super::place`] does, and takes nothing.
pub fn search(
    store: &mut Store,
    peers: &mut dyn Peers,
    envelope: &mut Envelope,
    guest: &Guest,
) -> Result<Found, TierError> {
    let mut trace = Trace::default();
    let (set, policy, cursor) = store.read(|view| view.search_set(Tier::First))?;
    for member in &set {
        if let Some(why) = search::skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    for front in search::order(&set, policy, cursor) {
        if front.endpoint.is_elsewhere() {
            return Err(TierError::Denied(format!(
                "{} is in another home, which can't be asked for a dry run yet",
                front.name
            )));
        }
        let list = store.read(|view| redirect(view, envelope, &mut trace))?;
        if list.is_empty() {
            trace.first(front.name.as_str(), "no answer: it knows no live second-tier distributor");
            continue;
        }
        trace.first(front.name.as_str(), redirects_to(&list));
        let mut dry = Dry { store, peers, envelope, guest, verdicts: Vec::new(), chosen: None };
        let walked = walk(&list, &mut 0, &mut trace, &mut dry)?;
        let (verdicts, chosen) = (dry.verdicts, dry.chosen);
        let refused = match walked {
            Walked::Refused { summary, reasons, .. } => Some((summary, reasons)),
            Walked::Took { .. } | Walked::Unsure { .. } => None,
        };
        return Ok(Found { trace, verdicts, chosen, refused });
    }
    let reasons =
        trace.tiers.iter().flat_map(|t| &t.searched).map(|s| format!("{}: {}", s.distributor, s.answer)).collect();
    let refused = Some(("no distributor answered; nothing was submitted".to_owned(), reasons));
    Ok(Found { trace, verdicts: Vec::new(), chosen: None, refused })
}

/// Members as a search meets them that takes nothing.
struct Dry<'a> {
    store: &'a mut Store,
    peers: &'a mut dyn Peers,
    envelope: &'a mut Envelope,
    guest: &'a Guest,
    verdicts: Vec<Verdict>,
    chosen: Option<String>,
}

impl SecondTier for Dry<'_> {
    type Taken = ();

    fn ask(&mut self, member: &Record, step: Step, _round: u32, _trace: &Trace) -> Result<Said<()>, TierError> {
        let offered = if member.endpoint.is_elsewhere() {
            let question = Question::Offer {
                at: member.there.clone(),
                envelope: self.envelope.without_list(),
                called: Some(member.name.clone()),
            };
            match self.peers.ask(&member.endpoint, &question, &mut silently) {
                Ok(Answer::Offered(offered)) => offered,
                Ok(other) => return Ok(Said::Silent(words_of(other))),
                Err(error) => return Ok(Said::Silent(error.to_string())),
            }
        } else {
            let (envelope, guest) = (&*self.envelope, self.guest);
            let mut fleets = Fleets::default();
            let (offered, verdicts, chosen) = self.store.read(|view| {
                let look = desk::look(view, &mut fleets, member, envelope, guest, Timestamp::now())?;
                Ok::<_, TierError>((
                    look.offered(),
                    look.asked.verdicts(None, Timestamp::now()),
                    look.asked.chosen(view)?,
                ))
            })?;
            (self.verdicts, self.chosen) = (verdicts, chosen);
            offered
        };
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
