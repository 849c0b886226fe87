//! When a file on a server was used last: its time of modification, set at each use. What nobody used for a month is removed.

use crate::model::time::Timestamp;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Unused for so long, a file is removed.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Sets the time of last use to now. Where the file system refuses, the file is removed earlier.
pub fn touch(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let _ = futimens(file, &Timestamps { last_access: unchanged, last_modification: now });
}

/// Was it unused for so long that it may go?
pub fn is_stale(file: &Metadata, now: Timestamp) -> bool {
    let used = Timestamp(file.mtime().saturating_mul(1000).saturating_add(file.mtime_nsec() / 1_000_000));
    used.age_at(now) > KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_stale_a_month_after_its_last_use() {
        let file = tempfile::tempfile().unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let stale_at = |now: Timestamp| is_stale(&file.metadata().unwrap(), now);
        let month = Timestamp(0).plus(KEPT);
        assert!(!stale_at(month));
        assert!(stale_at(month.plus(Duration::from_millis(1))));
        assert!(!stale_at(Timestamp(-1)), "a clock that was set back makes nothing stale");
        touch(&file);
        assert!(!stale_at(month.plus(KEPT)));
    }
}
