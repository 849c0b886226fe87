//! Faults of a database that a test asks for.

use super::{Result, Store};

impl Store {
    /// Makes every commit fail that changes a member, or lets them succeed again. It fails at its very end: a foreign key that is
    /// checked by the commit.
    pub fn fail_commits(&self, fail: bool) -> Result<()> {
        let sql = match fail {
            true => {
                "CREATE TEMP TABLE fault_parent (id INTEGER PRIMARY KEY);
                 CREATE TEMP TABLE fault (id INTEGER REFERENCES fault_parent DEFERRABLE INITIALLY DEFERRED);
                 CREATE TEMP TRIGGER fault_update AFTER UPDATE ON main.member BEGIN INSERT INTO fault VALUES (1); END;
                 CREATE TEMP TRIGGER fault_insert AFTER INSERT ON main.member BEGIN INSERT INTO fault VALUES (1); END;"
            }
            false => {
                "DROP TRIGGER temp.fault_update; DROP TRIGGER temp.fault_insert;
                 DROP TABLE temp.fault; DROP TABLE temp.fault_parent;"
            }
        };
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Bounds the database to the pages that it has, as a full disk would, or lifts the bound.
    pub fn bound_size(&self, bound: bool) -> Result<()> {
        let pages: i64 = if bound { 1 } else { 1 << 30 };
        Ok(self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
    }
}
