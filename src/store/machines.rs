//! Machines that answered as servers. An attempt is bound to the one that it was sent to: a name may lead to another.

use super::phases::live;
use super::{Result, Tx, View};
use crate::model::id::{Index, MachineId, ServerId, TaskId};
use crate::model::time::Timestamp;

/// A machine that attempts are bound to, while another one answers under the name of their server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misled {
    pub server: ServerId,
    /// Host names: of the machine that answers, since when, and of the one that runs them.
    pub answers: String,
    pub since: Timestamp,
    pub was: String,
    pub attempts: u32,
}

/// Servers of which another machine answered than the one before, and what is still bound to that. The servers first: there are
/// none of these as a rule, and then no member is looked at.
const MISLED: &str = concat!(
    "
    SELECT s.id, now.hostname, s.machine_since, was.hostname, count(*)
    FROM server s CROSS JOIN member m CROSS JOIN machine now CROSS JOIN machine was
    WHERE s.machine_since IS NOT NULL AND m.state IN ",
    live!(),
    " AND m.host_id = s.id AND m.machine_id <> s.machine_id
      AND now.id = s.machine_id AND was.id = m.machine_id
    GROUP BY s.id, was.id ORDER BY s.id, was.hostname"
);

impl Misled {
    /// For a person; `server` by its name.
    pub fn words(&self, server: &str) -> String {
        let Self { answers, was, .. } = self;
        format!("another machine ({answers}) answers as {server} since {}; it was sent to {was}", self.since.local())
    }
}

impl View<'_> {
    /// Attempts that another machine has than the one that answers as their server.
    pub fn misled(&self) -> Result<Vec<Misled>> {
        self.all(MISLED, [], |row| {
            Ok(Misled {
                server: row.get(0)?,
                answers: row.get(1)?,
                since: row.get(2)?,
                was: row.get(3)?,
                attempts: row.get(4)?,
            })
        })
    }

    /// Whether another machine than this one answers as a server, for an attempt that is bound to this machine.
    pub fn misled_from(&self, server: ServerId, machine: MachineId) -> Result<Option<Misled>> {
        self.one(
            "SELECT s.id, now.hostname, s.machine_since, was.hostname FROM server s JOIN machine now ON now.id = s.machine_id
             JOIN machine was ON was.id = ?2 WHERE s.id = ?1 AND s.machine_id <> ?2 AND s.machine_since IS NOT NULL",
            (server, machine),
            |row| {
                let (server, answers, since, was) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(Misled { server, answers, since, was, attempts: 1 })
            },
        )
    }

    /// The machine that answered last as a server: its name and its host name.
    pub fn machine_of(&self, server: ServerId) -> Result<Option<(String, String)>> {
        self.one(
            "SELECT m.name, m.hostname FROM server s JOIN machine m ON m.id = s.machine_id WHERE s.id = ?1",
            [server],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// When a machine was heard of last as a server, as far as that was written down.
    pub fn heard_of(&self, server: ServerId, machine: MachineId) -> Result<Option<Timestamp>> {
        self.one("SELECT at FROM heard WHERE server_id = ?1 AND machine_id = ?2", (server, machine), |row| row.get(0))
    }
}

impl Tx<'_> {
    /// A machine by its name. A row never changes: whatever a server claims, it can't touch another one's.
    pub fn machine(&self, name: &str, hostname: &str) -> Result<MachineId> {
        let id = self.one(
            "INSERT INTO machine (name, hostname) VALUES (?1, ?2)
             ON CONFLICT (name, hostname) DO UPDATE SET hostname = hostname RETURNING id",
            (name, hostname),
            |row| row.get(0),
        )?;
        Ok(id.unwrap_or(MachineId(0)))
    }

    /// The machine of which a server was read last: what was sent there before attempts were bound to machines is bound to it.
    pub fn machine_read(&self, server: ServerId) -> Result<Option<MachineId>> {
        let host = self.one(
            "SELECT h.machine, h.hostname, coalesce(s.contacted_at, h.read_at) FROM server s JOIN host h ON h.id = s.host_id WHERE s.id = ?1",
            [server],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)),
        )?;
        let Some((name, hostname, at)) = host else { return Ok(None) };
        let machine = self.machine(&name, &hostname)?;
        self.record_heard(server, machine, at)?;
        Ok(Some(machine))
    }

    /// A machine answers as this server. True if it was another one before.
    pub fn answers(&self, server: ServerId, machine: MachineId, now: Timestamp) -> Result<bool> {
        let known: Option<Option<MachineId>> =
            self.one("SELECT machine_id FROM server WHERE id = ?1", [server], |row| row.get(0))?;
        let before = match known.flatten() {
            Some(before) => Some(before),
            None => self.machine_read(server)?,
        };
        let changed = before.is_some_and(|before| before != machine);
        if changed || known.flatten().is_none() {
            let since = changed.then_some(now);
            self.run("UPDATE server SET machine_id = ?2, machine_since = ?3 WHERE id = ?1", (server, machine, since))?;
        }
        self.record_heard(server, machine, now)?;
        Ok(changed)
    }

    /// A machine was heard of as this server at this time.
    pub fn record_heard(&self, server: ServerId, machine: MachineId, at: Timestamp) -> Result<()> {
        self.run(
            "INSERT INTO heard (server_id, machine_id, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (server_id, machine_id) DO UPDATE SET at = max(at, excluded.at)",
            (server, machine, at),
        )?;
        Ok(())
    }

    /// Binds a member to the machine that has it.
    pub fn bind(&self, task: TaskId, index: Index, machine: MachineId) -> Result<()> {
        self.run("UPDATE member SET machine_id = ?3 WHERE task_id = ?1 AND idx = ?2", (task, index, machine))?;
        Ok(())
    }
}
