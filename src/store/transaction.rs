//! Questions to the database, and changes: what a view may ask, a transaction may too.

use super::{Result, StoreError};
use rusqlite::{CachedStatement, Connection};
use std::ops::Deref;

/// Questions to the database.
#[derive(Debug, Clone, Copy)]
pub struct View<'c> {
    pub(super) connection: &'c Connection,
}

/// A write transaction: all questions, and changes.
#[derive(Debug)]
pub struct Tx<'c> {
    pub(super) view: View<'c>,
}

impl<'c> Deref for Tx<'c> {
    type Target = View<'c>;

    fn deref(&self) -> &View<'c> {
        &self.view
    }
}

impl View<'_> {
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        use rusqlite::OptionalExtension;
        Ok(self.connection.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl<'c> Tx<'c> {
    /// A statement that is executed many times: to look it up costs as much as a small one itself.
    pub(super) fn prepare(&self, sql: &str) -> Result<CachedStatement<'c>> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}

impl Tx<'_> {
    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// A part of the transaction that is kept only if it gives something; else the rest continues without it.
    pub fn part<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce() -> std::result::Result<Option<T>, E>,
    ) -> std::result::Result<Option<T>, E> {
        self.run("SAVEPOINT part", [])?;
        let done = change();
        let mut closed = Ok(0);
        if !matches!(done, Ok(Some(_))) {
            closed = self.run("ROLLBACK TO part", []);
        }
        let closed = closed.and_then(|_| self.run("RELEASE part", []));
        // Where SQLite has taken the whole transaction back by itself there is no part any more: why it did counts.
        let done = done?;
        closed?;
        Ok(done)
    }

    pub(super) fn inserted(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}
