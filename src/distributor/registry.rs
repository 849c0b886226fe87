//! Registration and transfer: a second tier reports its state to first tiers in other homes, on change, on events, periodically;
//! to those that it registered with, or to all that it knows. The newest state wins by (home, incarnation, sequence), never by a clock.

use super::context::TierContext;
use super::peers::silently;
use super::tier2::TierError;
use crate::model::distributor::{Load, Record, Tier};
use crate::model::endpoint::Endpoint;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Question, Report};
use crate::store::reports::{Received, Registration};
use crate::store::{Durability, StoreError, Tx, View};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// At most one transfer to each first tier in this time.
pub const APART: Duration = Duration::from_secs(2);
/// A first tier that could not be reached is tried again after this long.
const AGAIN: Duration = Duration::from_secs(30);

/// A report that was sent, or could not be.
#[derive(Debug)]
pub struct SentReport {
    pub distributor: Name,
    pub name: Name,
    pub endpoint: Endpoint,
    pub error: Option<String>,
    pub remark: String,
}

/// The load, the applications and the health of a second-tier distributor of this home.
pub fn state_of(view: &View<'_>, member: &Record) -> Result<(Load, Vec<String>, String), StoreError> {
    let load = view.load_of(member.id)?;
    let health = match &member.drained {
        Some(_) => "DRAINED",
        None if load.servers == 0 => "EMPTY",
        None => "UP",
    };
    Ok((load, view.apps_of(member.id)?, health.to_owned()))
}

/// Why a report is due, if it is and may go now.
fn due(
    registration: &Registration,
    last: Option<&Report>,
    state: &(Load, Vec<String>, String),
    now: Timestamp,
) -> Option<&'static str> {
    let age = age(registration, now);
    let too_early = age.is_some_and(|age| age < APART || registration.error.is_some() && age < AGAIN);
    if too_early { None } else { news(registration, last, state, age) }
}

/// How long ago the last report was sent; one of a time to come counts for none, for the clock was set back since.
fn age(registration: &Registration, now: Timestamp) -> Option<Duration> {
    registration.sent_at.filter(|at| *at <= now).map(|at| at.age_at(now))
}

/// Why there is something to report, if there is.
fn news(
    registration: &Registration,
    last: Option<&Report>,
    state: &(Load, Vec<String>, String),
    age: Option<Duration>,
) -> Option<&'static str> {
    let Some(last) = last else { return Some("register") };
    if registration.pushed {
        return Some("push");
    }
    let (load, apps, health) = state;
    if registration.on.event && (load.running, load.waiting) != (last.load.running, last.load.waiting) {
        return Some("event");
    }
    let declared = (load.servers, load.slots) != (last.load.servers, last.load.slots);
    if registration.on.change && (declared || *apps != last.apps || *health != last.health) {
        return Some("change");
    }
    if registration.on.event && declared {
        return Some("event");
    }
    let moved = |a: f64, b: f64| (a - b).abs() > 0.1 * b.abs().max(0.1);
    if registration.on.change && (moved(load.idle_cpus, last.load.idle_cpus) || moved(load.power, last.load.power)) {
        return Some("change");
    }
    match (registration.on.period, age) {
        (Some(period), Some(age)) if age >= period => Some("period"),
        _ => None,
    }
}

/// A report on its way.
struct Going {
    registration: Registration,
    report: Report,
    /// First-tier homes that it goes to besides the one registered with.
    others: Vec<Endpoint>,
}

/// How this home is reached. A path is that of a home: one that was restored, or moved, lies elsewhere than it did when it registered.
fn as_it_lies(offers: &Endpoint, home: &Path) -> Endpoint {
    let real = |path: &Path| path.canonicalize().ok();
    match offers {
        Endpoint::Path(path) if real(path).is_none() || real(path) != real(home) => Endpoint::Path(home.to_owned()),
        other => other.clone(),
    }
}

/// Sends what is due, or all of it, for this reason.
pub fn send_due(context: &mut TierContext<'_>, why: &str, all: bool) -> Result<Vec<SentReport>, TierError> {
    let now = context.now();
    let going = context.store.read(|view| choose(view, why, all, now))?;
    let mut told = Vec::new();
    let mut sequences: BTreeMap<i64, u64> = BTreeMap::new();
    for Going { registration, mut report, others } in going {
        let id = registration.distributor;
        report.sequence = match sequences.get(&id.0) {
            Some(sequence) => *sequence,
            None => {
                let next = context.store.write(Durability::Normal, |tx| tx.next_sequence(id))?;
                sequences.insert(id.0, next);
                next
            }
        };
        // Those before may have taken long to answer: who has unregistered meanwhile is not registered anew by a late report.
        if !context.store.read(|view| view.is_registered(id, &registration.endpoint))? {
            continue;
        }
        let offers = as_it_lies(&registration.offers, context.store.home().dir());
        let question = Question::Register { offers, report: report.clone() };
        let (error, remark) = said(context.peers.ask(&registration.endpoint, &question, &mut silently));
        let text = serde_json::to_string(&report).unwrap_or_default();
        let ambient = context.ambient;
        context.store.write(Durability::Normal, |tx| {
            tx.sent_report(id, &registration.endpoint, &text, error.as_deref(), ambient.now().wall)
        })?;
        let to = |endpoint: &Endpoint, error, remark| SentReport {
            distributor: report.there.clone(),
            name: report.name.clone(),
            endpoint: endpoint.clone(),
            error,
            remark,
        };
        told.push(to(&registration.endpoint, error, remark));
        for endpoint in others {
            // A broadcast registers nobody: who does not know this distributor says so, and that is all.
            let (error, remark) =
                said(context.peers.ask(&endpoint, &Question::Transfer(report.clone()), &mut silently));
            told.push(to(&endpoint, error, remark));
        }
    }
    Ok(told)
}

fn said(answer: Result<Answer, super::peers::PeerError>) -> (Option<String>, String) {
    match answer {
        Ok(Answer::Done) => (None, String::new()),
        Ok(Answer::Note(remark)) => (None, format!(" ({remark})")),
        Ok(other) => (Some(super::members::words_of(other)), String::new()),
        Err(error) => (Some(error.to_string()), String::new()),
    }
}

fn choose(view: &View<'_>, why: &str, all: bool, now: Timestamp) -> Result<Vec<Going>, StoreError> {
    let members = view.distributors(Tier::Second)?;
    let fronts = view.distributors(Tier::First)?;
    let home = view.home_row()?;
    let registrations = view.registrations()?;
    let mut going = Vec::new();
    for registration in &registrations {
        let Some(member) = members.iter().find(|m| m.id == registration.distributor) else { continue };
        let state = state_of(view, member)?;
        let last: Option<Report> = registration.sent.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let Some(reason) = due(registration, last.as_ref(), &state, now).or(all.then_some("push")) else { continue };
        let (load, apps, health) = state;
        let report = Report {
            name: registration.name.clone(),
            there: member.name.clone(),
            home: home.id,
            incarnation: home.incarnation,
            sequence: 0,
            load,
            apps,
            health,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            why: if all { why } else { reason }.to_owned(),
        };
        let registered = |endpoint: &Endpoint| {
            registrations.iter().any(|r| r.endpoint == *endpoint && r.distributor == registration.distributor)
        };
        let others = fronts.iter().map(|m| &m.endpoint).filter(|e| e.is_elsewhere() && !registered(e)).cloned();
        let others = if registration.to_all { others.collect() } else { Vec::new() };
        going.push(Going { registration: registration.clone(), report, others });
    }
    // A broadcast goes once, whichever registration it belongs to.
    let mut seen = std::collections::BTreeSet::new();
    for one in &mut going {
        let id = one.registration.distributor.0;
        one.others.retain(|endpoint| seen.insert((id, endpoint.clone())));
    }
    Ok(going)
}

/// Is a report due, now or as soon as its pause has passed?
pub fn is_pending(view: &View<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let registrations = view.registrations()?;
    if registrations.is_empty() {
        return Ok(false);
    }
    let members = view.distributors(Tier::Second)?;
    for registration in &registrations {
        let Some(member) = members.iter().find(|m| m.id == registration.distributor) else { continue };
        let last: Option<Report> = registration.sent.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let age = age(registration, now);
        if news(registration, last.as_ref(), &state_of(view, member)?, age).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes a report, if it is newer than the one that is here; gives whether tasks may go to its sender. A name belongs to the home
/// that first took it; nothing in a report changes an endpoint, an order or a permission of a member that exists.
pub fn take(
    tx: &Tx<'_>,
    report: &Report,
    offers: Option<&Endpoint>,
    trusted: bool,
    now: Timestamp,
) -> Result<bool, TierError> {
    let member = match (tx.distributor(report.name.as_str())?, offers) {
        (Some(member), _) => member,
        (None, None) => {
            return Err(TierError::Denied(format!(
                "{} is not registered here: grid distributor register",
                report.name
            )));
        }
        (None, Some(offers)) => {
            let id = tx.add_distributor(&report.name, Tier::Second, now)?;
            // From another host the endpoint is hearsay: the owner says it with `allow`.
            if trusted && offers.is_elsewhere() {
                tx.set_endpoint(id, offers, Some(&report.there))?;
            } else {
                tx.set_endpoint(id, &Endpoint::Local, Some(&report.there))?;
            }
            tx.set_allowed(id, trusted)?;
            tx.set_distributor_home(id, report.home)?;
            tx.distributor(report.name.as_str())?
                .ok_or_else(|| TierError::Denied(format!("{} is gone again", report.name)))?
        }
    };
    if member.tier != Tier::Second || member.home.is_none() && !member.endpoint.is_elsewhere() {
        return Err(TierError::Denied(format!("the name {} is taken here; register with another --as", report.name)));
    }
    match member.home {
        Some(home) if home != report.home => {
            return Err(TierError::Denied(format!(
                "the name {} belongs to another home here; register with another --as",
                report.name
            )));
        }
        Some(_) => {}
        None => tx.set_distributor_home(member.id, report.home)?,
    }
    let received = Received {
        incarnation: report.incarnation,
        sequence: report.sequence,
        load: report.load,
        apps: report.apps.clone(),
        health: report.health.clone(),
        release: report.release.clone(),
        why: report.why.clone(),
    };
    if !tx.take_report(member.id, &received, now)? {
        return Ok(member.allowed);
    }
    // A home that was moved on this host says where it lies now. Another way to it is the owner's word (`allow`), and stays.
    if let (true, Some(offers @ Endpoint::Path(_))) = (trusted, offers)
        && matches!(member.endpoint, Endpoint::Path(_) | Endpoint::Local)
        && member.endpoint != *offers
    {
        tx.set_endpoint(member.id, offers, Some(&report.there))?;
    }
    Ok(member.allowed)
}
