//! Names in requirements that are most likely mistyped: no server knows them, and a name that is near is known.

use super::query::QueryFacts;
use super::search::ResolvedQuery;
use super::tree::{AttributePath, AttributeRoot};
use crate::model::attribute::Value;
use crate::model::name::Name;
use crate::model::near::nearest;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What was found for each name: it is looked for once, not for each server.
#[derive(Debug, Default)]
pub(super) struct Typos {
    attributes: RefCell<BTreeMap<AttributePath, String>>,
    apps: RefCell<BTreeMap<Name, Option<String>>>,
}

impl ResolvedQuery<'_> {
    /// ` (did you mean server.site?)`, of an attribute that is set nowhere.
    pub(super) fn attribute_meant(&self, path: &AttributePath, facts: &QueryFacts) -> String {
        let mut found = self.typos.attributes.borrow_mut();
        let meant = || {
            let known = match path.root {
                AttributeRoot::Server => self.fleet.columns.in_use(),
                root => facts.names(root),
            };
            // Some servers may have what others lack.
            let near = if known.contains(&&*path.name) { None } else { nearest(&path.name, known) };
            near.map_or_else(String::new, |near| format!(" (did you mean {}.{near}?)", path.root.word()))
        };
        found.entry(path.clone()).or_insert_with(meant).clone()
    }

    /// An application that probes look for, or that a server has, if this one is mistyped.
    pub(super) fn app_meant(&self, name: &Name) -> Option<String> {
        let mut found = self.typos.apps.borrow_mut();
        let meant = || {
            let apps = self.fleet.columns.find("apps").into_iter().flat_map(|column| self.fleet.columns.values(column));
            let each = apps.flat_map(|apps| match apps {
                Value::List(apps) => apps.as_slice(),
                one => std::slice::from_ref(one),
            });
            let there = each.filter_map(|app| match app {
                Value::Text(app) => Some(&**app),
                _ => None,
            });
            let known: Vec<&str> = self.fleet.watch.iter().flatten().map(String::as_str).chain(there).collect();
            if known.contains(&name.as_str()) { None } else { nearest(name.as_str(), known).map(str::to_owned) }
        };
        found.entry(name.clone()).or_insert_with(meant).clone()
    }
}
