//! Registration and transfer: a second tier reports its state to first tiers in other homes, on change, on events, periodically;
//! to those that it registered with, or to all that it knows. The newest state wins by (home, incarnation, sequence), never by a clock.
//! Who unregisters sends a last report, a farewell; who falls silent has a record that grows stale.

mod implied;

pub use implied::is_covered;

use super::context::TierContext;
use super::peers::{PeerError, silently};
use super::tier2::TierError;
use crate::model::distributor::{Load, Record, Tier};
use crate::model::endpoint::Endpoint;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, LEFT, Question, Report};
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
    /// It says that the distributor has left.
    pub farewell: bool,
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
fn due(registration: &Registration, new: &Report, now: Timestamp) -> Option<&'static str> {
    let age = age(registration, now);
    // A farewell is one report, whatever was reported a moment ago.
    let pause = if registration.error.is_some() { AGAIN } else { APART };
    let too_early = age.is_some_and(|age| age < pause) && (registration.is_live() || registration.error.is_some());
    if too_early { None } else { news(registration, new, age) }
}

/// How long ago the last report was sent; one of a time to come counts for none, for the clock was set back since.
fn age(registration: &Registration, now: Timestamp) -> Option<Duration> {
    registration.sent_at.filter(|at| *at <= now).map(|at| at.age_at(now))
}

/// Why there is something to report, if there is.
fn news(registration: &Registration, new: &Report, age: Option<Duration>) -> Option<&'static str> {
    if !registration.is_live() {
        return Some("unregister");
    }
    let last: Option<Report> = registration.sent.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let Some(last) = last else { return Some("register") };
    if registration.pushed {
        return Some("push");
    }
    let on = registration.on;
    if on.event && (new.load.running, new.load.waiting) != (last.load.running, last.load.waiting) {
        return Some("event");
    }
    // Servers that come and go, and a drain, are changes, and events where only those are reported.
    let declared = (new.load.servers, new.load.slots) != (last.load.servers, last.load.slots);
    if on.change && (declared || new.apps != last.apps || new.health != last.health) {
        return Some("change");
    }
    if on.event && (declared || new.health != last.health) {
        return Some("event");
    }
    let moved = |a: f64, b: f64| (a - b).abs() > 0.1 * b.abs().max(0.1);
    if on.change && (moved(new.load.idle_cpus, last.load.idle_cpus) || moved(new.load.power, last.load.power)) {
        return Some("change");
    }
    match (on.period, age) {
        (Some(period), Some(age)) if age >= period => Some("period"),
        _ => None,
    }
}

/// A report on its way.
struct Going {
    registration: Registration,
    report: Report,
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
    implied::settle(context.store, now)?;
    let going = context.store.read(|view| choose(view, why, all, now))?;
    let mut told = Vec::new();
    let mut sequences: BTreeMap<i64, u64> = BTreeMap::new();
    for Going { registration, mut report } in going {
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
        let is_live = context.store.read(|view| view.is_registered(id, &registration.endpoint))?;
        if is_live != Some(registration.is_live()) {
            continue;
        }
        let reply = send(context, &registration, &report);
        keep(context, &registration, &report, &reply)?;
        told.push(SentReport::of(&registration, &report, reply));
    }
    Ok(told)
}

/// What a first tier replied to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Taken, with a remark.
    Taken(Option<String>),
    /// Refused, in its words.
    Refused(String),
    /// No answer, for this reason: it is told later.
    Unheard(String),
}

impl Reply {
    fn of(answer: Result<Answer, PeerError>) -> Self {
        match answer {
            Ok(Answer::Done) => Self::Taken(None),
            Ok(Answer::Note(remark)) => Self::Taken(Some(remark)),
            Ok(other) => Self::Refused(super::members::words_of(other)),
            Err(error) => Self::Unheard(error.to_string()),
        }
    }
}

impl SentReport {
    /// A report with the reply to it.
    pub fn of(registration: &Registration, report: &Report, reply: Reply) -> Self {
        let (error, remark) = match reply {
            Reply::Taken(remark) => (None, remark.map_or_else(String::new, |remark| format!(" ({remark})"))),
            Reply::Refused(why) | Reply::Unheard(why) => (Some(why), String::new()),
        };
        Self {
            distributor: report.there.clone(),
            name: report.name.clone(),
            endpoint: registration.endpoint.clone(),
            farewell: report.is_farewell(),
            error,
            remark,
        }
    }
}

fn send(context: &mut TierContext<'_>, registration: &Registration, report: &Report) -> Reply {
    let question = if report.is_farewell() {
        Question::Transfer(report.clone())
    } else {
        let offers = as_it_lies(&registration.offers, context.store.home().dir());
        Question::Register { offers, report: report.clone() }
    };
    Reply::of(context.peers.ask(&registration.endpoint, &question, &mut silently))
}

/// Records what became of a report. A farewell is not repeated once there was an answer: who refuses it keeps no record either.
fn keep(
    context: &mut TierContext<'_>,
    registration: &Registration,
    report: &Report,
    reply: &Reply,
) -> Result<(), StoreError> {
    let (id, endpoint) = (registration.distributor, &registration.endpoint);
    let error = match reply {
        Reply::Taken(_) => None,
        Reply::Refused(why) | Reply::Unheard(why) => Some(why.as_str()),
    };
    let text = serde_json::to_string(report).unwrap_or_default();
    let now = context.now();
    context.store.write(Durability::Normal, |tx| match reply {
        Reply::Taken(_) | Reply::Refused(_) if report.is_farewell() => tx.forget_registration(id, endpoint),
        _ => tx.sent_report(id, endpoint, &text, error, now),
    })
}

/// Asks a first tier to take a new registration, before it is kept here. What it refuses replaces nothing.
pub fn register(context: &mut TierContext<'_>, new: &Registration) -> Result<SentReport, TierError> {
    let id = new.distributor;
    let before = context.store.view().registrations()?;
    let before = before.into_iter().find(|r| r.distributor == id && r.endpoint == new.endpoint);
    let sequence = context.store.write(Durability::Normal, |tx| tx.next_sequence(id))?;
    let report = context.store.read(|view| report_of(view, new))?;
    let Some(report) = report else { return Err(TierError::Denied("there is no such distributor".to_owned())) };
    let report = Report { sequence, why: "register".to_owned(), ..report };
    let reply = send(context, new, &report);
    if let Reply::Refused(why) = reply {
        let and = if before.is_some_and(|r| r.is_live()) { "; the registration there stays as it was" } else { "" };
        return Err(TierError::Denied(format!("{} refuses {}: {why}{and}", new.endpoint, new.name)));
    }
    context.store.write(Durability::Full, |tx| tx.register(new))?;
    keep(context, new, &report, &reply)?;
    if let Some(before) = before.filter(|before| before.name != new.name && matches!(reply, Reply::Taken(_))) {
        // The record under the old name would grow old there. A farewell that is not heard leaves that to its age limit.
        let renamed = Report { name: before.name.clone(), ..farewell(report.clone()) };
        send(context, &before, &renamed);
    }
    Ok(SentReport::of(new, &report, reply))
}

/// The last report of a distributor that unregisters.
fn farewell(report: Report) -> Report {
    Report { load: Load::default(), health: LEFT.to_owned(), why: "unregister".to_owned(), period_ms: None, ..report }
}

/// The report of a registered distributor as it is now. None: there is no such distributor any more.
fn report_of(view: &View<'_>, registration: &Registration) -> Result<Option<Report>, StoreError> {
    let members = view.distributors(Tier::Second)?;
    let Some(member) = members.iter().find(|m| m.id == registration.distributor) else { return Ok(None) };
    let (load, apps, health) = state_of(view, member)?;
    let home = view.home_row()?;
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
        why: String::new(),
        period_ms: registration.on.period.map(|period| u64::try_from(period.as_millis()).unwrap_or(u64::MAX)),
    };
    Ok(Some(if registration.is_live() { report } else { farewell(report) }))
}

fn choose(view: &View<'_>, why: &str, all: bool, now: Timestamp) -> Result<Vec<Going>, StoreError> {
    let mut going = Vec::new();
    for registration in view.registrations()? {
        let Some(report) = report_of(view, &registration)? else { continue };
        let Some(reason) = due(&registration, &report, now).or(all.then_some("push")) else { continue };
        let why = match report.is_farewell() {
            true => report.why.clone(),
            false if all => why.to_owned(),
            false => reason.to_owned(),
        };
        going.push(Going { registration, report: Report { why, ..report } });
    }
    Ok(going)
}

/// Is a report due, now or as soon as its pause has passed?
pub fn is_pending(view: &View<'_>, now: Timestamp) -> Result<bool, StoreError> {
    for registration in view.registrations()? {
        if let Some(report) = report_of(view, &registration)?
            && news(&registration, &report, age(&registration, now)).is_some()
        {
            return Ok(true);
        }
    }
    implied::is_unsettled(view, now)
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
        (Some(member), None) if member.left_at.is_some() && !report.is_farewell() => {
            return Err(TierError::Denied(format!("{} has left: grid distributor register", report.name)));
        }
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
        period: report.period_ms.map(Duration::from_millis),
    };
    if !tx.take_report(member.id, &received, now)? {
        return Ok(member.allowed);
    }
    let left_at = report.is_farewell().then_some(now);
    if member.left_at.is_some() != left_at.is_some() {
        tx.set_left(member.id, left_at)?;
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
