//! Open attributes of servers, users, clients and distributors.

use super::columns::{value_columns, value_of};
use super::{Result, StoreError, Tx, View};
use crate::model::attribute::{Attribute, Attributes, Source, Value};
use crate::model::bounds;
use crate::model::time::Timestamp;
use rusqlite::types::Type;
use std::collections::{BTreeMap, HashMap};

/// What an attribute belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Server(i64),
    User(i64),
    Client(i64),
    Distributor(i64),
}

impl Owner {
    const fn columns(self) -> (&'static str, i64) {
        match self {
            Self::Server(id) => ("server", id),
            Self::User(id) => ("user", id),
            Self::Client(id) => ("client", id),
            Self::Distributor(id) => ("distributor", id),
        }
    }
}

/// The value in two columns: its type, and what SQLite has of it.
pub(super) fn read_value(row: &rusqlite::Row<'_>, kind: usize, value: usize) -> rusqlite::Result<Value> {
    let name: String = row.get(kind)?;
    let found = value_of(&name, row.get_ref(value)?);
    found.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            value,
            row.get_ref(value).map_or(Type::Null, |v| v.data_type()),
            error.into(),
        )
    })
}

impl View<'_> {
    /// The attributes of one owner; a declared value precedes a probed one of the same name.
    pub fn attributes(&self, owner: Owner) -> Result<Attributes> {
        let (kind, id) = owner.columns();
        let mut of = HashMap::new();
        self.collect(
            "SELECT owner_id, name, type, value, source, read_at FROM attribute WHERE owner = ?1 AND owner_id = ?2",
            (kind, id),
            &mut of,
        )?;
        Ok(of.remove(&id).unwrap_or_default())
    }

    /// The attributes of all owners of a kind.
    pub(super) fn attributes_of_all(&self, kind: &str) -> Result<HashMap<i64, Attributes>> {
        let mut of = HashMap::new();
        self.collect(
            "SELECT owner_id, name, type, value, source, read_at FROM attribute WHERE owner = ?1",
            [kind],
            &mut of,
        )?;
        Ok(of)
    }

    fn collect(&self, sql: &str, params: impl rusqlite::Params, of: &mut HashMap<i64, Attributes>) -> Result<()> {
        let rows = self.all_readable(sql, params, |row| {
            let value = read_value(row, 2, 3)?;
            Ok((row.get(0)?, row.get::<_, String>(1)?, Attribute { value, source: row.get(4)?, read_at: row.get(5)? }))
        })?;
        for (id, name, attribute) in rows {
            let entry = of.entry(id).or_default().entry(name.into());
            match entry {
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(attribute);
                }
                std::collections::btree_map::Entry::Occupied(mut there) => {
                    if attribute.source == Source::Declared {
                        there.insert(attribute);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Tx<'_> {
    /// Declares values, in place of earlier declared ones of the same names.
    pub fn set_attributes(
        &self,
        owner: Owner,
        values: &BTreeMap<Box<str>, Value>,
        source: Source,
        at: Timestamp,
    ) -> Result<()> {
        let (kind, id) = owner.columns();
        for (name, value) in values {
            bounds::value(value, bounds::VALUE_MAX)
                .map_err(|error| StoreError::Unstorable(format!("attribute {name}: {error}")))?;
            let (of_type, value) = value_columns(value);
            self.run(
                "INSERT INTO attribute (owner, owner_id, name, source, type, value, read_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET type = excluded.type, value = excluded.value, read_at = excluded.read_at",
                (kind, id, name, source, of_type, value, at),
            )?;
        }
        Ok(())
    }

    /// Takes back a declared value; false if there was none.
    pub fn unset_attribute(&self, owner: Owner, name: &str) -> Result<bool> {
        let (kind, id) = owner.columns();
        let gone = self.run(
            "DELETE FROM attribute WHERE owner = ?1 AND owner_id = ?2 AND name = ?3 AND source = 'declared'",
            (kind, id, name),
        )?;
        Ok(gone > 0)
    }

    /// Replaces everything that was probed.
    pub(super) fn replace_probed(&self, owner: Owner, values: &BTreeMap<Box<str>, Value>, at: Timestamp) -> Result<()> {
        let (kind, id) = owner.columns();
        self.run("DELETE FROM attribute WHERE owner = ?1 AND owner_id = ?2 AND source = 'probed'", (kind, id))?;
        self.set_attributes(owner, values, Source::Probed, at)
    }

    /// Removes everything of an owner that goes.
    pub(super) fn drop_attributes(&self, owner: Owner) -> Result<()> {
        self.run("DELETE FROM attribute WHERE owner = ?1 AND owner_id = ?2", owner.columns())?;
        Ok(())
    }
}
