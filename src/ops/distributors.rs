//! `grid distributor`: the members of both tiers and how they are searched.

use super::attributes::{Values, not_declared, put, taken};
use super::report::Entry;
use super::{Grid, OpsError};
use crate::model::attribute::{Source, Value};
use crate::model::distributor::{Policy, Record, Tier};
use crate::model::name::Name;
use crate::model::time::{Timestamp, short};
use crate::store::attributes::Owner;
use crate::store::{Durability, View};

/// What a distributor reports of itself.
pub const RESERVED: [(&str, &str); 11] = [
    ("name", "a distributor keeps its name"),
    ("tier", "a distributor keeps its tier"),
    ("position", "use `grid distributor order`"),
    ("policy", "use `grid distributor search`"),
    ("endpoint", "other homes can't be reached yet"),
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

/// Adds a member of this home behind the others of its tier.
pub fn add(grid: &mut Grid, name: &Name, tier: Tier, values: &Values) -> Result<(), OpsError> {
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        if tx.distributor(name.as_str())?.is_some() {
            return Err(taken("distributor", name.as_str()));
        }
        let id = tx.add_distributor(name, tier, now)?;
        Ok(tx.set_attributes(Owner::Distributor(id.0), values, Source::Declared, now)?)
    })
}

/// Declares attributes.
pub fn set(grid: &mut Grid, name: &str, values: &Values) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let id = find(tx, name)?.id;
        Ok(tx.set_attributes(Owner::Distributor(id.0), values, Source::Declared, Timestamp::now())?)
    })
}

/// Takes back what was declared; all of it or nothing.
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

/// Passes members over in searches; a reason is not needed.
pub fn drain(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    set_drained(grid, names, Some(reason.unwrap_or("")))
}

/// Searches them again.
pub fn resume(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    set_drained(grid, names, None)
}

fn set_drained(grid: &mut Grid, names: &[String], reason: Option<&str>) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            tx.set_distributor_drained(find(tx, name)?.id, reason)?;
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

/// Sets how a tier is searched, if a policy is given; says how it is.
pub fn search(grid: &mut Grid, tier: Tier, policy: Option<Policy>) -> Result<Searching, OpsError> {
    if let Some(policy) = policy {
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
pub fn list(grid: &Grid) -> Result<Vec<Entry>, OpsError> {
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
pub fn show(grid: &Grid, name: &str) -> Result<Entry, OpsError> {
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

fn entry(view: &View<'_>, record: Record) -> Result<Entry, OpsError> {
    let now = Timestamp::now();
    let mut all = view.attributes(Owner::Distributor(record.id.0))?;
    let (policy, _) = view.search_policy(record.tier)?;
    let mut reported = |name, value| put(&mut all, name, Some(value), Source::Reported, now);
    reported("endpoint", Value::Text(String::from(record.endpoint).into()));
    reported("policy", Value::from(policy.word()));
    if record.tier == Tier::Second {
        let load = record.load;
        for (name, count) in
            [("servers", load.servers), ("slots", load.slots), ("running", load.running), ("waiting", load.waiting)]
        {
            reported(name, Value::Int(count.into()));
        }
        reported("idle_cpus", Value::Double(load.idle_cpus));
        reported("power", Value::Double(load.power));
    }
    let (state, reason) = match (record.drained, record.silent_since) {
        (Some(reason), _) => ("DRAINED", Some(reason).filter(|r| !r.is_empty())),
        (None, Some(since)) => ("SILENT", Some(format!("no answer for {}", short(since.age_at(now))))),
        (None, None) => ("UP", None),
    };
    let tier = Some(record.tier.into());
    Ok(Entry { tier, reason, ..Entry::plain(record.name.to_string(), state, all) })
}
