//! Rows that can't be read: written by an older grid, by another program, or damaged. They are found here, and an unended task
//! with one is held, so that it costs nothing else.

use super::phases::any;
use super::reading::{Lenient, is_of_the_row, words};
use super::servers::{SELECT as SERVERS, read_host, read_row};
use super::{Result, StoreError, Tx, View};
use crate::model::id::TaskId;
use crate::model::time::Timestamp;
use crate::store::ledger::Ledger;
use std::collections::HashMap;

/// Of so many ended tasks, the newest, is looked whether they can be read.
const ENDED_LOOK: u32 = 10_000;

/// A row, or what hangs on it, that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The kind of the row, and what a person calls it.
    pub kind: RowKind,
    pub name: String,
    /// Which columns, and why.
    pub why: String,
}

/// What kind of row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A task that has not ended.
    Task,
    EndedTask,
    Server,
    User,
    Client,
    Distributor,
    Profile,
    Registration,
    /// What was read of a server's host: the next reading replaces it.
    Probed,
    /// Of a declared attribute; the name is `OWNER NAME ATTRIBUTE`.
    Declared,
    /// What a distributor of another home reported.
    Report,
}

/// A row of which is only asked whether it can be read.
fn fault<T>(read: Result<T>) -> Result<Option<String>> {
    match read {
        Ok(_) => Ok(None),
        Err(StoreError::Unreadable(why)) => Ok(Some(why)),
        Err(error) => Err(error),
    }
}

impl View<'_> {
    /// All rows that can't be read.
    pub fn unreadable(&self) -> Result<Vec<Unreadable>> {
        let mut all = Vec::new();
        for (id, why) in self.unreadable_tasks()? {
            all.push(Unreadable { kind: RowKind::Task, name: id.to_string(), why });
        }
        let ended: Vec<TaskId> = self.all(
            "SELECT id FROM task INDEXED BY task_ended WHERE waiting + held + starting + running = 0 ORDER BY ended_at DESC LIMIT ?1",
            [ENDED_LOOK],
            |row| row.get(0),
        )?;
        for (id, why) in self.unreadable_among(&ended)? {
            all.push(Unreadable { kind: RowKind::EndedTask, name: id.to_string(), why });
        }
        self.unreadable_servers(&mut all)?;
        self.unreadable_people(&mut all)?;
        self.unreadable_attributes(&mut all)?;
        self.unreadable_distributors(&mut all)?;
        Ok(all)
    }

    /// Unended tasks of which a part can't be read.
    fn unreadable_tasks(&self) -> Result<Vec<(TaskId, String)>> {
        let unended: Vec<TaskId> = self.all(
            "SELECT id FROM task INDEXED BY task_unended WHERE waiting + held + starting + running > 0 ORDER BY id",
            [],
            |row| row.get(0),
        )?;
        self.unreadable_among(&unended)
    }

    fn unreadable_among(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, String)>> {
        let mut classes = HashMap::new();
        let mut found = Vec::new();
        for task in tasks {
            if let Some(why) = self.task_fault(*task, &mut classes)? {
                found.push((*task, why));
            }
        }
        Ok(found)
    }

    /// Why a task can't be read: its row, its class with the user and the client, what it runs, its lines, its members.
    fn task_fault(&self, task: TaskId, classes: &mut HashMap<i64, Option<String>>) -> Result<Option<String>> {
        let row = match self.task(task) {
            Ok(row) => row,
            Err(StoreError::Unreadable(why)) => return Ok(Some(why)),
            Err(error) => return Err(error),
        };
        let Some(row) = row else {
            return Ok(Some("its class, its user or its client is gone".to_owned()));
        };
        if row.unreadable.is_some() {
            return Ok(row.unreadable);
        }
        if let Some(why) = fault(self.launch(task))? {
            return Ok(Some(why));
        }
        let class = match classes.get(&row.class.0) {
            Some(known) => known.clone(),
            None => {
                let why = fault(self.class(row.class))?;
                classes.insert(row.class.0, why.clone());
                why
            }
        };
        if class.is_some() {
            return Ok(class);
        }
        let nul = "SELECT idx FROM entry WHERE task_id = ?1 AND (instr(line, x'00') OR idx NOT BETWEEN 0 AND 4294967295) LIMIT 1";
        if let Some(index) = self.one(nul, [task], |row| row.get::<_, i64>(0))? {
            return Ok(Some(format!("line {index} holds a NUL byte")));
        }
        if let Some(why) = self.one(
            concat!(
                "SELECT idx FROM member WHERE task_id = ?1 AND (idx NOT BETWEEN 0 AND 4294967295 OR number NOT BETWEEN 0 AND 4294967295
                     OR state NOT IN ",
                any!(),
                ") LIMIT 1"
            ),
            [task],
            |row| row.get::<_, i64>(0),
        )? {
            return Ok(Some(format!("member {why}: its index, its attempt or its state is none")));
        }
        if let Some(why) = fault(self.live_strictly(task))? {
            return Ok(Some(why));
        }
        let sealed = "SELECT a.task_id FROM away a WHERE a.task_id = ?1";
        if self.one(sealed, [task], |_| Ok(()))?.is_some()
            && let Some(why) = fault(self.away(task))?
        {
            return Ok(Some(why));
        }
        Ok(None)
    }

    /// Servers whose rows, or whose hosts' rows, can't be read: what can be read of their names, why, and whether it is the host's.
    fn server_faults(&self) -> Result<Vec<(String, String, bool)>> {
        let rows = self.all(&format!("{SERVERS} ORDER BY s.name"), [], |row| {
            let name = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
            match (read_row(row), read_host(row)) {
                (Err(error), _) if is_of_the_row(&error) => Ok(Some((name, words(&error), false))),
                (_, Err(error)) if is_of_the_row(&error) => Ok(Some((name, words(&error), true))),
                (own, host) => own.and(host).map(|_| None),
            }
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn unreadable_servers(&self, all: &mut Vec<Unreadable>) -> Result<()> {
        for (name, why, of_host) in self.server_faults()? {
            all.push(Unreadable { kind: if of_host { RowKind::Probed } else { RowKind::Server }, name, why });
        }
        let rows = self.all(
            "SELECT s.name, a.name, a.version, a.read_at, a.source FROM app a JOIN server s ON s.id = a.server_id",
            [],
            |row| {
                let mut read = Lenient::of(row);
                let _: Option<crate::model::name::Name> = {
                    let name = row.get(1);
                    read.take(1, name)
                };
                let _: Option<String> = read.get(2);
                let server = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
                let declared = row.get_ref(4)?.as_bytes()? == b"declared";
                let app = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
                Ok((server, app, declared, read.faults()))
            },
        )?;
        for (server, app, declared, faults) in rows {
            if let Some(why) = faults {
                let kind = if declared { RowKind::Declared } else { RowKind::Probed };
                let name = if declared { format!("server {server} {app}") } else { server };
                all.push(Unreadable { kind, name, why: format!("application {app}: {why}") });
            }
        }
        Ok(())
    }

    fn unreadable_people(&self, all: &mut Vec<Unreadable>) -> Result<()> {
        let named = |kind| move |(name, why)| Unreadable { kind, name, why };
        all.extend(self.user_faults()?.into_iter().map(named(RowKind::User)));
        all.extend(self.client_faults()?.into_iter().map(named(RowKind::Client)));
        let profiles: Vec<(i64, String)> = self.all("SELECT 0, CAST(name AS BLOB) FROM profile", [], lossy_named)?;
        for (_, name) in profiles {
            if let Some(why) = fault(self.profile(&name))? {
                all.push(Unreadable { kind: RowKind::Profile, name, why });
            }
        }
        Ok(())
    }

    fn unreadable_attributes(&self, all: &mut Vec<Unreadable>) -> Result<()> {
        let owners = "SELECT CAST(name AS BLOB), CAST(source AS BLOB), CAST(owner AS BLOB), type, value, read_at,
                 CAST(CASE owner WHEN 'server' THEN (SELECT name FROM server WHERE id = owner_id) WHEN 'user' THEN (SELECT name FROM user WHERE id = owner_id)
                      WHEN 'client' THEN (SELECT host FROM client WHERE id = owner_id) ELSE (SELECT name FROM distributor WHERE id = owner_id) END AS BLOB)
             FROM attribute";
        let rows = self.all(owners, [], |row| {
            let text = |at: usize| -> rusqlite::Result<String> {
                Ok(row
                    .get::<_, Option<Vec<u8>>>(at)?
                    .map_or_else(String::new, |b| String::from_utf8_lossy(&b).into_owned()))
            };
            let why =
                super::attributes::read_value(row, 3, 4).and_then(|_| row.get::<_, Vec<u8>>(0)).and_then(|name| {
                    String::from_utf8(name).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
                    })
                });
            let why = why.err().map(|error| words(&error));
            Ok((text(0)?, text(1)?, text(2)?, text(6)?, why))
        })?;
        for (name, source, owner, of, why) in rows {
            let Some(why) = why else { continue };
            let why = format!("attribute {name}: {why}");
            all.push(if source == "probed" && owner == "server" {
                Unreadable { kind: RowKind::Probed, name: of, why }
            } else {
                Unreadable { kind: RowKind::Declared, name: format!("{owner} {of} {name}"), why }
            });
        }
        Ok(())
    }

    fn unreadable_distributors(&self, all: &mut Vec<Unreadable>) -> Result<()> {
        for (name, why) in self.distributor_faults()? {
            all.push(Unreadable { kind: RowKind::Distributor, name, why });
        }
        let members: Vec<(crate::model::id::DistributorId, String)> = self.all(
            "SELECT d.id, CAST(d.name AS BLOB) FROM report r JOIN distributor d ON d.id = r.distributor_id",
            [],
            lossy_named,
        )?;
        for (id, name) in members {
            if let Some(why) = fault(self.report_strictly(id))? {
                all.push(Unreadable { kind: RowKind::Report, name, why });
            }
        }
        for why in self.registration_faults()? {
            all.push(Unreadable { kind: RowKind::Registration, name: String::new(), why });
        }
        Ok(())
    }
}

fn lossy_named<I: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>) -> rusqlite::Result<(I, String)> {
    Ok((row.get(0)?, String::from_utf8_lossy(&row.get::<_, Vec<u8>>(1)?).into_owned()))
}

impl Tx<'_> {
    /// Holds the unended tasks that can't be read, with the reason. What runs and can be followed runs on. Gives those that
    /// were not held so far.
    pub fn hold_unreadable(&self, now: Timestamp) -> Result<Vec<(TaskId, String)>> {
        let mut held = Vec::new();
        for (task, why) in self.unreadable_tasks()? {
            let mut ledger = Ledger::open(self, now);
            if ledger.hold_unreadable(task)? == 0 {
                continue;
            }
            ledger.close()?;
            let reason = format!("can't be read ({why}): `grid cancel {task}` ends it");
            self.set_reason(task, Some(&reason))?;
            self.trace(task, now, &format!("held: {reason}"))?;
            held.push((task, why));
        }
        Ok(held)
    }
}
