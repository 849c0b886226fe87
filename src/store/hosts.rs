//! What agents say of hosts: readings, contact, silence.

use super::attributes::Owner;
use super::{Result, Tx};
use crate::model::bounds;
use crate::model::facts::Facts;
use crate::model::id::{HostId, ServerId};
use crate::model::time::Timestamp;

impl Tx<'_> {
    /// Takes in a reading of a server's host. The best power that was seen since its boot is its power: measures of its servers, and of
    /// other moments, are smaller where something else kept it busy.
    pub fn record_facts(&self, id: ServerId, facts: &Facts, at: Timestamp) -> Result<()> {
        let gpus = serde_json::to_string(&facts.gpus).unwrap_or_else(|_| "[]".to_owned());
        let host: Option<HostId> = self.one(
            "INSERT INTO host (machine, boot_id, hostname, os, arch, kernel, cpus, power, load1, idle_cpus, mem_total, mem_available, disk_free, gpus, read_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (machine, boot_id) DO UPDATE SET hostname = excluded.hostname, os = excluded.os, arch = excluded.arch,
                 kernel = excluded.kernel, cpus = excluded.cpus,
                 power = CASE cpus WHEN excluded.cpus THEN max(power, excluded.power) ELSE excluded.power END, load1 = excluded.load1, idle_cpus = excluded.idle_cpus,
                 mem_total = excluded.mem_total, mem_available = excluded.mem_available, disk_free = excluded.disk_free, gpus = excluded.gpus,
                 read_at = excluded.read_at, started_since = 0, mem_since = 0
             RETURNING id",
            rusqlite::params![
                facts.machine, facts.boot, facts.hostname, facts.os, facts.arch, facts.kernel, facts.cpus, facts.power, facts.load1,
                facts.idle_cpus, facts.mem_total, facts.mem_available, facts.disk_free, gpus, at
            ],
            |row| row.get(0),
        )?;
        let before: Option<Option<HostId>> =
            self.one("SELECT host_id FROM server WHERE id = ?1", [id], |row| row.get(0))?;
        let left = before.flatten().filter(|before| Some(*before) != host);
        if left.is_some() {
            self.touch_server(id)?;
        }
        self.run(
            "UPDATE server SET host_id = ?2, health = 'UP', error = NULL, since = NULL, contacted_at = ?3 WHERE id = ?1",
            (id, host, at),
        )?;
        // A host that was renamed, or booted, is another one: what this server's lanes hold is held there now.
        if let Some(left) = left {
            self.run(
                "UPDATE host SET (taken_cpus, taken_mem) =
                     (SELECT coalesce(sum(taken_cpus), 0), coalesce(sum(taken_mem), 0) FROM server WHERE host_id = host.id)
                 WHERE id IN (?1, ?2)",
                (left, host),
            )?;
            self.run(
                "DELETE FROM host WHERE id = ?1 AND id NOT IN (SELECT host_id FROM server WHERE host_id IS NOT NULL)",
                [left],
            )?;
        }
        self.run("DELETE FROM app WHERE server_id = ?1 AND source = 'probed'", [id])?;
        let residing = facts.residing(self.prologue(id)?.as_deref());
        for (name, version) in &residing.apps {
            self.run(
                "INSERT INTO app (server_id, name, version, source, read_at) VALUES (?1, ?2, ?3, 'probed', ?4)",
                (id, name, version.as_ref().map(|v| &v.0), at),
            )?;
        }
        self.replace_probed(Owner::Server(id.0), &residing.probed, at)?;
        self.touch_server(id)
    }

    /// The server does not answer.
    pub fn record_down(&self, id: ServerId, error: &str, at: Timestamp) -> Result<()> {
        let mut error = error.to_owned();
        bounds::cut(&mut error);
        self.run(
            "UPDATE server SET since = CASE health WHEN 'DOWN' THEN since ELSE ?3 END, health = 'DOWN', error = ?2 WHERE id = ?1",
            (id, error, at),
        )?;
        self.touch_server(id)
    }

    /// The server answered.
    pub fn record_contact(&self, id: ServerId, at: Timestamp) -> Result<()> {
        self.run("UPDATE server SET contacted_at = ?2 WHERE id = ?1", (id, at))?;
        let woke = self.run("UPDATE server SET health = 'UP', error = NULL, since = NULL WHERE id = ?1 AND health <> 'UP' AND host_id IS NOT NULL", [id])?;
        if woke > 0 { self.touch_server(id) } else { Ok(()) }
    }

    /// It was heard of last at that time, and is not any more.
    pub fn record_last_contact(&self, id: ServerId, at: Timestamp) -> Result<()> {
        self.run("UPDATE server SET contacted_at = max(coalesce(contacted_at, 0), ?2) WHERE id = ?1", (id, at))?;
        Ok(())
    }

    /// Lets the dispatcher look again at a server, at those on the same host and at the groups that it is in.
    pub fn touch_server(&self, id: ServerId) -> Result<()> {
        self.run("UPDATE home SET changes = changes + 1 WHERE one = 1", [])?;
        self.run(
            "UPDATE server SET changed = (SELECT changes FROM home)
             WHERE id = ?1 OR host_id = (SELECT host_id FROM server WHERE id = ?1)
                OR id IN (SELECT group_id FROM group_member WHERE member_id = ?1
                          OR member_id IN (SELECT id FROM server WHERE host_id = (SELECT host_id FROM server WHERE id = ?1)))",
            [id],
        )?;
        Ok(())
    }
}
