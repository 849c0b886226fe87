//! `grid sql`: any query of the database, on a connection that can't write.

use super::report::Rows;
use super::{Grid, OpsError};
use crate::store::query::{self, QueryError};

/// Answers one SELECT.
pub fn query(grid: &Grid, sql: &str) -> Result<Rows, OpsError> {
    let (columns, rows) = query::ask(grid.store.home(), sql).map_err(|error| match error {
        QueryError::Store(error) => OpsError::Store(error),
        QueryError::Refused(why) => {
            OpsError::Usage(format!("query: {why}; `grid sql --schema` shows tables and views"))
        }
    })?;
    Ok(Rows { columns, rows })
}

/// The schema, with comments.
pub const fn schema() -> &'static str {
    query::SCHEMA
}
