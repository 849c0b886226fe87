//! How far the home's host's clocks were when they were looked at last: what is old by the wall clock is removed only while that can be
//! believed.

use super::phases::phase;
use super::{Result, Tx, View};
use crate::model::clock::{Moment, Reading};
use crate::model::time::Timestamp;
use std::ops::RangeInclusive;
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

/// Times whose age is shown or waited for: of what lives, of contacts and of tries. Times of what has ended are not moved.
const AGES: [&str; 18] = [
    "UPDATE host SET read_at = read_at + ?1 WHERE read_at NOT BETWEEN ?2 AND ?3",
    "UPDATE app SET read_at = read_at + ?1 WHERE source = 'probed' AND read_at NOT BETWEEN ?2 AND ?3",
    "UPDATE attribute SET read_at = read_at + ?1 WHERE source = 'probed' AND read_at NOT BETWEEN ?2 AND ?3",
    "UPDATE server SET since = since + ?1 WHERE since NOT BETWEEN ?2 AND ?3",
    "UPDATE server SET contacted_at = contacted_at + ?1 WHERE contacted_at NOT BETWEEN ?2 AND ?3",
    "UPDATE server SET machine_since = machine_since + ?1 WHERE machine_since NOT BETWEEN ?2 AND ?3",
    "UPDATE heard SET at = at + ?1 WHERE at NOT BETWEEN ?2 AND ?3",
    "UPDATE distributor SET silent_since = silent_since + ?1 WHERE silent_since NOT BETWEEN ?2 AND ?3",
    "UPDATE distributor SET tried_at = tried_at + ?1 WHERE tried_at NOT BETWEEN ?2 AND ?3",
    "UPDATE distributor SET left_at = left_at + ?1 WHERE left_at NOT BETWEEN ?2 AND ?3",
    "UPDATE report SET received_at = received_at + ?1 WHERE received_at NOT BETWEEN ?2 AND ?3",
    "UPDATE registration SET sent_at = sent_at + ?1 WHERE sent_at NOT BETWEEN ?2 AND ?3",
    "UPDATE registration SET left_at = left_at + ?1 WHERE left_at NOT BETWEEN ?2 AND ?3",
    "UPDATE away SET asked_at = asked_at + ?1 WHERE asked_at NOT BETWEEN ?2 AND ?3",
    "UPDATE away SET answered_at = answered_at + ?1 WHERE answered_at NOT BETWEEN ?2 AND ?3",
    "UPDATE away SET tried_at = tried_at + ?1 WHERE tried_at NOT BETWEEN ?2 AND ?3",
    "UPDATE cancel SET asked_at = asked_at + ?1 WHERE asked_at NOT BETWEEN ?2 AND ?3",
    "UPDATE task SET submitted_at = submitted_at + ?1 WHERE ended_at IS NULL AND submitted_at NOT BETWEEN ?2 AND ?3",
];
/// When what runs on this host began: by its clock.
const BEGINS: [&str; 2] = [
    concat!(
        "UPDATE member SET started_at = started_at + ?1 WHERE state = ",
        phase!(running),
        " AND started_at NOT BETWEEN ?2 AND ?3
        AND host_id IN (SELECT id FROM server WHERE engine = 'local')"
    ),
    concat!(
        "UPDATE task SET started_at = started_at + ?1 WHERE running > 0 AND started_at NOT BETWEEN ?2 AND ?3
        AND id IN (SELECT task_id FROM member WHERE state = ",
        phase!(running),
        " AND host_id IN (SELECT id FROM server WHERE engine = 'local'))"
    ),
];

impl Tx<'_> {
    /// The wall clock was set by so many ms: what is told by its age goes with it, so that nothing is old or young at once. What
    /// was written by the clock as it is now, `since` it was set, stays.
    pub fn clock_was_set(&self, by: i64, since: RangeInclusive<Timestamp>) -> Result<()> {
        for sql in AGES.into_iter().chain(BEGINS) {
            self.run(sql, (by, *since.start(), *since.end()))?;
        }
        self.run("UPDATE home SET changes = changes + 1 WHERE one = 1", [])?;
        self.run("UPDATE server SET changed = (SELECT changes FROM home)", [])?;
        Ok(())
    }

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
