//! `grid sql`.

use super::super::args::Sql;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, open};
use crate::ops::sql;
use serde_json::{Map, Value};

pub fn run(args: Sql, out: &mut Out) -> CommandResult {
    let query = args.query.as_deref().map(str::trim).unwrap_or_default();
    if args.schema || query == ".schema" {
        out.text(sql::schema())?;
        return Ok(Code::OK);
    }
    if query.is_empty() || query.starts_with('.') {
        return Err(Failure::usage("query: write one SELECT, or --schema; `sqlite3 -readonly` has a prompt"));
    }
    let grid = open(out)?;
    let answer = sql::query(&grid, query)?;
    if args.listing.json {
        let named = |row: Vec<Value>| answer.columns.iter().cloned().zip(row).collect::<Map<_, _>>();
        out.json(&answer.rows.into_iter().map(named).collect::<Vec<_>>())?;
        return Ok(Code::OK);
    }
    let columns: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let mut table = Table::new(&columns).every_column();
    for row in answer.rows {
        table.row(row.into_iter().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        }));
    }
    out.table(&table)?;
    Ok(Code::OK)
}
