//! Settings of the home, and its own row.

use super::columns::epoch_of;
use super::{Result, Tx, View};
use crate::model::id::{Epoch, HomeId};
use crate::model::settings::SettingKey;
use crate::model::time::Timestamp;

/// The home's own row.
#[derive(Debug, Clone, Copy)]
pub struct HomeRow {
    pub id: HomeId,
    pub incarnation: u64,
    pub epoch: Epoch,
    /// Attempts that were sent in an epoch up to this one are from before the backup that this home was restored from; None: it was
    /// not restored.
    pub restored_epoch: Option<Epoch>,
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<HomeRow> {
    let id: String = row.get(0)?;
    let id = uuid::Uuid::parse_str(&id).unwrap_or_default();
    Ok(HomeRow {
        id: HomeId(id),
        incarnation: row.get(1)?,
        epoch: Epoch(row.get(2)?),
        restored_epoch: epoch_of(row.get(3)?),
    })
}

fn no_row() -> super::StoreError {
    super::StoreError::Corrupt { path: "grid.db".into(), found: "the home has no row".to_owned() }
}

impl View<'_> {
    /// The home's own row.
    pub fn home_row(&self) -> Result<HomeRow> {
        self.one("SELECT id, incarnation, epoch, restored_epoch FROM home", [], read)?.ok_or_else(no_row)
    }

    /// Since when this home knows what it did: it was founded then, or restored from a backup.
    pub fn begins_at(&self) -> Result<Timestamp> {
        // A restored home is numbered by the second in which it was restored.
        let sql = "SELECT max(created_at, CASE WHEN restored_from IS NULL THEN 0 ELSE incarnation * 1000 + 999 END) FROM home";
        self.one(sql, [], |row| row.get(0))?.ok_or_else(no_row)
    }

    /// Counts up with everything that a dispatcher has to look at again.
    pub fn changes(&self) -> Result<i64> {
        Ok(self.one("SELECT changes FROM home", [], |row| row.get(0))?.unwrap_or(0))
    }

    /// The account that the home belongs to: its first user.
    pub fn owner(&self) -> Result<crate::model::name::Name> {
        let owner = self.one("SELECT coalesce((SELECT value FROM setting WHERE name = 'owner'), (SELECT name FROM user ORDER BY id LIMIT 1))", [], |row| {
            row.get(0)
        })?;
        owner.ok_or_else(|| super::StoreError::Corrupt {
            path: "grid.db".into(),
            found: "the home has no owner".to_owned(),
        })
    }

    /// The value of a setting; a text that this grid can't read counts as not set.
    pub fn value_of<T: Default>(&self, key: &SettingKey<T>) -> Result<T> {
        Ok(key.value(self.setting(key.name)?.as_deref()))
    }

    /// A setting's text, if it is set.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        self.one("SELECT value FROM setting WHERE name = ?1", [name], |row| {
            Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned())
        })
    }
}

impl Tx<'_> {
    /// A new dispatcher begins: everything that an older one still has on its way is refused from now on. Gives the row with
    /// the new epoch.
    pub fn raise_epoch(&self) -> Result<HomeRow> {
        let sql = "UPDATE home SET epoch = epoch + 1 WHERE one = 1 RETURNING id, incarnation, epoch, restored_epoch";
        self.one(sql, [], read)?.ok_or_else(no_row)
    }

    /// Writes a page: a durable commit of it puts everything before it on the disk too, and a log that was moved begins anew with it.
    pub fn stamp(&self) -> Result<()> {
        self.run("UPDATE home SET lanes = lanes + 1 WHERE one = 1", [])?;
        Ok(())
    }

    /// Sets, or with None unsets.
    pub fn set_setting(&self, name: &str, value: Option<&str>) -> Result<()> {
        match value {
            Some(value) => self.run(
                "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
                (name, value),
            )?,
            None => self.run("DELETE FROM setting WHERE name = ?1", [name])?,
        };
        Ok(())
    }
}
