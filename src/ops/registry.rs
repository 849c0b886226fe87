//! `grid distributor register`, `allow`, `push`: registers a second tier with first tiers in other homes.

use super::serve::Credentials;
use super::{Grid, OpsError};
use crate::dispatch::client::relay::Relay;
use crate::distributor::context::TierContext;
use crate::distributor::registry::{self, SentReport};
use crate::distributor::tier2::TierError;
use crate::model::ambient::System;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::{DistributorId, HomeId};
use crate::model::name::Name;
use crate::model::time::{Timestamp, parse_duration};
use crate::protocol::distributor::{Answer, Report};
use crate::store::reports::{On, Registration};
use crate::store::{Durability, Store};
use serde::Serialize;
use std::time::Duration;

/// A registration as it was typed.
#[derive(Debug)]
pub struct RegistrationRequest {
    pub name: Name,
    pub with: Vec<Endpoint>,
    pub offers: Option<Endpoint>,
    pub to_all: bool,
    pub on: On,
    pub distributor: Name,
}

/// A first tier, and why it does not have the newest state, if so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportState {
    pub distributor: String,
    pub name: String,
    pub endpoint: String,
    pub error: Option<String>,
    /// It is told that the distributor has left.
    #[serde(skip)]
    pub farewell: bool,
    #[serde(skip)]
    pub remark: String,
}

/// The shortest period of reports.
const PERIOD_MIN: Duration = Duration::from_secs(60);

/// Reads `change,event,period:60s`, or `never`.
pub fn on(words: &[String]) -> Result<On, OpsError> {
    let mut on = On { change: false, event: false, period: None };
    for word in words {
        match (word.as_str(), word.strip_prefix("period:")) {
            ("change", _) => on.change = true,
            ("event", _) => on.event = true,
            ("never", _) if words.len() == 1 => {}
            (_, Some(time)) => {
                let period = parse_duration(time).map_err(|error| OpsError::Usage(format!("--on {word}: {error}")))?;
                if period < PERIOD_MIN {
                    return Err(OpsError::Usage(format!("--on {word}: 60s is the shortest period")));
                }
                on.period = Some(period);
            }
            _ => return Err(OpsError::Usage(format!("--on {word}: write change, event, period:TIME, or never alone"))),
        }
    }
    Ok(on)
}

/// Registers, or changes the registration, and reports at once. First tiers that do not answer get the newest state later; what a
/// first tier refuses is an error, and replaces nothing.
pub fn register(grid: &mut Grid, wish: &RegistrationRequest) -> Result<Vec<ReportState>, OpsError> {
    let own = grid.store.home().dir().to_path_buf();
    let id = own_member(grid, &wish.distributor)?;
    for endpoint in &wish.with {
        if matches!(endpoint, Endpoint::Ssh { .. }) && wish.offers.is_none() {
            return Err(OpsError::Usage(format!(
                "--with {endpoint}: say with --endpoint how this home is reached from there, as --endpoint ssh:$(hostname)"
            )));
        }
    }
    if let Some(command) = grid.login.command.clone() {
        grid.store.write::<_, OpsError>(Durability::Full, |tx| {
            Ok(wish.with.iter().try_for_each(|endpoint| tx.keep_ssh_of_endpoint(endpoint, &command))?)
        })?;
    }
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    for endpoint in &wish.with {
        let new = Registration {
            distributor: id,
            endpoint: endpoint.clone(),
            name: wish.name.clone(),
            offers: wish.offers.clone().unwrap_or_else(|| Endpoint::Path(own.clone())),
            on: wish.on,
            to_all: wish.to_all,
            sequence: 0,
            sent: None,
            sent_at: None,
            error: None,
            pushed: true,
            implied: false,
            left_at: None,
        };
        let mut peers = Relay::new(grid.store.home(), &grid.login);
        match registry::register(&mut context(&mut grid.store, &mut peers), &new) {
            Ok(report) => sent.push(report.into()),
            Err(TierError::Denied(why)) => refused.push(why),
            Err(error) => return Err(super::submit::refusal(error)),
        }
    }
    if !refused.is_empty() {
        return Err(OpsError::Refused(refused.join("; ")));
    }
    let others = send(grid, "register", false)?;
    sent.extend(others.into_iter().filter(|other| !wish.with.iter().any(|done| done.to_string() == other.endpoint)));
    Ok(sent)
}

/// Stops the reports to first tiers, and tells them so: tasks do not go there any more. Gives what is still to be told, and why.
pub fn unregister(grid: &mut Grid, distributor: &Name, with: &[Endpoint]) -> Result<Vec<ReportState>, OpsError> {
    let id = own_member(grid, distributor)?;
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        for endpoint in with {
            let known: Vec<Registration> = tx.registrations()?.into_iter().filter(Registration::is_live).collect();
            let Some(known) = known.iter().find(|r| r.distributor == id && r.endpoint == *endpoint) else {
                let known: Vec<String> = known.iter().map(|r| r.endpoint.to_string()).collect();
                return Err(OpsError::unknown("registration", &endpoint.to_string(), known.iter().map(String::as_str)));
            };
            if registry::is_covered(tx, known)? {
                return Err(OpsError::Refused(format!(
                    "{endpoint}: another registration of {distributor} is `--to all` that this home knows, {endpoint} too; \
                     register it with `--to registered`, or remove that first tier from this home"
                )));
            }
            tx.unregister(id, endpoint, now)?;
        }
        Ok(())
    })?;
    send(grid, "unregister", false)
}

/// A second-tier distributor of this home.
fn own_member(grid: &Grid, name: &Name) -> Result<DistributorId, OpsError> {
    let known = grid.store.view().distributors(Tier::Second)?;
    let member = known.iter().find(|m| m.name == *name && !m.endpoint.is_elsewhere());
    let unknown = || OpsError::unknown("distributor", name.as_str(), known.iter().map(|d| d.name.as_str()));
    member.map(|m| m.id).ok_or_else(unknown)
}

/// Sends all reports now.
pub fn push(grid: &mut Grid) -> Result<Vec<ReportState>, OpsError> {
    grid.store.write(Durability::Normal, |tx| tx.push_reports())?;
    send(grid, "push", true)
}

/// Sends the reports that are due; `grid refresh` does it too.
pub fn send(grid: &mut Grid, why: &str, all: bool) -> Result<Vec<ReportState>, OpsError> {
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let told = registry::send_due(&mut context(&mut grid.store, &mut peers), why, all);
    Ok(told.map_err(super::submit::refusal)?.into_iter().map(ReportState::from).collect())
}

fn context<'a>(store: &'a mut Store, peers: &'a mut Relay) -> TierContext<'a> {
    TierContext { store, peers, ambient: &System }
}

impl From<SentReport> for ReportState {
    fn from(sent: SentReport) -> Self {
        Self {
            distributor: sent.distributor.to_string(),
            name: sent.name.to_string(),
            endpoint: sent.endpoint.to_string(),
            error: sent.error,
            farewell: sent.farewell,
            remark: sent.remark,
        }
    }
}

/// Allows tasks to go to a distributor that registered itself, at this endpoint. For an SSH endpoint it gives
/// the line for `authorized_keys` by which the distributor may send its own reports only.
pub fn allow(grid: &mut Grid, name: &Name, endpoint: Option<&Endpoint>) -> Result<Option<String>, OpsError> {
    let known = grid.store.view().distributors(Tier::Second)?;
    let member = known.iter().find(|m| m.name == *name);
    let member =
        member.ok_or_else(|| OpsError::unknown("distributor", name.as_str(), known.iter().map(|d| d.name.as_str())))?;
    let endpoint = match (endpoint, &member.endpoint) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Endpoint::Local) => {
            return Err(OpsError::Usage(format!(
                "say where {name} is reached: --endpoint ssh:HOST or --endpoint /PATH"
            )));
        }
        (None, there) => there.clone(),
    };
    let (id, there, caller) = (member.id, member.there.clone(), grid.login.command.clone());
    grid.store.write(Durability::Full, |tx| {
        tx.set_endpoint(id, &endpoint, there.as_ref())?;
        if let Some(command) = &caller {
            tx.keep_ssh_of_endpoint(&endpoint, command)?;
        }
        tx.set_allowed(id, true)?;
        // Its owner's word counts more than that it left.
        tx.set_left(id, None)?;
        // It logs in as a user of that name, with the rights of any other user.
        if matches!(endpoint, Endpoint::Ssh { .. }) && tx.user(name.as_str())?.is_none() {
            tx.add_user(name, Timestamp::now())?;
        }
        Ok::<_, OpsError>(())
    })?;
    let home = grid.store.home().dir().display().to_string();
    Ok(matches!(endpoint, Endpoint::Ssh { .. }).then(|| super::users::key_line(&home, name, None)))
}

/// Records the report of a second tier. `offers`: the endpoint that it registers with; None: it is registered already.
pub fn receive(
    peer: HomeId,
    credentials: &Credentials,
    grid: &mut Grid,
    report: &Report,
    offers: Option<&Endpoint>,
) -> Result<Answer, OpsError> {
    if report.home != peer {
        return Err(OpsError::Refused(format!("{}: a home reports itself only", report.name)));
    }
    if let Some(user) = credentials.user.as_ref().filter(|user| **user != report.name) {
        return Err(OpsError::Refused(format!("{user} reports {}: this key may report {user} only", report.name)));
    }
    // Homes of one account on this host are allowed without asking.
    let trusted = credentials.user.is_none() && !credentials.far;
    let now = Timestamp::now();
    let allowed = grid
        .store
        .write(Durability::Full, |tx| registry::take(tx, report, offers, trusted, now))
        .map_err(super::submit::refusal)?;
    if allowed || offers.is_none() {
        return Ok(Answer::Done);
    }
    // A stale report gets the note too: the other dispatcher may have sent a newer one while the person still registers.
    Ok(Answer::Note(format!(
        "registered; no tasks go there before the owner of this first tier has run `grid distributor allow {}`",
        report.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributor::peers::{PeerError, Peers};
    use crate::ops::fixture;
    use crate::protocol::distributor::Question;
    use crate::store::{StoreError, Tx};

    /// Peers that answer, and unregister all at the first question.
    struct Meanwhile {
        home: crate::store::Home,
        asked: usize,
    }

    impl Peers for Meanwhile {
        fn ask(&mut self, _: &Endpoint, _: &Question, _: &mut dyn FnMut(Answer) -> bool) -> Result<Answer, PeerError> {
            self.asked += 1;
            let mut store = Store::open(&self.home).unwrap();
            let all = store.view().registrations().unwrap();
            let now = Timestamp::now();
            let unregister = |tx: &Tx<'_>| all.iter().try_for_each(|r| tx.unregister(r.distributor, &r.endpoint, now));
            store.write(Durability::Normal, unregister).unwrap();
            Ok(Answer::Done)
        }
    }

    #[test]
    fn registration_removed_during_reports_stays_removed() {
        let (_dir, mut grid) = fixture::grid();
        let id = grid.store.view().distributor("tier2").unwrap().unwrap().id;
        let register = |tx: &Tx<'_>| {
            ["/front-a", "/front-b", "/front-c"].iter().try_for_each(|front| {
                tx.register(&Registration {
                    distributor: id,
                    endpoint: Endpoint::Path((*front).into()),
                    name: fixture::name("lab"),
                    offers: Endpoint::Path("/lab".into()),
                    on: On { change: true, event: false, period: None },
                    to_all: false,
                    sequence: 0,
                    sent: None,
                    sent_at: None,
                    error: None,
                    pushed: true,
                    implied: false,
                    left_at: None,
                })
            })
        };
        grid.store.write::<_, StoreError>(Durability::Normal, register).unwrap();
        let mut peers = Meanwhile { home: grid.store.home().clone(), asked: 0 };
        let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
        let told = registry::send_due(&mut context, "push", true).unwrap();
        assert_eq!((peers.asked, told.len()), (1, 1));
    }
}
