//! Both distributor sets.

use super::attributes::Owner;
use super::reading::{Lenient, is_of_the_row, words};
use super::{Result, Tx, View};
use crate::model::distributor::{Endpoint, Load, Policy, Record, Tier};
use crate::model::id::{DistributorId, HomeId};
use crate::model::name::Name;
use crate::model::time::Timestamp;
use std::time::Duration;

/// A silent member is tried again after this long: by the dispatcher that runs, else by the next search.
pub const SILENT_RETRY: Duration = Duration::from_secs(30);

const SELECT: &str =
    "SELECT id, name, endpoint, home, there, allowed, drained, silent_since, tried_at, tier, left_at FROM distributor ";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let silent_since: Option<Timestamp> = row.get(7)?;
    let tried_at: Option<Timestamp> = row.get(8)?;
    Ok(Record {
        id: row.get(0)?,
        name: row.get(1)?,
        tier: if row.get::<_, i64>(9)? == 1 { Tier::First } else { Tier::Second },
        endpoint: row.get(2)?,
        home: row.get(3)?,
        there: row.get(4)?,
        called: None,
        allowed: row.get(5)?,
        drained: row.get(6)?,
        silent_since,
        left_at: row.get(10)?,
        due: silent_since.is_some() && tried_at.is_none_or(|at| at.is_past(SILENT_RETRY, Timestamp::now())),
        load: None,
    })
}

impl View<'_> {
    /// The members of a tier in the order in which they stand.
    pub fn distributors(&self, tier: Tier) -> Result<Vec<Record>> {
        self.all_readable(&format!("{SELECT} WHERE tier = ?1 ORDER BY position, id"), [u8::from(tier)], read)
    }

    /// Does a tier have more than one member?
    pub fn has_several_distributors(&self, tier: Tier) -> Result<bool> {
        let second = "SELECT 1 FROM distributor WHERE tier = ?1 LIMIT 1 OFFSET 1";
        Ok(self.one(second, [u8::from(tier)], |_| Ok(()))?.is_some())
    }

    /// Members whose rows can't be read, by what can be read of their names, and why.
    pub(super) fn distributor_faults(&self) -> Result<Vec<(String, String)>> {
        let rows = self.all(&format!("{SELECT} ORDER BY id"), [], |row| {
            let name = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
            match read(row) {
                Err(error) if is_of_the_row(&error) => Ok(Some((name, words(&error)))),
                other => other.map(|_| None),
            }
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// A tier as it is searched now: its members, how, and where round-robin begins. Loads only where they decide.
    pub fn search_set(&self, tier: Tier) -> Result<(Vec<Record>, Policy, u64)> {
        let (policy, cursor) = self.search_policy(tier)?;
        let mut members = self.distributors(tier)?;
        if policy == Policy::LeastLoaded {
            for member in &mut members {
                member.load = self.load_to_search_by(member, Timestamp::now())?;
            }
        }
        Ok((members, policy, cursor))
    }

    /// Does a member of either tier live in another home?
    pub fn reaches_elsewhere(&self) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM distributor WHERE endpoint <> ?1 LIMIT 1", [Endpoint::Local], |_| Ok(()))?.is_some())
    }

    /// The load that a search goes by. None: it is not known, or its record is too old.
    fn load_to_search_by(&self, member: &Record, now: Timestamp) -> Result<Option<Load>> {
        if member.endpoint == Endpoint::Local && member.home.is_none() {
            return self.load_of(member.id).map(Some);
        }
        let Some((report, at)) = self.report_of(member.id)? else { return Ok(None) };
        if report.is_stale(at, now) {
            return Ok(None);
        }
        let placed = self.placed_since(member.id)?;
        Ok(Some(Load { waiting: report.load.waiting.saturating_add(placed), ..report.load }))
    }

    /// What a member has to do: as it is where it lives here, else as it reported last.
    pub fn load_known(&self, member: &Record) -> Result<Load> {
        match (&member.endpoint, member.home) {
            (Endpoint::Local, None) => self.load_of(member.id),
            _ => Ok(self.report_of(member.id)?.map(|(report, _)| report.load).unwrap_or_default()),
        }
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
            Ok((row.get::<_, String>(0)?.parse().unwrap_or_default(), row.get(1).unwrap_or_default()))
        })?;
        Ok(row.unwrap_or_default())
    }

    /// What a second-tier distributor of this home would report.
    pub fn load_of(&self, id: DistributorId) -> Result<Load> {
        let servers = self.one(
            // Several servers may share a host: what that has is there once, and no more of it than their parts.
            "WITH up AS MATERIALIZED (SELECT host_id, slots, cpus, taken_slots, taken_cpus FROM server
                 WHERE distributor_id = ?1 AND engine <> 'group' AND drained IS NULL AND health = 'UP'),
             parts AS (SELECT max(0.0, h.idle_cpus - h.started_since) AS idle, h.power AS power, max(h.cpus, 1.0) AS cpus,
                     sum(coalesce(u.cpus, h.cpus)) AS part, sum(max(0.0, coalesce(u.cpus, h.cpus) - u.taken_cpus)) AS free
                 FROM up u JOIN host h ON h.id = u.host_id GROUP BY h.id),
             hosts AS (SELECT coalesce(sum(min(idle, free)), 0.0) AS idle, coalesce(sum(power * min(1.0, 1.0 * part / cpus)), 0.0) AS power
                 FROM parts)
             SELECT count(*), coalesce(sum(coalesce(s.slots, s.cpus, h.cpus)), 0), coalesce(sum(s.taken_slots), 0),
                    (SELECT idle FROM hosts), (SELECT power FROM hosts)
             FROM up s LEFT JOIN host h ON h.id = s.host_id",
            [id],
            |row| {
                let mut of = Lenient::of(row);
                Ok(Load {
                    servers: of.get(0),
                    slots: of.get(1),
                    running: of.get(2),
                    waiting: 0,
                    idle_cpus: of.get(3),
                    power: of.get(4),
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

    /// It lives in another home: how that is reached, and its name over there.
    pub fn set_endpoint(&self, id: DistributorId, endpoint: &Endpoint, there: Option<&Name>) -> Result<()> {
        self.run(
            "UPDATE distributor SET endpoint = ?2, there = ?3, silent_since = NULL, silent_why = NULL, tried_at = NULL WHERE id = ?1",
            (id, endpoint, there),
        )?;
        Ok(())
    }

    /// Registered, and allowed by the owner or not.
    pub fn set_allowed(&self, id: DistributorId, allowed: bool) -> Result<()> {
        self.run("UPDATE distributor SET allowed = ?2 WHERE id = ?1", (id, allowed))?;
        Ok(())
    }

    /// It unregistered, or is back: searches skip it, or ask it again.
    pub fn set_left(&self, id: DistributorId, at: Option<Timestamp>) -> Result<()> {
        self.run("UPDATE distributor SET left_at = ?2 WHERE id = ?1", (id, at))?;
        Ok(())
    }

    /// A name belongs to the home that first took it.
    pub fn set_distributor_home(&self, id: DistributorId, home: HomeId) -> Result<()> {
        self.run("UPDATE distributor SET home = ?2 WHERE id = ?1", (id, home))?;
        Ok(())
    }

    /// Records that the home behind this endpoint said hello.
    pub fn endpoint_answers(&self, endpoint: &Endpoint, home: HomeId) -> Result<()> {
        self.run(
            "UPDATE distributor SET silent_since = NULL, silent_why = NULL, tried_at = NULL, home = ?2
             WHERE endpoint = ?1 AND (silent_since IS NOT NULL OR home IS NOT ?2)",
            (endpoint, home),
        )?;
        Ok(())
    }

    /// Records that the home behind this endpoint does not answer, for this reason.
    pub fn endpoint_silent(&self, endpoint: &Endpoint, why: &str, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE distributor SET silent_since = coalesce(silent_since, ?2), silent_why = ?3, tried_at = ?2 WHERE endpoint = ?1",
            (endpoint, now, why),
        )?;
        Ok(())
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

    /// The next search of a tier begins one member further, where that is searched by round-robin.
    pub fn advance_cursor(&self, tier: Tier) -> Result<()> {
        let sql = "UPDATE distributor_set SET cursor = cursor + 1 WHERE tier = ?1 AND policy = ?2";
        self.run(sql, (u8::from(tier), Policy::RoundRobin.word()))?;
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
        self.drop_unused_endpoint_commands()
    }
}

impl View<'_> {
    /// Why a silent one does not answer, and when it was tried last.
    pub fn silence(&self, id: DistributorId) -> Result<(Option<String>, Option<Timestamp>)> {
        let row = self.one("SELECT silent_why, tried_at FROM distributor WHERE id = ?1", [id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(row.unwrap_or_default())
    }

    /// Endpoints whose home did not answer when last tried.
    pub fn silent_endpoints(&self) -> Result<Vec<(Endpoint, Timestamp)>> {
        self.all_readable(
            "SELECT endpoint, max(coalesce(tried_at, silent_since)) FROM distributor WHERE silent_since IS NOT NULL GROUP BY endpoint",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Does a second-tier distributor own any task?
    pub fn distributor_has_tasks(&self, id: DistributorId) -> Result<bool> {
        let sql = "SELECT 1 FROM class c JOIN task t ON t.class_id = c.id WHERE c.distributor_id = ?1 LIMIT 1";
        Ok(self.one(sql, [id], |_| Ok(()))?.is_some())
    }
}
