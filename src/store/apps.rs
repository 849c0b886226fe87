//! Applications residing on servers: found by their agents, or declared.

use super::{Result, View};
use crate::model::attribute::Source;
use crate::model::id::ServerId;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use std::collections::HashMap;

/// Name, version, source and age of the applications of one server.
pub(super) type AppRows = Vec<(Name, Option<String>, Source, Timestamp)>;

impl View<'_> {
    pub(super) fn apps(&self, server: ServerId) -> Result<AppRows> {
        self.all_readable(
            "SELECT name, version, source, read_at FROM app WHERE server_id = ?1 ORDER BY name, source DESC",
            [server],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
    }

    /// Applications that are declared of a server, as `--app` takes them, and when the last one was.
    pub fn declared_apps(&self, server: ServerId) -> Result<Option<(Vec<String>, Timestamp)>> {
        let mut apps = self.apps(server)?;
        apps.retain(|(.., source, _)| *source == Source::Declared);
        let Some(at) = apps.iter().map(|(.., at)| *at).max() else { return Ok(None) };
        let written = |(name, version, ..): (Name, Option<String>, Source, Timestamp)| match version {
            Some(version) => format!("{name}={version}"),
            None => name.to_string(),
        };
        Ok(Some((apps.into_iter().map(written).collect(), at)))
    }

    pub(super) fn all_apps(&self) -> Result<HashMap<ServerId, AppRows>> {
        let mut of: HashMap<ServerId, AppRows> = HashMap::new();
        let rows = self.all_readable(
            "SELECT server_id, name, version, source, read_at FROM app ORDER BY server_id, name, source DESC",
            [],
            |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))),
        )?;
        for (server, app) in rows {
            of.entry(server).or_default().push(app);
        }
        Ok(of)
    }
}
