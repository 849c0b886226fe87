//! Both distributor sets.

use super::attributes::Owner;
use super::{Result, Tx, View};
use crate::model::distributor::{Endpoint, Load, Policy, Record, Tier};
use crate::model::id::DistributorId;
use crate::model::name::Name;
use crate::model::time::Timestamp;

impl View<'_> {
    /// The members of a tier in the order in which they stand, with what is known of them.
    pub fn distributors(&self, tier: Tier) -> Result<Vec<Record>> {
        let rows = self.all(
            "SELECT id, name, drained, silent_since FROM distributor WHERE tier = ?1 ORDER BY position, id",
            [u8::from(tier)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let mut records = Vec::with_capacity(rows.len());
        for (id, name, drained, silent_since) in rows {
            let load = self.load_of(id)?;
            records.push(Record { id, name, tier, endpoint: Endpoint::Local, drained, silent_since, load });
        }
        Ok(records)
    }

    /// One by name, of either tier.
    pub fn distributor(&self, name: &str) -> Result<Option<Record>> {
        for tier in [Tier::First, Tier::Second] {
            if let Some(found) = self.distributors(tier)?.into_iter().find(|d| d.name.as_str() == name) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How a tier is searched, and where round-robin begins next.
    pub fn search_policy(&self, tier: Tier) -> Result<(Policy, u64)> {
        let row = self.one("SELECT policy, cursor FROM distributor_set WHERE tier = ?1", [u8::from(tier)], |row| {
            Ok((row.get::<_, String>(0)?.parse().unwrap_or_default(), row.get(1)?))
        })?;
        Ok(row.unwrap_or_default())
    }

    /// What a second-tier distributor of this home would report.
    pub fn load_of(&self, id: DistributorId) -> Result<Load> {
        let servers = self.one(
            "SELECT count(*), coalesce(sum(coalesce(s.slots, s.cpus, h.cpus)), 0), coalesce(sum(s.taken_slots), 0),
                    coalesce(sum(max(0, h.idle_cpus - h.started_since)), 0.0), coalesce(sum(h.power), 0.0)
             FROM server s LEFT JOIN host h ON h.id = s.host_id
             WHERE s.distributor_id = ?1 AND s.engine <> 'group' AND s.drained IS NULL AND s.health = 'UP'",
            [id],
            |row| {
                Ok(Load {
                    servers: row.get(0)?,
                    slots: row.get(1)?,
                    running: row.get(2)?,
                    waiting: 0,
                    idle_cpus: row.get(3)?,
                    power: row.get(4)?,
                })
            },
        )?;
        let waiting = self.one(
            "SELECT coalesce(sum(waiting), 0) FROM class WHERE distributor_id = ?1 AND waiting > 0",
            [id],
            |row| row.get(0),
        )?;
        Ok(Load { waiting: waiting.unwrap_or(0), ..servers.unwrap_or_default() })
    }
}

impl Tx<'_> {
    /// A new member behind the others of its tier.
    pub fn add_distributor(&self, name: &Name, tier: Tier, now: Timestamp) -> Result<DistributorId> {
        self.run(
            "INSERT INTO distributor (name, tier, position, created_at)
             VALUES (?1, ?2, (SELECT coalesce(max(position), 0) + 1 FROM distributor WHERE tier = ?2), ?3)",
            (name, u8::from(tier), now),
        )?;
        Ok(DistributorId(self.inserted()))
    }

    /// Drains with a reason, or resumes with None.
    pub fn set_distributor_drained(&self, id: DistributorId, reason: Option<&str>) -> Result<()> {
        self.run("UPDATE distributor SET drained = ?2 WHERE id = ?1", (id, reason))?;
        Ok(())
    }

    /// Puts the named members first, in this order; the others follow as they stood.
    pub fn order_distributors(&self, tier: Tier, first: &[DistributorId]) -> Result<()> {
        let mut order = first.to_vec();
        order.extend(self.distributors(tier)?.into_iter().map(|d| d.id).filter(|id| !first.contains(id)));
        for (position, id) in order.iter().enumerate() {
            self.run("UPDATE distributor SET position = ?2 WHERE id = ?1", (id, position + 1))?;
        }
        Ok(())
    }

    /// Sets how a tier is searched.
    pub fn set_search_policy(&self, tier: Tier, policy: Policy) -> Result<()> {
        self.run("UPDATE distributor_set SET policy = ?2 WHERE tier = ?1", (u8::from(tier), policy.word()))?;
        Ok(())
    }

    /// The next search of round-robin begins one member further.
    pub fn advance_cursor(&self, tier: Tier) -> Result<()> {
        self.run("UPDATE distributor_set SET cursor = cursor + 1 WHERE tier = ?1", [u8::from(tier)])?;
        Ok(())
    }

    /// Removes a distributor that has neither servers nor tasks.
    pub fn remove_distributor(&self, id: DistributorId) -> Result<()> {
        self.drop_attributes(Owner::Distributor(id.0))?;
        self.run(
            "DELETE FROM class WHERE distributor_id = ?1 AND NOT EXISTS (SELECT 1 FROM task WHERE class_id = class.id)",
            [id],
        )?;
        self.run("DELETE FROM distributor WHERE id = ?1", [id])?;
        Ok(())
    }
}

impl View<'_> {
    /// Does a second-tier distributor own any task?
    pub fn distributor_has_tasks(&self, id: DistributorId) -> Result<bool> {
        let sql = "SELECT 1 FROM class c JOIN task t ON t.class_id = c.id WHERE c.distributor_id = ?1 LIMIT 1";
        Ok(self.one(sql, [id], |_| Ok(()))?.is_some())
    }
}
