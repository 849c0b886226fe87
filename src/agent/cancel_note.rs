//! A cancel for a supervisor without a pipe: a note in the directory of its run.

use super::spool::write_over;
use crate::model::id::AttemptId;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "cancel";
/// Bytes of a note: what an attempt and a grace need at most. It has its room on the disk before anything runs, since a command that
/// fills the disk is what people cancel. (A file system that writes in place keeps that room; btrfs and ZFS do not.)
const LEN: usize = 96;

/// An attempt to cancel, with the time between TERM and KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelNote {
    pub attempt: AttemptId,
    pub grace: Duration,
}

impl CancelNote {
    /// Makes room for a note in the directory of a new run.
    pub fn prepare(run_dir: &Path) -> io::Result<()> {
        write_over(&open(run_dir)?, &" ".repeat(LEN))
    }

    /// Leaves it where the supervisor of a run finds it.
    pub fn leave(self, run_dir: &Path) -> io::Result<()> {
        let attempt = self.attempt.to_string();
        // Zeros fill it up: the supervisors of earlier versions read them too.
        let width = LEN.saturating_sub(attempt.len() + 1);
        write_over(&open(run_dir)?, &format!("{attempt} {:0>width$}", self.grace.as_millis()))
    }

    /// The one that was left in the directory of a run.
    pub fn read(run_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(run_dir.join(NAME)).ok()?;
        let (attempt, grace) = text.split_once(' ')?;
        Some(Self { attempt: attempt.parse().ok()?, grace: Duration::from_millis(grace.parse().ok()?) })
    }
}

fn open(run_dir: &Path) -> io::Result<File> {
    // In runs of earlier versions no room was made.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(run_dir.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_note_replaces_an_earlier_one_in_the_room_that_was_made() {
        let dir = tempfile::tempdir().unwrap();
        CancelNote::prepare(dir.path()).unwrap();
        assert_eq!(CancelNote::read(dir.path()), None);
        let uuid = "01a22e42-3a6d-7762-9118-11f6935e1357";
        for (last, grace) in [("4294967295.4294967295", Duration::from_hours(99 * 24)), ("0.1", Duration::ZERO)] {
            let note = CancelNote { attempt: format!("{uuid}.{last}").parse().unwrap(), grace };
            note.leave(dir.path()).unwrap();
            assert_eq!(CancelNote::read(dir.path()), Some(note));
            assert_eq!(std::fs::metadata(dir.path().join(NAME)).unwrap().len(), LEN as u64);
        }
    }
}
