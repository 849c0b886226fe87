//! How rows of the attribute databases look: lists, and one row with every attribute, its source and its age.

use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use crate::model::attribute::{Attribute, Source, Value};
use crate::model::resources::Bytes;
use crate::model::time::{Timestamp, short};
use crate::ops::report::DatabaseRow;

/// Attributes that are sizes.
const SIZES: [&str; 4] = ["mem", "mem_total", "mem_available", "disk_free"];

/// A list as JSON, or as the table that is made of it.
pub fn list(
    entries: &[DatabaseRow],
    json: bool,
    table: impl FnOnce(&[DatabaseRow]) -> Table,
    out: &mut Out,
) -> Result<(), Failure> {
    if json { out.json(entries) } else { out.table(&table(entries)) }
}

/// One row with every attribute.
pub fn show(entry: &DatabaseRow, json: bool, out: &mut Out) -> Result<(), Failure> {
    if json {
        return out.json(entry);
    }
    let reason = entry.reason.as_ref().filter(|reason| !reason.is_empty());
    let state = reason.map_or_else(|| entry.state.to_owned(), |reason| format!("{} ({reason})", entry.state));
    let head = [
        Some(state).filter(|_| entry.state != "KNOWN"),
        entry.engine.map(|engine| format!("engine {engine}")),
        entry.tier.map(|tier| format!("tier {tier}")),
        entry.distributor.as_ref().map(|name| format!("in {name}")),
        entry.running.filter(|n| *n > 0).map(|n| format!("{n} running")),
    ];
    let head: Vec<String> = head.into_iter().flatten().collect();
    let colon = if head.is_empty() { "" } else { ": " };
    out.line(&format!("{}{colon}{}", entry.name, head.join(", ")))?;
    out.table(&attributes(entry, Timestamp::now()))
}

fn attributes(entry: &DatabaseRow, now: Timestamp) -> Table {
    let mut table = Table::new(&["ATTRIBUTE", "VALUE", "SOURCE", "AGE"]);
    for (name, attribute) in &entry.attributes {
        table.row([
            name.to_string(),
            value(name, &attribute.value),
            attribute.source.word().to_owned(),
            format!("{} ago", short(attribute.read_at.age_at(now))),
        ]);
    }
    table
}

/// A value as people read it.
fn value(name: &str, value: &Value) -> String {
    match value {
        Value::Int(bytes) if SIZES.contains(&name) => Bytes(u64::try_from(*bytes).unwrap_or(0)).to_string(),
        other => other.to_string(),
    }
}

/// A cell: the value of an attribute, or nothing.
pub fn cell(entry: &DatabaseRow, name: &str) -> String {
    entry.attributes.get(name).map_or_else(String::new, |attribute| value(name, &attribute.value))
}

/// A cell: a number with so many decimals, or nothing.
pub fn number(entry: &DatabaseRow, name: &str, decimals: usize) -> String {
    match entry.attributes.get(name).map(|attribute| &attribute.value) {
        Some(Value::Double(number)) => format!("{number:.decimals$}"),
        Some(Value::Int(number)) => format!("{:.decimals$}", *number as f64),
        _ => String::new(),
    }
}

/// The age of the oldest of these attributes, for a table that shows them.
pub fn age(entry: &DatabaseRow, names: &[&str], now: Timestamp) -> String {
    let oldest = names.iter().filter_map(|name| entry.attributes.get(*name)).map(|a| a.read_at).min();
    oldest.map_or_else(String::new, |at| format!("{} ago", short(at.age_at(now))))
}

/// `site=brno rack=7`: what has no column of its own.
pub fn others(entry: &DatabaseRow, columns: &[&str]) -> String {
    named(entry, columns, |_| true)
}

/// The same, of what came in this way.
pub fn from(source: Source, entry: &DatabaseRow, columns: &[&str]) -> String {
    named(entry, columns, |attribute| attribute.source == source)
}

fn named(entry: &DatabaseRow, columns: &[&str], wanted: impl Fn(&Attribute) -> bool) -> String {
    let open = entry.attributes.iter().filter(|(name, attribute)| !columns.contains(&&***name) && wanted(attribute));
    let shown = open.map(|(name, attribute)| format!("{name}={}", value(name, &attribute.value)));
    shown.collect::<Vec<_>>().join(" ")
}
