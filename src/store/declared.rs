//! What a person says of servers: added, declared, drained, removed.

use super::attributes::Owner;
use super::{Result, Tx};
use crate::model::attribute::{Source, Value};
use crate::model::id::{DistributorId, ServerId, TaskId};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::server::Engine;
use crate::model::ssh::SshTarget;
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

/// What a person declares of a server; None leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub slots: Option<u32>,
    pub cpus: Option<u32>,
    pub mem: Option<Bytes>,
    pub max_load: Option<f64>,
    pub accepts: Option<String>,
    /// Shell lines whose environment tasks get there.
    pub prologue: Option<String>,
    /// Name and version.
    pub apps: Vec<(Name, Option<String>)>,
    pub attributes: BTreeMap<Box<str>, Value>,
}

/// A declared option by name, for `unset`.
const DECLARED_COLUMNS: [(&str, &str); 6] = [
    ("slots", "UPDATE server SET slots = NULL WHERE id = ?1 AND slots IS NOT NULL"),
    ("cpus", "UPDATE server SET cpus = NULL WHERE id = ?1 AND cpus IS NOT NULL"),
    ("mem", "UPDATE server SET mem = NULL WHERE id = ?1 AND mem IS NOT NULL"),
    ("max_load", "UPDATE server SET max_load = NULL WHERE id = ?1 AND max_load IS NOT NULL"),
    ("accepts", "UPDATE server SET accepts = NULL WHERE id = ?1 AND accepts IS NOT NULL"),
    ("prologue", "UPDATE server SET prologue = NULL WHERE id = ?1 AND prologue IS NOT NULL"),
];

fn option_list(target: &SshTarget) -> String {
    serde_json::to_string(target.options()).unwrap_or_else(|_| "[]".to_owned())
}

impl Tx<'_> {
    /// Adds a server that was not probed yet.
    pub fn add_server(
        &self,
        name: &Name,
        distributor: DistributorId,
        engine: &Engine,
        now: Timestamp,
    ) -> Result<ServerId> {
        let target = match engine {
            Engine::Ssh(target) => Some(target),
            _ => None,
        };
        let options = target.map_or_else(|| "[]".to_owned(), option_list);
        let health = if matches!(engine, Engine::Group { .. }) { "UP" } else { "UNKNOWN" };
        self.run(
            "INSERT INTO server (name, distributor_id, engine, address, ssh_options, remote_dir, health, declared_at, ssh_command)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                name,
                distributor,
                engine.word(),
                target.map(|t| t.host()),
                options,
                target.and_then(|t| t.remote_dir()),
                health,
                now,
                target.and_then(SshTarget::command),
            ),
        )?;
        let id = ServerId(self.inserted());
        if let Engine::Group { members } = engine {
            for (position, member) in members.iter().enumerate() {
                self.run(
                    "INSERT OR IGNORE INTO group_member (group_id, member_id, position) VALUES (?1, ?2, ?3)",
                    (id, member, position),
                )?;
            }
        }
        self.touch_server(id)?;
        Ok(id)
    }

    /// Leads to a server another way. What was read there was another host's.
    pub fn lead_server(&self, id: ServerId, target: &SshTarget, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE server SET address = ?2, ssh_options = ?3, remote_dir = ?4, ssh_command = ?5, host_id = NULL, contacted_at = NULL, machine_id = NULL,
                    machine_since = NULL,
                    health = 'UNKNOWN', error = NULL, since = NULL, kept_for = NULL, declared_at = ?6 WHERE id = ?1",
            (id, target.host(), option_list(target), target.remote_dir(), target.command(), now),
        )?;
        self.run("DELETE FROM app WHERE server_id = ?1 AND source = 'probed'", [id])?;
        self.replace_probed(Owner::Server(id.0), &BTreeMap::new(), now)?;
        self.touch_server(id)
    }

    /// Declares parts of a server; what is None stays.
    pub fn declare_server(&self, id: ServerId, declared: &Declared, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE server SET slots = coalesce(?2, slots), cpus = coalesce(?3, cpus), mem = coalesce(?4, mem),
                    max_load = coalesce(?5, max_load), accepts = coalesce(?6, accepts), prologue = coalesce(?7, prologue),
                    declared_at = ?8 WHERE id = ?1",
            (
                id,
                declared.slots,
                declared.cpus,
                declared.mem,
                declared.max_load,
                &declared.accepts,
                &declared.prologue,
                now,
            ),
        )?;
        for (name, version) in &declared.apps {
            self.run(
                "INSERT INTO app (server_id, name, version, source, read_at) VALUES (?1, ?2, ?3, 'declared', ?4)
                 ON CONFLICT DO UPDATE SET version = excluded.version, read_at = excluded.read_at",
                (id, name, version, now),
            )?;
        }
        self.set_attributes(Owner::Server(id.0), &declared.attributes, Source::Declared, now)?;
        self.touch_server(id)
    }

    /// Takes back a declared option, attribute or application; false if there was none of that name.
    pub fn unset_server(&self, id: ServerId, name: &str) -> Result<bool> {
        let mut gone = self.unset_attribute(Owner::Server(id.0), name)?;
        if let Some((_, sql)) = DECLARED_COLUMNS.iter().find(|(column, _)| *column == name.replace('-', "_")) {
            gone |= self.run(sql, [id])? > 0;
        }
        gone |= self.run("DELETE FROM app WHERE server_id = ?1 AND name = ?2 AND source = 'declared'", (id, name))? > 0;
        self.touch_server(id)?;
        Ok(gone)
    }

    /// Drains with a reason, or resumes with None.
    pub fn set_drained(&self, id: ServerId, reason: Option<&str>) -> Result<()> {
        self.run("UPDATE server SET drained = ?2 WHERE id = ?1", (id, reason))?;
        self.touch_server(id)
    }

    /// Removes a server on which nothing runs. Its groups lose it; what ran there keeps its name.
    pub fn remove_server(&self, id: ServerId) -> Result<()> {
        self.touch_server(id)?;
        self.run("DELETE FROM group_member WHERE member_id = ?1", [id])?;
        self.drop_attributes(Owner::Server(id.0))?;
        self.run("INSERT INTO former_server (id, name) SELECT id, name FROM server WHERE id = ?1", [id])?;
        self.run("DELETE FROM server WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Keeps a server for a task that waits too long, or frees it again.
    pub fn keep_server(&self, id: ServerId, task: Option<TaskId>) -> Result<()> {
        self.run("UPDATE server SET kept_for = ?2 WHERE id = ?1", (id, task))?;
        self.touch_server(id)
    }
}
