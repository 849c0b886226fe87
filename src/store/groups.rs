//! One server made of several: what its members add up to.

use crate::model::attribute::{Attribute, Source, Value};
use crate::model::server::Server;
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

const SUMS: [&str; 9] =
    ["cpus", "slots", "load1", "idle_cpus", "power", "mem_total", "mem_available", "disk_free", "gpus"];

/// Numbers are sums, applications are those of any member, and what all members have alike the group has too.
/// What is declared for the group itself stands before all that.
pub(super) fn add_up(group: &mut Server, members: &[Server]) {
    let mut all: BTreeMap<Box<str>, Attribute> = BTreeMap::new();
    if let Some((first, rest)) = members.split_first() {
        for (name, attribute) in &first.attributes {
            if rest.iter().all(|m| m.attributes.get(name).is_some_and(|a| a.value == attribute.value)) {
                all.insert(name.clone(), attribute.clone());
            }
        }
    }
    for name in SUMS {
        let parts: Vec<&Attribute> = members.iter().filter_map(|m| m.attributes.get(name)).collect();
        let oldest = parts.iter().map(|a| a.read_at).min();
        let Some(read_at) = oldest else { continue };
        let whole = parts.iter().all(|a| matches!(a.value, Value::Int(_)));
        let value = if whole {
            Value::Int(
                parts.iter().fold(0i64, |sum, a| sum.saturating_add(if let Value::Int(n) = a.value { n } else { 0 })),
            )
        } else {
            Value::Double(parts.iter().map(|a| number(&a.value)).sum())
        };
        all.insert(name.into(), Attribute { value, source: Source::Reported, read_at });
    }
    let mut names: Vec<Value> = Vec::new();
    let mut versions = BTreeMap::new();
    let mut read_at = Timestamp(i64::MAX);
    for member in members {
        if let Some(Attribute { value: Value::List(apps), read_at: at, .. }) = member.attributes.get("apps") {
            names.extend(apps.iter().filter(|app| !names.contains(app)).cloned().collect::<Vec<_>>());
            read_at = read_at.min(*at);
        }
        if let Some(Attribute { value: Value::Map(of), .. }) = member.attributes.get("app_version") {
            for (name, version) in of {
                versions.entry(name.clone()).or_insert_with(|| version.clone());
            }
        }
    }
    if read_at.0 < i64::MAX {
        all.insert("apps".into(), Attribute { value: Value::List(names), source: Source::Reported, read_at });
        all.insert("app_version".into(), Attribute { value: Value::Map(versions), source: Source::Reported, read_at });
    }
    let own = std::mem::take(&mut group.attributes);
    let has_apps = |a: &Attribute| {
        !matches!(&a.value, Value::List(l) if l.is_empty()) && !matches!(&a.value, Value::Map(m) if m.is_empty())
    };
    all.extend(own.into_iter().filter(|(_, a)| a.source == Source::Declared && has_apps(a)));
    let sum = |get: fn(&Server) -> u32| members.iter().map(get).fold(0u32, u32::saturating_add);
    if group.cpus == 0 {
        group.cpus = sum(|m| m.cpus);
    }
    if group.slots == 0 {
        group.slots = sum(|m| m.slots);
    }
    if group.mem.0 == 0 {
        group.mem.0 = members.iter().map(|m| m.mem.0).fold(0, u64::saturating_add);
    }
    group.attributes = all;
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Double(n) => *n,
        _ => 0.0,
    }
}
