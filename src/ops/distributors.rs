//! `grid distributor`: the members of both tiers and how they are searched.

use super::attributes::{Values, not_declared, put, taken};
use super::report::DatabaseRow;
use super::{Grid, OpsError};
use crate::dispatch::client::relay::Relay;
use crate::distributor::peers::{Peers, silently};
use crate::model::attribute::{Source, Value};
use crate::model::distributor::{Endpoint, Policy, Record, Tier};
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::model::time::{Timestamp, short};
use crate::protocol::distributor::Question;
use crate::store::attributes::Owner;
use crate::store::reports::Received;
use crate::store::{Durability, View};
use std::path::Path;

/// Attributes of a distributor that can't be set, each with why or with what changes it.
pub const RESERVED: [(&str, &str); 17] = [
    ("name", "a distributor keeps its name"),
    ("tier", "a distributor keeps its tier"),
    ("position", "use `grid distributor order`"),
    ("policy", "use `grid distributor search`"),
    ("endpoint", "remove it and add it again with another --endpoint"),
    ("ssh_command", "it is the GRID_SSH_COMMAND of the last command that named the endpoint"),
    ("apps", "it is counted"),
    ("health", "it is reported"),
    ("version", "it is reported"),
    ("reported", "it is counted"),
    ("registered_with", "use `grid distributor register`"),
    ("servers", "it is counted"),
    ("slots", "it is counted"),
    ("running", "it is counted"),
    ("waiting", "it is counted"),
    ("idle_cpus", "it is measured"),
    ("power", "it is measured"),
];

/// How the members of a tier are searched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Searching {
    pub tier: u8,
    pub policy: Policy,
    pub order: Vec<String>,
}

/// Adds a member as the last of its tier: one of this home, or of the home behind an endpoint. Gives a warning if
/// that home does not answer.
pub fn add(
    grid: &mut Grid,
    name: &Name,
    tier: Tier,
    at: Option<(&Endpoint, Option<&Name>)>,
    values: &Values,
) -> Result<Option<String>, OpsError> {
    let now = Timestamp::now();
    if let Some((Endpoint::Path(path), _)) = at
        && is_own(grid, path)
    {
        return Err(OpsError::Usage(format!("{} is this home: leave out --endpoint", path.display())));
    }
    let caller = grid.login.command.clone();
    grid.store.write(Durability::Full, |tx| {
        if tx.distributor(name.as_str())?.is_some() {
            return Err(taken("distributor", name.as_str()));
        }
        let id = tx.add_distributor(name, tier, now)?;
        if let Some((endpoint, there)) = at {
            tx.set_endpoint(id, endpoint, there)?;
            if let Some(command) = &caller {
                tx.keep_ssh_of_endpoint(endpoint, command)?;
            }
        }
        Ok(tx.set_attributes(Owner::Distributor(id.0), values, Source::Declared, now)?)
    })?;
    let Some((endpoint, _)) = at else { return Ok(None) };
    // Any question does: the home that answers is recorded.
    let hello = Question::Find { uuid: TaskUuid::new(), round: 0, onward: false, age_ms: 0, among: None, user: None };
    let said = Relay::new(grid.store.home(), &grid.login).ask(endpoint, &hello, &mut silently);
    Ok(said.err().map(|why| format!("{name} is added, but does not answer yet: {why}")))
}

fn is_own(grid: &Grid, path: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(path).is_some_and(|path| Some(path) == real(grid.store.home().dir()))
}

/// Declares attributes.
pub fn set(grid: &mut Grid, name: &str, values: &Values) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let id = find(tx, name)?.id;
        Ok(tx.set_attributes(Owner::Distributor(id.0), values, Source::Declared, Timestamp::now())?)
    })
}

/// Removes declared attributes: all of them or none.
pub fn unset(grid: &mut Grid, name: &str, what: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let id = find(tx, name)?.id;
        for word in what {
            if !tx.unset_attribute(Owner::Distributor(id.0), word)? {
                return Err(not_declared("distributor", name, word));
            }
        }
        Ok(())
    })
}

/// Removes members that have neither servers nor tasks; the last one of a tier stays.
pub fn remove(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            let found = find(tx, name)?;
            let servers = tx.servers_of(found.id)?;
            if !servers.is_empty() {
                return Err(OpsError::Refused(format!(
                    "distributor {name} has {} servers; remove them first: `grid server remove {} ..`",
                    servers.len(),
                    servers[0].name
                )));
            }
            if tx.distributor_has_tasks(found.id)? {
                return Err(OpsError::Refused(format!(
                    "distributor {name} owns tasks; `grid gc` removes old ones after `keep_rows`"
                )));
            }
            if tx.distributors(found.tier)?.len() == 1 {
                return Err(OpsError::Refused(format!(
                    "distributor {name} is the last of tier {}; add another first",
                    u8::from(found.tier)
                )));
            }
            tx.remove_distributor(found.id)?;
        }
        Ok(())
    })
}

/// Drains members: searches pass them over. A reason is optional.
pub fn drain(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    set_drained(grid, names, Some(reason.unwrap_or("")))
}

/// Ends a drain: searches include the members again.
pub fn resume(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    set_drained(grid, names, None)
}

fn set_drained(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            let record = find(tx, name)?;
            // To drain again without a reason takes none away.
            if reason != Some("") || record.drained.is_none() {
                tx.set_distributor_drained(record.id, reason)?;
            }
        }
        Ok(())
    })
}

/// Puts the named members of a tier first.
pub fn order(grid: &mut Grid, tier: Tier, names: &[String]) -> Result<Searching, OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let mut first = Vec::new();
        for name in names {
            let found = find(tx, name)?;
            if found.tier != tier {
                return Err(OpsError::Usage(format!("distributor {name} is of tier {}", u8::from(found.tier))));
            }
            if !first.contains(&found.id) {
                first.push(found.id);
            }
        }
        Ok(tx.order_distributors(tier, &first)?)
    })?;
    searching(grid, tier)
}

/// Sets how a tier is searched, if a policy is given, and gives how it is searched now.
pub fn search(grid: &mut Grid, tier: Tier, policy: Option<Policy>) -> Result<Searching, OpsError> {
    if let Some(policy) = policy {
        if (tier, policy) == (Tier::First, Policy::LeastLoaded) {
            return Err(OpsError::Usage(
                "--tier 1 least-loaded: first-tier distributors only redirect and have no load; take in-order or round-robin"
                    .to_owned(),
            ));
        }
        grid.store.write(Durability::Full, |tx| tx.set_search_policy(tier, policy))?;
    }
    searching(grid, tier)
}

/// How a tier is searched.
pub fn searching(grid: &Grid, tier: Tier) -> Result<Searching, OpsError> {
    let view = grid.store.view();
    let order = view.distributors(tier)?.iter().map(|d| d.name.to_string()).collect();
    Ok(Searching { tier: tier.into(), policy: view.search_policy(tier)?.0, order })
}

/// Both tiers, each in the order in which it is searched.
pub fn list(grid: &Grid) -> Result<Vec<DatabaseRow>, OpsError> {
    let view = grid.store.view();
    let mut all = Vec::new();
    for tier in [Tier::First, Tier::Second] {
        for record in view.distributors(tier)? {
            all.push(entry(&view, record)?);
        }
    }
    Ok(all)
}

/// One distributor.
pub fn show(grid: &Grid, name: &str) -> Result<DatabaseRow, OpsError> {
    let view = grid.store.view();
    entry(&view, find(&view, name)?)
}

fn find(view: &View<'_>, name: &str) -> Result<Record, OpsError> {
    if let Some(found) = view.distributor(name)? {
        return Ok(found);
    }
    let mut known = view.distributors(Tier::First)?;
    known.extend(view.distributors(Tier::Second)?);
    Err(OpsError::unknown("distributor", name, known.iter().map(|d| d.name.as_str())))
}

/// Why a record does not count any more, if so.
fn stale(received: &Received, at: Timestamp, now: Timestamp) -> Option<String> {
    let every = received.period.map_or_else(String::new, |period| format!(", and it reports every {}", short(period)));
    received
        .is_stale(at, now)
        .then(|| format!("no report for {}{every}: its numbers do not count", short(at.age_at(now))))
}

fn entry(view: &View<'_>, record: Record) -> Result<DatabaseRow, OpsError> {
    let now = Timestamp::now();
    let mut all = view.attributes(Owner::Distributor(record.id.0))?;
    let (policy, _) = view.search_policy(record.tier)?;
    let received = view.report_of(record.id)?;
    let at = received.as_ref().map_or(now, |(_, at)| *at);
    put(&mut all, "endpoint", Some(Value::Text(record.endpoint.to_string().into())), Source::Declared, now);
    let ssh = view.ssh_of_endpoint(&record.endpoint)?.map(|command| Value::Text(command.0.into()));
    put(&mut all, "ssh_command", ssh, Source::Declared, now);
    put(&mut all, "policy", Some(Value::from(policy.word())), Source::Reported, now);
    let mut reported = |name, value| put(&mut all, name, Some(value), Source::Reported, at);
    if record.tier == Tier::Second && (received.is_some() || !record.endpoint.is_elsewhere()) {
        let load = view.load_known(&record)?;
        for (name, count) in
            [("servers", load.servers), ("slots", load.slots), ("running", load.running), ("waiting", load.waiting)]
        {
            reported(name, Value::Int(count.into()));
        }
        reported("idle_cpus", Value::Double(load.idle_cpus));
        reported("power", Value::Double(load.power));
    }
    let stale = received.as_ref().and_then(|(received, at)| stale(received, *at, now));
    if let Some((received, _)) = received {
        reported("apps", Value::texts(received.apps));
        reported("health", Value::from(received.health.as_str()));
        reported("version", Value::from(received.release.as_str()));
        reported("reported", Value::from(received.why.as_str()));
    }
    let registered: Vec<_> =
        view.registrations()?.into_iter().filter(|r| r.distributor == record.id && r.is_live()).collect();
    if !registered.is_empty() {
        let with = registered.iter().map(|r| match &r.error {
            None => format!("{} as {}", r.endpoint, r.name),
            Some(error) => format!("{} as {} (not reported yet: {error})", r.endpoint, r.name),
        });
        put(&mut all, "registered_with", Some(Value::texts(with)), Source::Declared, now);
    }
    let (why, tried) = view.silence(record.id)?;
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let tried = tried.map_or_else(String::new, |at| format!(" (tried {} ago)", short(at.age_at(now))));
    let (state, reason) = match (record.drained, record.silent_since) {
        _ if !record.allowed => {
            ("REGISTERED", Some(format!("no tasks go there before `grid distributor allow {}`", record.name)))
        }
        (Some(reason), _) => ("DRAINED", Some(reason).filter(|r| !r.is_empty())),
        _ if record.left_at.is_some() => {
            let back = format!(
                "it unregistered; no tasks go there before it registers again, or `grid distributor allow {}`",
                record.name
            );
            ("LEFT", Some(back))
        }
        (None, Some(since)) => ("SILENT", Some(format!("no answer for {}{why}{tried}", short(since.age_at(now))))),
        (None, None) if let Some(why) = stale => ("STALE", Some(why)),
        (None, None) => ("UP", None),
    };
    let tier = Some(record.tier.into());
    Ok(DatabaseRow { tier, reason, ..DatabaseRow::plain(record.name.to_string(), state, all) })
}
