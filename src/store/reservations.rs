//! What lanes hold of servers and hosts.

use super::columns::{as_near_as_can_be, at_least_none};
use super::phases::live;
use super::{Result, Tx, View};
use crate::model::id::{DistributorId, HostId, LaneId, ServerId, TaskId};
use crate::model::resources::Needs;
use crate::model::server::{Booked, Taken};
use std::collections::HashMap;
use std::ops::Range;

impl View<'_> {
    /// Members of this home that run on a server now.
    pub fn running_on(&self, id: ServerId) -> Result<u32> {
        let found = self.one(
            concat!("SELECT count(*) FROM member WHERE state IN ", live!(), " AND (server_id = ?1 OR host_id = ?1)"),
            [id],
            |row| row.get(0),
        )?;
        Ok(found.unwrap_or(0))
    }

    /// What is taken of each server of a distributor. A dispatcher books without a change of the servers being counted.
    pub fn booked(&self, distributor: DistributorId) -> Result<Vec<Booked>> {
        self.all(
            "SELECT s.id, s.kept_for, s.taken_slots, s.taken_cpus, s.taken_mem, h.id IS NOT NULL, h.taken_cpus, h.taken_mem, h.started_since, h.mem_since
             FROM server s LEFT JOIN host h ON h.id = s.host_id WHERE s.distributor_id = ?1",
            [distributor],
            |row| {
                let taken = Taken { slots: at_least_none(row, 2)?, cpus: at_least_none(row, 3)?, mem: row.get(4)? };
                let pool = if row.get(5)? {
                    Some((Taken { slots: 0, cpus: at_least_none(row, 6)?, mem: row.get(7)? }, as_near_as_can_be(row, 8)?, row.get(9)?))
                } else {
                    None
                };
                Ok(Booked { server: row.get(0)?, taken, kept_for: row.get(1)?, pool })
            },
        )
    }
}

/// What is taken of a server or a host otherwise than the lanes that live on it take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscount {
    /// The server's name, or that of the host.
    pub of: String,
    /// Slots, cpus, bytes: as they are counted, and as they should be.
    pub counted: [i64; 3],
    pub held: [i64; 3],
}

impl View<'_> {
    /// What each lane holds in which something lives: the server it was chosen by, the one it runs on. Members whose process is gone
    /// hold nothing.
    fn held_by_lanes(&self) -> Result<Vec<(ServerId, ServerId, Needs)>> {
        self.all(
            concat!(
                "SELECT m.server_id, m.host_id, json_extract(c.demand, '$.cpus'), json_extract(c.demand, '$.mem')
             FROM member m JOIN task t ON t.id = m.task_id JOIN class c ON c.id = t.class_id
             WHERE m.state IN ",
                live!(),
                " AND m.lane IS NOT NULL GROUP BY m.lane"
            ),
            [],
            |row| {
                // Of a class that can't be read as one that says nothing.
                let cpus = row.get::<_, Option<u32>>(2).ok().flatten().unwrap_or(1);
                let needs = Needs { cpus, mem: row.get(3).unwrap_or_default() };
                Ok((row.get(0)?, row.get(1)?, needs))
            },
        )
    }

    /// In how many lanes members of a task live.
    pub fn lanes_of(&self, task: TaskId) -> Result<u32> {
        let sql = concat!("SELECT count(DISTINCT lane) FROM member WHERE task_id = ?1 AND state IN ", live!());
        Ok(self.one(sql, [task], |row| row.get(0))?.unwrap_or(0))
    }

    /// Servers and hosts of which something else is taken than what lives there holds: none, at any time.
    pub fn miscounted(&self) -> Result<Vec<Miscount>> {
        let three = |row: &rusqlite::Row<'_>| Ok::<_, rusqlite::Error>([row.get(2)?, row.get(3)?, row.get(4)?]);
        let servers = self.all(
            "SELECT id, name, taken_slots, taken_cpus, taken_mem, host_id FROM server ORDER BY name",
            [],
            |row| {
                Ok((
                    row.get::<_, ServerId>(0)?,
                    row.get::<_, String>(1)?,
                    three(row)?,
                    row.get::<_, Option<HostId>>(5)?,
                ))
            },
        )?;
        let hosts = self.all("SELECT id, hostname, 0, taken_cpus, taken_mem FROM host ORDER BY id", [], |row| {
            Ok((row.get::<_, HostId>(0)?, row.get::<_, String>(1)?, three(row)?))
        })?;
        let mut of_server: HashMap<ServerId, [i64; 3]> = HashMap::new();
        let mut of_host: HashMap<HostId, [i64; 3]> = HashMap::new();
        for (server, host, needs) in self.held_by_lanes()? {
            let mem = i64::try_from(needs.mem.map_or(0, |mem| mem.0)).unwrap_or(0);
            let add = |sum: &mut [i64; 3], slots| {
                sum.iter_mut().zip([slots, i64::from(needs.cpus), mem]).for_each(|(sum, more)| *sum += more);
            };
            for id in std::iter::once(server).chain((host != server).then_some(host)) {
                add(of_server.entry(id).or_default(), 1);
            }
            if let Some(pool) = servers.iter().find(|(id, ..)| *id == host).and_then(|(.., pool)| *pool) {
                add(of_host.entry(pool).or_default(), 0);
            }
        }
        let servers = servers.into_iter().map(|(id, of, counted, _)| (of, counted, of_server.remove(&id)));
        let hosts = hosts.into_iter().map(|(id, of, counted)| (format!("host {of}"), counted, of_host.remove(&id)));
        let all: Vec<_> = servers.chain(hosts).collect();
        let all = all.into_iter().map(|(of, counted, held)| Miscount { of, counted, held: held.unwrap_or_default() });
        Ok(all.filter(|count| count.counted != count.held).collect())
    }
}

impl Tx<'_> {
    /// A new lane.
    pub fn new_lane(&self) -> Result<LaneId> {
        Ok(LaneId(self.new_lanes(1)?.start))
    }

    /// The numbers of so many new lanes.
    pub fn new_lanes(&self, count: u32) -> Result<Range<i64>> {
        self.run("UPDATE home SET lanes = lanes + ?1 WHERE one = 1", [count])?;
        let last: Option<i64> = self.one("SELECT lanes FROM home", [], |row| row.get(0))?;
        let behind = last.unwrap_or(0) + 1;
        Ok(behind - i64::from(count)..behind)
    }

    /// Reserves what one lane needs on a server.
    pub fn take(&self, server: ServerId, host: ServerId, needs: Needs) -> Result<()> {
        self.count_taken(server, host, needs, 1)
    }

    /// Gives it back.
    pub fn give_back(&self, server: ServerId, host: ServerId, needs: Needs) -> Result<()> {
        self.count_taken(server, host, needs, -1)
    }

    /// Counts again what is taken, from the lanes that live: a dispatcher that begins trusts nothing else.
    pub fn recount_taken(&self) -> Result<()> {
        // Of ten thousand servers few hold something: the others are not written.
        self.run(
            "UPDATE server SET taken_slots = 0, taken_cpus = 0, taken_mem = 0 WHERE taken_slots <> 0 OR taken_cpus <> 0 OR taken_mem <> 0",
            [],
        )?;
        self.run(
            "UPDATE host SET taken_cpus = 0, taken_mem = 0, started_since = 0, mem_since = 0
             WHERE taken_cpus <> 0 OR taken_mem <> 0 OR started_since <> 0 OR mem_since <> 0",
            [],
        )?;
        if !self.has_live()? {
            return Ok(());
        }
        for (server, host, needs) in self.held_by_lanes()? {
            self.take(server, host, needs)?;
        }
        Ok(())
    }

    /// What a lane takes from its server, from the group it was chosen by, and from the host. `sign` is 1 to take, -1 to give back.
    pub(super) fn count_taken(&self, server: ServerId, host: ServerId, needs: Needs, sign: i64) -> Result<()> {
        let (cpus, mem) =
            (sign * i64::from(needs.cpus), sign * i64::try_from(needs.mem.map_or(0, |m| m.0)).unwrap_or(0));
        for id in std::iter::once(server).chain((host != server).then_some(host)) {
            self.run(
                "UPDATE server SET taken_slots = taken_slots + ?2, taken_cpus = taken_cpus + ?3, taken_mem = taken_mem + ?4 WHERE id = ?1",
                (id, sign, cpus, mem),
            )?;
        }
        self.run(
            "UPDATE host SET taken_cpus = taken_cpus + ?2, taken_mem = taken_mem + ?3, started_since = started_since + ?2, mem_since = mem_since + ?3
             WHERE id = (SELECT host_id FROM server WHERE id = ?1)",
            (host, cpus, mem),
        )?;
        Ok(())
    }
}
