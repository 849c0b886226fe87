//! Classes: tasks that are equal for the matcher.

use super::columns::json;
use super::phases::phase;
use super::{Result, StoreError, Tx, View};
use crate::model::bounds;
use crate::model::demand::Demand;
use crate::model::id::{ClassId, ClientId, DistributorId, TaskId, TaskUuid, UserId};
use crate::model::time::Timestamp;

/// A class that waits.
#[derive(Debug, Clone)]
pub struct WaitingClass {
    pub id: ClassId,
    pub distributor: DistributorId,
    pub user: UserId,
    pub client: ClientId,
    pub demand: Demand,
    pub priority: i32,
}

/// A class, as far as the order needs it.
#[derive(Debug, Clone, Copy)]
pub struct ReadyClass {
    pub id: ClassId,
    pub distributor: DistributorId,
    pub priority: i32,
}

/// A task at the front of a class's queue.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub task: TaskId,
    pub uuid: TaskUuid,
    pub waiting: u32,
    /// `%n` of an array.
    pub at_once: Option<u32>,
    pub single: bool,
    /// Members wait that never had an attempt.
    pub fresh: bool,
    pub submitted_at: Timestamp,
}

const SELECT: &str = "SELECT id, distributor_id, user_id, client_id, demand, priority FROM class ";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<WaitingClass> {
    Ok(WaitingClass {
        id: row.get(0)?,
        distributor: row.get(1)?,
        user: row.get(2)?,
        client: row.get(3)?,
        demand: json(&row.get::<_, String>(4)?)?,
        priority: row.get(5)?,
    })
}

impl View<'_> {
    /// Tasks with members that wait or are held, and that only this server of this distributor may run (-w), oldest first. Not those
    /// that another home holds: they name a server of its own.
    pub fn waiting_for_server(&self, server: &str, distributor: &str) -> Result<Vec<TaskId>> {
        self.all(
            "SELECT t.id FROM task t INDEXED BY task_unended JOIN class c ON c.id = t.class_id
             WHERE t.waiting + t.held + t.starting + t.running > 0 AND t.waiting + t.held > 0
             AND json_extract(c.demand, '$.on') IN (?1, ?2 || '/' || ?1)
             AND NOT EXISTS (SELECT 1 FROM away a WHERE a.task_id = t.id AND a.home IS NOT NULL) ORDER BY t.id",
            (server, distributor),
            |row| row.get(0),
        )
    }

    /// Classes in which members began to wait after a point in the count of changes, with theirs; at most `limit`, oldest change first.
    pub fn classes_stirred(&self, since: i64, limit: u32) -> Result<Vec<(ReadyClass, i64)>> {
        // Of a first tier are the classes of tasks that live elsewhere: nothing of ours could start them.
        let sql = "SELECT id, distributor_id, priority, changed FROM class
                   WHERE waiting > 0 AND changed > ?1 AND (SELECT tier FROM distributor WHERE id = distributor_id) = 2
                   ORDER BY changed LIMIT ?2";
        self.all(sql, (since, limit), |row| {
            Ok((ReadyClass { id: row.get(0)?, distributor: row.get(1)?, priority: row.get(2)? }, row.get(3)?))
        })
    }

    /// What decides on the place of a class in the order.
    pub fn stirred(&self, id: ClassId) -> Result<Option<ReadyClass>> {
        self.one("SELECT id, distributor_id, priority FROM class WHERE id = ?1", [id], |row| {
            Ok(ReadyClass { id: row.get(0)?, distributor: row.get(1)?, priority: row.get(2)? })
        })
    }

    /// One class.
    pub fn class(&self, id: ClassId) -> Result<Option<WaitingClass>> {
        self.one(&format!("{SELECT} WHERE id = ?1"), [id], read)
    }

    /// Why the tasks of a class wait.
    pub fn class_reason(&self, id: ClassId) -> Result<Option<String>> {
        Ok(self.one("SELECT reason FROM class WHERE id = ?1", [id], |row| row.get(0))?.flatten())
    }

    /// Some classes of a distributor that wait with at least this priority.
    pub fn classes_before(&self, distributor: DistributorId, priority: i32, limit: u32) -> Result<Vec<WaitingClass>> {
        // No order: that would read and sort all that wait.
        let sql = format!(
            "{SELECT} INDEXED BY class_waiting WHERE waiting > 0 AND distributor_id = ?1 AND priority >= ?2 LIMIT ?3"
        );
        self.all_readable(&sql, (distributor, priority, limit), read)
    }

    /// When the newest task was submitted.
    pub fn last_submitted_at(&self) -> Result<Option<Timestamp>> {
        self.one("SELECT submitted_at FROM task ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
    }

    /// The first task of a class with waiting members behind a given one.
    pub fn head(&self, class: ClassId, behind: TaskId) -> Result<Option<Head>> {
        self.one(
            concat!(
                "SELECT id, waiting, at_once, shape = 'single', submitted_at, uuid, rest > 0 AND rest_state = ",
                phase!(waiting),
                " FROM task INDEXED BY task_queue WHERE class_id = ?1 AND waiting > 0 AND id > ?2 ORDER BY id LIMIT 1"
            ),
            (class, behind),
            |row| {
                Ok(Head {
                    task: row.get(0)?,
                    waiting: row.get(1)?,
                    at_once: row.get(2)?,
                    single: row.get(3)?,
                    submitted_at: row.get(4)?,
                    uuid: row.get(5)?,
                    fresh: row.get(6)?,
                })
            },
        )
    }

    /// Tasks that are held because nothing could ever run them, with their classes.
    pub fn unmatched(&self, limit: u32) -> Result<Vec<(TaskId, ClassId)>> {
        self.all(
            "SELECT id, class_id FROM task INDEXED BY task_unmatched WHERE unmatched = 1
             AND NOT EXISTS (SELECT 1 FROM task_files WHERE task_id = task.id AND missing > 0) ORDER BY id LIMIT ?1",
            [limit],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Is it held because nothing could ever run it?
    pub fn is_unmatched(&self, id: TaskId) -> Result<bool> {
        Ok(self.one("SELECT unmatched FROM task WHERE id = ?1", [id], |row| row.get(0))?.unwrap_or(false))
    }
}

impl Tx<'_> {
    /// The class of equal tasks, made if it is new.
    pub fn class_of(
        &self,
        distributor: DistributorId,
        user: UserId,
        client: ClientId,
        demand: &Demand,
    ) -> Result<ClassId> {
        let text = serde_json::to_string(demand).unwrap_or_default();
        let found = self.one(
            "SELECT id FROM class WHERE distributor_id = ?1 AND user_id = ?2 AND client_id = ?3 AND demand = ?4",
            (distributor, user, client, &text),
            |row| row.get(0),
        )?;
        if let Some(id) = found {
            return Ok(id);
        }
        bounds::values(&demand.labels, bounds::VALUES_MAX)
            .map_err(|error| StoreError::Unstorable(format!("labels: {error}")))?;
        bounds::values(&demand.client, bounds::CLIENT_VALUES_MAX)
            .map_err(|error| StoreError::Unstorable(format!("attributes of the client: {error}")))?;
        self.run(
            "INSERT INTO class (distributor_id, user_id, client_id, demand, priority) VALUES (?1, ?2, ?3, ?4, ?5)",
            (distributor, user, client, &text, demand.priority),
        )?;
        Ok(ClassId(self.inserted()))
    }

    /// Why the tasks of a class wait.
    pub fn set_class_reason(&self, id: ClassId, reason: Option<&str>) -> Result<()> {
        self.run("UPDATE class SET reason = ?2 WHERE id = ?1 AND reason IS NOT ?2", (id, reason))?;
        Ok(())
    }

    /// An unmatched task is an ordinary one again.
    pub fn clear_unmatched(&self, id: TaskId) -> Result<()> {
        self.run("UPDATE task SET unmatched = 0, reason = NULL WHERE id = ?1", [id])?;
        Ok(())
    }

    /// A server could run a task that a person holds too: the person's hold stays.
    pub fn clear_unmatched_of_held(&self, id: TaskId) -> Result<()> {
        self.run("UPDATE task SET unmatched = 0 WHERE id = ?1", [id])?;
        Ok(())
    }

    /// The attributes of a user or client changed: what waits with them is matched again.
    pub(super) fn stir_classes(&self, column: &'static str, id: i64) -> Result<()> {
        self.run("UPDATE home SET changes = changes + 1 WHERE one = 1", [])?;
        let sql = match column {
            "user_id" => "UPDATE class SET changed = (SELECT changes FROM home) WHERE waiting > 0 AND user_id = ?1",
            _ => "UPDATE class SET changed = (SELECT changes FROM home) WHERE waiting > 0 AND client_id = ?1",
        };
        self.run(sql, [id])?;
        Ok(())
    }
}
