//! One server made of several: what its members add up to.

use crate::model::attribute::{Attribute, Source, Value};
use crate::model::server::Server;
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

/// What a host has once, however many of its servers are in the group.
const OF_HOSTS: [&str; 7] = ["load1", "idle_cpus", "power", "mem_total", "mem_available", "disk_free", "gpus"];

/// Numbers are sums over the hosts, applications are those of any member, and what all members have alike the group has too:
/// also a version.
/// What is declared for the group itself precedes all that.
pub(super) fn add_up(group: &mut Server, members: &[Server]) {
    let mut all: BTreeMap<Box<str>, Attribute> = BTreeMap::new();
    if let Some((first, rest)) = members.split_first() {
        for (name, attribute) in &first.attributes {
            if rest.iter().all(|m| m.attributes.get(name).is_some_and(|a| a.value == attribute.value)) {
                all.insert(name.clone(), attribute.clone());
            }
        }
    }
    let hosts = hosts(members);
    for name in OF_HOSTS {
        let of_host = |members: &Vec<&Server>| {
            let parts = members.iter().filter_map(|m| m.attributes.get(name));
            parts.max_by(|a, b| number(&a.value).total_cmp(&number(&b.value))).cloned()
        };
        let parts: Vec<Attribute> = hosts.iter().filter_map(of_host).collect();
        let Some(read_at) = parts.iter().map(|a| a.read_at).min() else { continue };
        let value = if parts.iter().all(|a| matches!(a.value, Value::Int(_))) {
            Value::Int(parts.iter().fold(0i64, |sum, a| sum.saturating_add(number(&a.value) as i64)))
        } else {
            Value::Double(parts.iter().map(|a| number(&a.value)).sum())
        };
        all.insert(name.into(), Attribute { value, source: Source::Reported, read_at });
    }
    let cpus: u32 = hosts.iter().map(|members| cpus_of_host(members)).fold(0, u32::saturating_add);
    let slots: u32 = members.iter().map(|m| m.slots).fold(0, u32::saturating_add);
    for (name, count) in [("cpus", cpus), ("slots", slots)] {
        let read_at = members.iter().filter_map(|m| m.attributes.get(name)).map(|a| a.read_at).min();
        if let Some(read_at) = read_at {
            all.insert(name.into(), Attribute { value: Value::Int(count.into()), source: Source::Reported, read_at });
        }
    }
    let mut names: Vec<Value> = Vec::new();
    // None: the members have different ones.
    let mut versions: BTreeMap<Box<str>, Option<Value>> = BTreeMap::new();
    let mut read_at = Timestamp(i64::MAX);
    for member in members {
        if let Some(Attribute { value: Value::List(apps), read_at: at, .. }) = member.attributes.get("apps") {
            names.extend(apps.iter().filter(|app| !names.contains(app)).cloned().collect::<Vec<_>>());
            read_at = read_at.min(*at);
        }
        if let Some(Attribute { value: Value::Map(of), .. }) = member.attributes.get("app_version") {
            for (name, version) in of {
                let alike = versions.entry(name.clone()).or_insert_with(|| Some(version.clone()));
                if alike.as_ref() != Some(version) {
                    *alike = None;
                }
            }
        }
    }
    let versions = versions.into_iter().filter_map(|(name, version)| Some((name, version?))).collect();
    if read_at.0 < i64::MAX {
        all.insert("apps".into(), Attribute { value: Value::List(names), source: Source::Reported, read_at });
        all.insert("app_version".into(), Attribute { value: Value::Map(versions), source: Source::Reported, read_at });
    }
    let own = std::mem::take(&mut group.attributes);
    let has_apps = |a: &Attribute| {
        !matches!(&a.value, Value::List(l) if l.is_empty()) && !matches!(&a.value, Value::Map(m) if m.is_empty())
    };
    all.extend(own.into_iter().filter(|(_, a)| a.source == Source::Declared && has_apps(a)));
    if group.cpus == 0 {
        group.cpus = cpus;
    }
    if group.slots == 0 {
        group.slots = slots;
    }
    if group.mem.0 == 0 {
        let of_host = |members: &Vec<&Server>| members.iter().map(|m| m.mem.0).max().unwrap_or(0);
        group.mem.0 = hosts.iter().map(of_host).fold(0, u64::saturating_add);
    }
    group.attributes = all;
}

/// Members by the host that they share; a member that was never read has a host of its own.
fn hosts(members: &[Server]) -> Vec<Vec<&Server>> {
    let mut hosts: Vec<Vec<&Server>> = Vec::new();
    for member in members {
        let host = member.pool.as_ref().map(|p| p.host);
        let same = |there: &&mut Vec<&Server>| host.is_some() && there[0].pool.as_ref().map(|p| p.host) == host;
        match hosts.iter_mut().find(same) {
            Some(there) => there.push(member),
            None => hosts.push(vec![member]),
        }
    }
    hosts
}

/// Parts of a host that overlap are not more than the host.
fn cpus_of_host(members: &[&Server]) -> u32 {
    let parts = members.iter().map(|m| m.cpus).fold(0, u32::saturating_add);
    members[0].pool.as_ref().map_or(parts, |pool| parts.min(pool.cpus))
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Double(n) => *n,
        _ => 0.0,
    }
}
