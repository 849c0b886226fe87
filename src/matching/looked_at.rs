//! What an expression read of a server, for people: each value with its origin and its age.

use super::expression::Expression;
use super::query::QueryFacts;
use super::reason::{corrected, tidy};
use super::search::{ResolvedQuery, RowScope};
use super::tree::{AttributeRoot, Fault, Node, PathId};
use crate::model::attribute::{Source, Value};
use crate::model::time::{Timestamp, short};

impl ResolvedQuery<'_> {
    /// `server.siet is not set (did you mean server.site?)`
    pub(super) fn absent(&self, id: PathId, whole: &Expression, facts: &QueryFacts) -> String {
        let words = Fault::Absent(id).words(&whole.paths);
        let meant = whole.paths.get(usize::from(id)).map(|path| self.attribute_meant(path, facts));
        words + &meant.unwrap_or_default()
    }

    /// `: server.site is "oslo" (declared 3 min ago)`, for every path that a tree reads.
    pub(super) fn looked_at(
        &self,
        node: &Node,
        whole: &Expression,
        scope: &RowScope<'_>,
        row: usize,
        now: Timestamp,
    ) -> String {
        let mut ids = Vec::new();
        node.paths(&mut ids);
        let mut text = String::new();
        for id in ids {
            let Some(path) = whole.paths.get(usize::from(id)) else { continue };
            text.push_str(if text.is_empty() { ": " } else { ", " });
            text.push_str(&format!("{}.{} ", path.root.word(), path.name));
            match super::eval::Scope::get(scope, id) {
                Ok(value) => {
                    text.push_str(&format!("is {}", written(&value.into_value())));
                    if path.root == AttributeRoot::Server {
                        text.push_str(&self.origin(&path.name, row, now));
                    }
                }
                Err(_) => text.push_str("is not set"),
            }
        }
        text
    }

    fn origin(&self, name: &str, row: usize, now: Timestamp) -> String {
        let server = &self.fleet.servers[row];
        let Some(attribute) = server.attributes.get(name) else { return String::new() };
        let word = match attribute.source {
            Source::Declared => "declared",
            Source::Probed => "read",
            Source::Reported => "reported",
        };
        let since = server.pool.as_ref().map_or(0, |pool| pool.started_since);
        let correction = match (name, since) {
            (_, 0) => String::new(),
            ("load1", _) => format!("measured {}{}; ", plain(&attribute.value), corrected(since)),
            ("idle_cpus", 1..) => format!("measured {}, less {since} started since; ", plain(&attribute.value)),
            ("idle_cpus", _) => {
                format!("measured {}, plus {} ended since; ", plain(&attribute.value), since.unsigned_abs())
            }
            _ => String::new(),
        };
        format!(" ({correction}{word} {} ago)", short(attribute.read_at.age_at(now)))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Double(v) => tidy(*v),
        other => other.to_string(),
    }
}

/// A value as an expression would write it, cut where it is long.
fn written(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Double(v) => tidy(*v),
        Value::List(items) if items.is_empty() => "empty".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().take(20).map(written).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) if entries.is_empty() => "empty".to_owned(),
        Value::Map(entries) => {
            let shown = entries.iter().take(20).map(|(key, value)| format!("{key:?}: {}", written(value)));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
