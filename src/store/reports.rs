//! What second-tier distributors report of themselves: records of those in other homes, and where ours are registered.

use super::columns::json;
use super::reading::{is_of_the_row, readable, words};
use super::{Result, Tx, View};
use crate::model::distributor::{Load, stale_after};
use crate::model::endpoint::Endpoint;
use crate::model::id::DistributorId;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use std::time::Duration;

/// A record, as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub incarnation: u64,
    pub sequence: u64,
    pub load: Load,
    pub apps: Vec<String>,
    pub health: String,
    pub release: String,
    pub why: String,
    /// It reports at least this often, as it says.
    pub period: Option<Duration>,
}

impl Received {
    /// True if a newer one is overdue: its numbers do not count any more.
    pub fn is_stale(&self, received_at: Timestamp, now: Timestamp) -> bool {
        received_at.age_at(now) >= stale_after(self.period)
    }
}

/// When a registered distributor reports itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On {
    pub change: bool,
    pub event: bool,
    pub period: Option<Duration>,
}

/// Where a second-tier distributor of this home is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    pub distributor: DistributorId,
    pub endpoint: Endpoint,
    pub name: Name,
    pub offers: Endpoint,
    pub on: On,
    pub to_all: bool,
    pub sequence: u64,
    /// The last record sent, as JSON.
    pub sent: Option<String>,
    pub sent_at: Option<Timestamp>,
    pub error: Option<String>,
    pub pushed: bool,
    /// It is there because another registration of the distributor is `to_all`, and goes with that.
    pub implied: bool,
    /// Unregistered since then; the first tier has not been told yet.
    pub left_at: Option<Timestamp>,
}

impl Registration {
    /// False once it was unregistered.
    pub const fn is_live(&self) -> bool {
        self.left_at.is_none()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const REGISTRATIONS: &str = "
    SELECT distributor_id, endpoint, name, offers, on_change, on_event, period, to_all, sequence, sent, sent_at, error, pushed,
           implied, left_at
    FROM registration ORDER BY distributor_id, endpoint";

fn read_registration(row: &rusqlite::Row<'_>) -> rusqlite::Result<Registration> {
    Ok(Registration {
        distributor: row.get(0)?,
        endpoint: row.get(1)?,
        name: row.get(2)?,
        offers: row.get(3)?,
        on: On {
            change: row.get(4)?,
            event: row.get(5)?,
            period: row.get::<_, Option<u64>>(6)?.map(Duration::from_millis),
        },
        to_all: row.get(7)?,
        sequence: row.get(8)?,
        sent: row.get(9)?,
        sent_at: row.get(10)?,
        error: row.get(11)?,
        pushed: row.get(12)?,
        implied: row.get(13)?,
        left_at: row.get(14)?,
    })
}

impl View<'_> {
    /// The last record of a member elsewhere, and when it came.
    pub fn report_of(&self, id: DistributorId) -> Result<Option<(Received, Timestamp)>> {
        readable(self.report_strictly(id))
    }

    /// The last record of a member elsewhere; an error where it can't be read.
    pub(super) fn report_strictly(&self, id: DistributorId) -> Result<Option<(Received, Timestamp)>> {
        self.one(
            "SELECT incarnation, sequence, servers, slots, running, waiting, idle_cpus, power, apps, health, version, why, received_at, period
             FROM report WHERE distributor_id = ?1",
            [id],
            |row| {
                let load = Load {
                    servers: row.get(2)?,
                    slots: row.get(3)?,
                    running: row.get(4)?,
                    waiting: row.get(5)?,
                    idle_cpus: row.get(6)?,
                    power: row.get(7)?,
                };
                let received = Received {
                    incarnation: row.get(0)?,
                    sequence: row.get(1)?,
                    load,
                    apps: json(&row.get::<_, String>(8)?)?,
                    health: row.get(9)?,
                    release: row.get(10)?,
                    why: row.get(11)?,
                    period: row.get::<_, Option<u64>>(13)?.map(Duration::from_millis),
                };
                Ok((received, row.get(12)?))
            },
        )
    }

    /// Members that were placed at a member elsewhere since its last report.
    pub fn placed_since(&self, id: DistributorId) -> Result<u32> {
        let placed = self.one("SELECT placed FROM report WHERE distributor_id = ?1", [id], |row| row.get(0))?;
        Ok(placed.unwrap_or(0))
    }

    /// Where distributors of this home are registered, and where they unregister.
    pub fn registrations(&self) -> Result<Vec<Registration>> {
        self.all_readable(REGISTRATIONS, [], read_registration)
    }

    /// Why registrations can't be read.
    pub(super) fn registration_faults(&self) -> Result<Vec<String>> {
        let rows = self.all(REGISTRATIONS, [], |row| match read_registration(row) {
            Err(error) if is_of_the_row(&error) => Ok(Some(words(&error))),
            other => other.map(|_| None),
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Is it registered there? None: nothing is known of it; false: it unregisters.
    pub fn is_registered(&self, id: DistributorId, endpoint: &Endpoint) -> Result<Option<bool>> {
        self.one(
            "SELECT left_at IS NULL FROM registration WHERE distributor_id = ?1 AND endpoint = ?2",
            (id, endpoint),
            |row| row.get(0),
        )
    }

    /// Does a distributor of this home report itself periodically?
    pub fn reports_periodically(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM registration WHERE period IS NOT NULL AND left_at IS NULL LIMIT 1";
        Ok(self.one(sql, [], |_| Ok(()))?.is_some())
    }

    /// Applications on the servers of a distributor, by name.
    pub fn apps_of(&self, id: DistributorId) -> Result<Vec<String>> {
        self.all(
            "SELECT DISTINCT a.name FROM app a JOIN server s ON s.id = a.server_id WHERE s.distributor_id = ?1 ORDER BY a.name LIMIT 200",
            [id],
            |row| row.get(0),
        )
    }
}

impl Tx<'_> {
    /// Takes a record, if it is newer than the one that is there: by incarnation and sequence. False: it is not.
    pub fn take_report(&self, id: DistributorId, new: &Received, now: Timestamp) -> Result<bool> {
        let apps = serde_json::to_string(&new.apps).unwrap_or_else(|_| "[]".to_owned());
        let taken = self.run(
            "INSERT INTO report (distributor_id, incarnation, sequence, servers, slots, running, waiting, idle_cpus, power, apps, health,
                                 version, why, received_at, period)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, sequence = excluded.sequence, servers = excluded.servers,
                 slots = excluded.slots, running = excluded.running, waiting = excluded.waiting, idle_cpus = excluded.idle_cpus,
                 power = excluded.power, apps = excluded.apps, health = excluded.health, version = excluded.version, why = excluded.why,
                 received_at = excluded.received_at, period = excluded.period, placed = 0
             WHERE (excluded.incarnation, excluded.sequence) > (incarnation, sequence)",
            rusqlite::params![
                id,
                new.incarnation,
                new.sequence,
                new.load.servers,
                new.load.slots,
                new.load.running,
                new.load.waiting,
                new.load.idle_cpus,
                new.load.power,
                apps,
                new.health,
                new.release,
                new.why,
                now,
                new.period.map(millis),
            ],
        )?;
        Ok(taken > 0)
    }

    /// Members were placed there: they count before it reports them itself.
    pub fn placed_there(&self, id: DistributorId, members: u32) -> Result<()> {
        self.run("UPDATE report SET placed = placed + ?2 WHERE distributor_id = ?1", (id, members))?;
        Ok(())
    }

    /// Registers a distributor of this home, or changes how it is.
    pub fn register(&self, new: &Registration) -> Result<()> {
        self.run(
            "INSERT INTO registration (distributor_id, endpoint, name, offers, on_change, on_event, period, to_all, pushed,
                                       implied)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9)
             ON CONFLICT DO UPDATE SET name = excluded.name, offers = excluded.offers, on_change = excluded.on_change,
                 on_event = excluded.on_event, period = excluded.period, to_all = excluded.to_all, pushed = 1,
                 implied = excluded.implied, left_at = NULL, error = NULL",
            (
                new.distributor,
                &new.endpoint,
                &new.name,
                &new.offers,
                new.on.change,
                new.on.event,
                new.on.period.map(millis),
                new.to_all,
                new.implied,
            ),
        )?;
        Ok(())
    }

    /// A distributor is not registered there any more. The first tier is told so, if it ever took a report.
    pub fn unregister(&self, id: DistributorId, endpoint: &Endpoint, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE registration SET left_at = ?3, error = NULL, pushed = 1
             WHERE distributor_id = ?1 AND endpoint = ?2 AND left_at IS NULL",
            (id, endpoint, now),
        )?;
        self.run("DELETE FROM registration WHERE left_at IS NOT NULL AND sent IS NULL", [])?;
        self.drop_unused_endpoint_commands()
    }

    /// The first tier knows that the distributor has left, or will never hear of it.
    pub fn forget_registration(&self, id: DistributorId, endpoint: &Endpoint) -> Result<()> {
        self.run(
            "DELETE FROM registration WHERE distributor_id = ?1 AND endpoint = ?2 AND left_at IS NOT NULL",
            (id, endpoint),
        )?;
        self.drop_unused_endpoint_commands()
    }

    /// The next record of a distributor: its sequence number is above all earlier ones of this home, also of registrations
    /// that are gone.
    pub fn next_sequence(&self, id: DistributorId) -> Result<u64> {
        let last: Option<u64> = self.setting("reports")?.and_then(|text| text.parse().ok());
        let known: Option<Option<u64>> = self.one("SELECT max(sequence) FROM registration", [], |row| row.get(0))?;
        let next = last.max(known.flatten()).unwrap_or(0) + 1;
        self.set_setting("reports", Some(&next.to_string()))?;
        self.run("UPDATE registration SET sequence = ?2 WHERE distributor_id = ?1", (id, next))?;
        Ok(next)
    }

    /// A record arrived there, or did not, and why.
    pub fn sent_report(
        &self,
        id: DistributorId,
        endpoint: &Endpoint,
        record: &str,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        match error {
            None => self.run(
                "UPDATE registration SET sent = ?3, sent_at = ?4, error = NULL, pushed = 0 WHERE distributor_id = ?1 AND endpoint = ?2",
                (id, endpoint, record, now),
            )?,
            // The newest state goes later, whatever it is then.
            Some(error) => self.run(
                "UPDATE registration SET error = ?3, pushed = 1, sent_at = ?4 WHERE distributor_id = ?1 AND endpoint = ?2",
                (id, endpoint, error, now),
            )?,
        };
        Ok(())
    }

    /// Send the newest state at once.
    pub fn push_reports(&self) -> Result<usize> {
        self.run("UPDATE registration SET pushed = 1, error = NULL", [])
    }
}
