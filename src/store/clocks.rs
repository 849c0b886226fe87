//! How far the home's host's clocks were when they were looked at last: what is old by the wall clock is removed only while that can be
//! believed.

use super::{Result, Tx, View};
use crate::model::clock::{Moment, Reading};
use crate::model::time::Timestamp;
use std::time::Duration;

impl View<'_> {
    /// The last reading, and since when the wall clock is doubted.
    fn clock(&self) -> Result<Option<(Reading, Option<Timestamp>)>> {
        let sql = "SELECT clock_wall, clock_since_boot, clock_boot, clock_doubt FROM home WHERE clock_wall IS NOT NULL";
        self.one(sql, [], |row| {
            let moment = Moment { wall: row.get(0)?, since_boot: Duration::from_millis(row.get(1)?) };
            Ok((Reading { moment, boot: row.get(2)? }, row.get(3)?))
        })
    }

    /// Since when the wall clock is not believed, as of this reading.
    pub fn clock_doubt(&self, now: &Reading) -> Result<Option<Timestamp>> {
        let last = self.clock()?;
        Ok(now.doubt(last.as_ref().map(|(last, doubt)| (last, *doubt))))
    }
}

impl Tx<'_> {
    /// Notes a reading. Since when the wall clock is not believed; `trust`: somebody says that it is right.
    pub fn see_clock(&self, now: &Reading, trust: bool) -> Result<Option<Timestamp>> {
        let doubt = if trust { None } else { self.clock_doubt(now)? };
        let since_boot = u64::try_from(now.moment.since_boot.as_millis()).unwrap_or(u64::MAX);
        self.run(
            "UPDATE home SET clock_wall = ?1, clock_since_boot = ?2, clock_boot = ?3, clock_doubt = ?4",
            (now.moment.wall, since_boot, &now.boot, doubt),
        )?;
        Ok(doubt)
    }
}
