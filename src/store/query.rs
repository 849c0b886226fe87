//! Questions of people in SQL, and the database's own health.

use super::{Home, Result, Store, StoreError, View};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use serde_json::Value;

/// The schema, commented.
pub const SCHEMA: &str = include_str!("../../schema.sql");

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// In SQLite's words, or ours.
    #[error("{0}")]
    Refused(String),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(_, Some(words)) => Self::Refused(words),
            rusqlite::Error::SqlInputError { msg, .. } => Self::Refused(msg),
            rusqlite::Error::MultipleStatement => Self::Refused("one statement at a time".to_owned()),
            other => Self::Store(other.into()),
        }
    }
}

/// Names of the columns, and the rows.
pub type QueryRows = (Vec<String>, Vec<Vec<Value>>);

/// Answers one statement on a connection that can't write.
pub fn ask(home: &Home, sql: &str) -> std::result::Result<QueryRows, QueryError> {
    let mut connection = Store::open_read_only(home)?;
    connection.authorizer(Some(hide_values)).map_err(StoreError::from)?;
    let mut statement = connection.prepare(sql)?;
    if statement.column_count() == 0 {
        return Err(QueryError::Refused("this is read-only: write one SELECT".to_owned()));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let cells = (0..columns.len()).map(|at| row.get_ref(at).map(json));
        rows.push(cells.collect::<rusqlite::Result<_>>()?);
    }
    Ok((columns, rows))
}

/// Columns that hold values of environment variables, which may be secrets: they read as NULL.
const SECRET: [(&str, &str); 4] = [("task", "env"), ("environment", "variables"), ("away", "sealed"), ("away", "list")];

fn hide_values(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Read { table_name, column_name } if SECRET.contains(&(table_name, column_name)) => {
            Authorization::Ignore
        }
        _ => Authorization::Allow,
    }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(n) => n.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}

impl View<'_> {
    /// What is wrong with the file; nothing if it is whole.
    pub fn quick_check(&self) -> Result<Vec<String>> {
        let lines: Vec<String> = self.all("PRAGMA quick_check(10)", [], |row| row.get(0))?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

/// The SQLite that is built in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
