//! How typed values are written in columns. With `phases.rs` the only place where enums become text and back.

use super::members::Outputs;
use crate::model::attribute::{Source, Value};
use crate::model::command::Text;
use crate::model::endpoint::Endpoint;
use crate::model::files::{Digest, RelPath};
use crate::model::id::{
    BootId, ClassId, ClientId, DistributorId, EnvironmentId, Epoch, HomeId, HostId, Index, LaneId, MachineId, ServerId,
    TaskId, TaskUuid, UserId,
};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::ssh_command::SshCommand;
use crate::model::task::State;
use crate::model::time::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

macro_rules! integer_columns {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.0))
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_i64().map($name)
            }
        }
    )*};
}

integer_columns!(
    TaskId,
    ServerId,
    HostId,
    UserId,
    ClientId,
    DistributorId,
    ClassId,
    LaneId,
    MachineId,
    EnvironmentId,
    Timestamp
);

impl ToSql for Index {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0))
    }
}

impl FromSql for Index {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Index)
    }
}

impl ToSql for Digest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.to_string()))
    }
}

impl FromSql for Digest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for RelPath {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_bytes()))
    }
}

impl FromSql for RelPath {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::try_from(Text::column_result(value)?).map_err(FromSqlError::other)
    }
}

impl ToSql for Bytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Bytes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|n| Bytes(u64::try_from(n).unwrap_or(0)))
    }
}

impl ToSql for TaskUuid {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(&self.0.as_bytes()[..]))
    }
}

impl FromSql for TaskUuid {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        uuid::Uuid::from_slice(bytes).map(TaskUuid).map_err(FromSqlError::other)
    }
}

impl ToSql for HomeId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_string()))
    }
}

impl FromSql for HomeId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        uuid::Uuid::parse_str(value.as_str()?).map(HomeId).map_err(FromSqlError::other)
    }
}

impl ToSql for Endpoint {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.to_string()))
    }
}

impl FromSql for Endpoint {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for SshCommand {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl FromSql for SshCommand {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(|line| Self(line.to_owned()))
    }
}

impl ToSql for Name {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_str()))
    }
}

impl FromSql for Name {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for BootId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl FromSql for BootId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(|text| BootId(text.to_owned()))
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        if self.as_bytes().contains(&0) {
            let why = format!("{self:?} holds a NUL byte");
            return Err(rusqlite::Error::ToSqlConversionFailure(why.into()));
        }
        Ok(ToSqlOutput::from(self.as_bytes()))
    }
}

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Text::from_bytes(value.as_bytes()?)
            .ok_or_else(|| FromSqlError::other(std::io::Error::other("a text holds NUL")))
    }
}

impl ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.word()))
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

impl ToSql for Outputs {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Self::Database => 0,
            Self::Spool => 1,
            Self::Server => 2,
        }))
    }
}

impl FromSql for Outputs {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_i64()? {
            0 => Self::Database,
            1 => Self::Spool,
            _ => Self::Server,
        })
    }
}

impl ToSql for Source {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.word()))
    }
}

impl FromSql for Source {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str()? {
            "declared" => Self::Declared,
            "probed" => Self::Probed,
            _ => Self::Reported,
        })
    }
}

/// The `type` column of an attribute, and its value as SQLite stores it.
pub(super) fn value_columns(value: &Value) -> (&'static str, rusqlite::types::Value) {
    use rusqlite::types::Value as Sql;
    match value {
        Value::Bool(v) => ("bool", Sql::Integer(i64::from(*v))),
        Value::Int(v) => ("int", Sql::Integer(*v)),
        Value::Double(v) => ("double", Sql::Real(*v)),
        Value::Text(v) => ("text", Sql::Text(v.to_string())),
        Value::List(_) | Value::Map(_) => ("list", Sql::Text(serde_json::to_string(value).unwrap_or_default())),
    }
}

/// Back from [`value_columns`].
pub(super) fn value_of(kind: &str, value: ValueRef<'_>) -> FromSqlResult<Value> {
    Ok(match kind {
        "bool" => Value::Bool(value.as_i64()? != 0),
        "int" => Value::Int(value.as_i64()?),
        "double" => Value::Double(value.as_f64()?),
        "list" => serde_json::from_str(value.as_str()?).map_err(FromSqlError::other)?,
        _ => Value::Text(value.as_str()?.into()),
    })
}

/// An epoch in a column, where 0 is none.
pub(super) fn epoch_column(epoch: Option<Epoch>) -> u64 {
    epoch.map_or(0, |epoch| epoch.0)
}

/// Back from [`epoch_column`].
pub(super) fn epoch_of(column: u64) -> Option<Epoch> {
    (column > 0).then_some(Epoch(column))
}

/// A number that is counted up and down. Where it was miscounted a reading verb tells the nearest that it can be; `doctor` names it, and
/// a dispatcher that begins counts anew.
pub(super) fn at_least_none(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u32> {
    let counted: i64 = row.get(at)?;
    Ok(u32::try_from(counted.max(0)).unwrap_or(u32::MAX))
}

/// Such a number that may be negative.
pub(super) fn as_near_as_can_be(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<i32> {
    let counted: i64 = row.get(at)?;
    Ok(i32::try_from(counted).unwrap_or(if counted < 0 { i32::MIN } else { i32::MAX }))
}

/// A column that holds JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}
