//! Rows that can't be read. Lists go on without them, reports show what can be read of them; [`super::unreadable`] finds them.

use super::{Result, StoreError, View};
use rusqlite::types::FromSql;
use rusqlite::{Error, Row};

/// Is this a matter of one row, and not of the database?
pub(super) const fn is_of_the_row(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

/// Reads the columns of one row for a report. A column that can't be read is named, and a harmless value replaces it.
pub(super) struct Lenient<'r, 's> {
    row: &'r Row<'s>,
    faults: Vec<String>,
}

impl<'r, 's> Lenient<'r, 's> {
    pub(super) const fn of(row: &'r Row<'s>) -> Self {
        Self { row, faults: Vec::new() }
    }

    /// A column, or the value that replaces it.
    pub(super) fn or<T: FromSql>(&mut self, at: usize, instead: T) -> T {
        let read = self.row.get(at);
        self.take(at, read).unwrap_or(instead)
    }

    /// A column whose type has a harmless value of its own.
    pub(super) fn get<T: FromSql + Default>(&mut self, at: usize) -> T {
        let read = self.row.get(at);
        self.take(at, read).unwrap_or_default()
    }

    /// What was read of a column; None: it can't be.
    pub(super) fn take<T>(&mut self, at: usize, read: rusqlite::Result<T>) -> Option<T> {
        read.map_err(|error| {
            let column = self.row.as_ref().column_name(at).unwrap_or("?");
            self.faults.push(format!("{column}: {}", words(&error)));
        })
        .ok()
    }

    /// Which columns could not be read, and why.
    pub(super) fn faults(self) -> Option<String> {
        (!self.faults.is_empty()).then(|| self.faults.join(", "))
    }
}

/// Why a column can't be read, without SQLite's numbers of columns.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::IntegralValueOutOfRange(_, number) => format!("{number} is out of range"),
        Error::FromSqlConversionFailure(_, _, why) => why.to_string(),
        Error::InvalidColumnType(_, _, kind) => format!("{kind} stands there"),
        other => other.to_string(),
    }
}

impl View<'_> {
    /// The rows that can be read.
    pub(super) fn all_readable<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            match read(row) {
                Ok(one) => all.push(one),
                Err(error) if is_of_the_row(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }
}

/// What was read, or None where the row can't be.
pub(super) fn readable<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(StoreError::Unreadable(_)) => Ok(None),
        other => other,
    }
}
