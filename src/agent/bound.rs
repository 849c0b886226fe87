//! The bound of an attempt's outputs: beyond it the middle of an output is dropped while the attempt runs; its beginning and end are kept.
//!
//! A note in the run's directory records what is dropped before it is dropped: a reader of a growing output reads the note after the
//! bytes, and so never takes a hole for output. The record of the end repeats it.

use super::hole;
use super::output::{Offsets, length};
use crate::model::attempt::{Cut, Gap};
use crate::model::id::AttemptId;
use crate::model::max_output::MaxOutput;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// A shorter attempt is checked once, at its end.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause between two checks of an output that does not grow.
const QUIET: Duration = Duration::from_secs(2);
/// The pause between two checks of an output beyond its bound.
const BEYOND: Duration = Duration::from_millis(100);
/// The name of the note.
const NOTE: &str = "cut";

/// Watches the outputs of one attempt.
#[derive(Debug)]
pub struct Bound {
    limit: MaxOutput,
    /// Where its outputs begin in the run's files.
    from: [u64; 2],
    gaps: [Option<Gap>; 2],
    seen: [u64; 2],
    /// The attempt was stopped for it.
    ended: bool,
    /// The file system has no holes: nothing is dropped.
    no_holes: bool,
    pause: Duration,
    next: Instant,
}

impl Bound {
    /// For an attempt that begins now.
    pub fn new(limit: MaxOutput, from: Offsets, now: Instant) -> Self {
        let (gaps, seen) = ([None; 2], [0; 2]);
        Self {
            limit,
            from: [from.out, from.err],
            gaps,
            seen,
            ended: false,
            no_holes: false,
            pause: FIRST,
            next: now + FIRST,
        }
    }

    /// When the next check is due.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Measures the outputs, and drops the middle of one that is too long. True, once: the attempt is to be stopped.
    pub fn check(&mut self, files: &[File; 2], run_dir: &Path, attempt: AttemptId, now: Instant) -> bool {
        let lens = [self.len(files, 0), self.len(files, 1)];
        let passed = lens.iter().any(|len| self.limit.is_passed(*len));
        if passed {
            self.drop_middles(files, lens, run_dir, attempt);
        }
        self.pause = match (passed && !self.no_holes, lens == self.seen) {
            (true, _) => BEYOND,
            (false, true) => (self.pause * 2).min(QUIET),
            (false, false) => FIRST,
        };
        (self.seen, self.next) = (lens, now + self.pause);
        passed && self.limit.kill && !std::mem::replace(&mut self.ended, true)
    }

    /// Checks the outputs of an attempt that has ended with these lengths. Gives why they are not whole.
    pub fn close(&mut self, files: &[File; 2], lens: [u64; 2], run_dir: &Path, attempt: AttemptId) -> Option<Cut> {
        if !lens.iter().any(|len| self.limit.is_passed(*len)) && self.gaps == [None; 2] {
            return None;
        }
        self.drop_middles(files, lens, run_dir, attempt);
        Some(self.cut())
    }

    fn len(&self, files: &[File; 2], which: usize) -> u64 {
        length(&files[which]).saturating_sub(self.from[which])
    }

    fn drop_middles(&mut self, files: &[File; 2], lens: [u64; 2], run_dir: &Path, attempt: AttemptId) {
        if self.no_holes {
            return;
        }
        let before = self.gaps;
        for (gap, len) in self.gaps.iter_mut().zip(lens) {
            // More was dropped before of an output that its command truncated.
            *gap =
                self.limit.gap(len).map(|new| Gap { to: gap.map_or(new.to, |old| old.to.max(new.to)), ..new }).or(*gap);
        }
        // On a full disk the note may fail: to make room is more urgent.
        let _ = write_note(run_dir, attempt, self.cut());
        for (which, file) in files.iter().enumerate() {
            let Some(gap) = self.gaps[which].filter(|gap| before[which] != Some(*gap)) else { continue };
            let from = before[which].map_or(gap.from, |old| old.to);
            if let Err(error) = hole::punch(file, self.from[which] + from, self.from[which] + gap.to) {
                tracing::debug!("{}: {error}", run_dir.display());
                (self.no_holes, self.gaps) = (true, before);
                let _ = write_note(run_dir, attempt, self.cut());
                return;
            }
        }
    }

    const fn cut(&self) -> Cut {
        let [out, err] = self.gaps;
        Cut::MaxOutput { limit: self.limit, ended: self.ended, out, err }
    }
}

/// Writes the note in one piece. It need not outlast a power cut: no attempt does.
fn write_note(run_dir: &Path, attempt: AttemptId, cut: Cut) -> io::Result<()> {
    let new = run_dir.join("cut.new");
    fs::write(&new, format!("{attempt} {}", serde_json::to_string(&cut)?))?;
    fs::rename(new, run_dir.join(NOTE))
}

/// What was dropped so far of an attempt that runs, or that ended without a record.
pub fn read_note(run_dir: &Path, attempt: AttemptId) -> Option<Cut> {
    let text = fs::read_to_string(run_dir.join(NOTE)).ok()?;
    let (id, cut) = text.split_once(' ')?;
    if id != attempt.to_string() {
        return None;
    }
    serde_json::from_str(cut).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ambient::Ambient;
    use crate::model::attempt::Stream;
    use crate::model::test_clock::TestClock;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn attempt() -> AttemptId {
        "019a0000-0000-7000-8000-00000000000a.0.1".parse().unwrap()
    }

    const BEHIND_A_NEIGHBOUR: Offsets = Offsets { out: 5_001, err: 0 };

    /// Two outputs, the first behind 5,001 bytes of a neighbour.
    fn files(dir: &Path) -> [File; 2] {
        let open = |name| File::options().read(true).append(true).create(true).open(dir.join(name)).unwrap();
        let files = [open("out"), open("err")];
        (&files[0]).write_all(&[b'n'; 5_001]).unwrap();
        files
    }

    #[test]
    fn bound_drops_and_notes_the_middle_and_keeps_the_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let now = TestClock::new().now().mono;
        let mut bound = Bound::new(MaxOutput::parse("128K").unwrap(), BEHIND_A_NEIGHBOUR, now);
        (&files[0]).write_all(&[b'a'; 100_000]).unwrap();
        assert!(!bound.check(&files, dir.path(), attempt(), now));
        assert_eq!(read_note(dir.path(), attempt()), None, "within the bound nothing is done");
        (&files[0]).write_all(&vec![b'b'; 4 << 20]).unwrap();
        (&files[0]).write_all(&[b'c'; 100_000]).unwrap();
        assert!(!bound.check(&files, dir.path(), attempt(), now), "only ,kill ends it");
        let len = 200_000 + (4 << 20);
        let gap = Gap { from: 64 << 10, to: len - (64 << 10) };
        assert_eq!(read_note(dir.path(), attempt()).and_then(|cut| cut.gap(Stream::Out)), Some(gap));
        assert!(files[0].metadata().unwrap().blocks() * 512 < 200_000);
        let bytes = fs::read(dir.path().join("out")).unwrap();
        assert_eq!(bytes.len() as u64, 5_001 + len);
        assert_eq!(bytes[..5_001], [b'n'; 5_001]);
        assert_eq!(bytes[5_001..][..64 << 10], [b'a'; 64 << 10]);
        assert_eq!(bytes[bytes.len() - (64 << 10)..], [b'c'; 64 << 10]);
        let other = "019a0000-0000-7000-8000-00000000000a.0.2".parse().unwrap();
        assert_eq!(read_note(dir.path(), other), None);
    }

    #[test]
    fn bound_with_kill_requests_the_end_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let now = TestClock::new().now().mono;
        let mut bound = Bound::new(MaxOutput::parse("64K,kill").unwrap(), BEHIND_A_NEIGHBOUR, now);
        (&files[1]).write_all(&vec![0; 1 << 20]).unwrap();
        assert!(bound.check(&files, dir.path(), attempt(), now));
        assert!(!bound.check(&files, dir.path(), attempt(), now));
        let cut = bound.close(&files, [0, 1 << 20], dir.path(), attempt());
        assert!(matches!(cut, Some(Cut::MaxOutput { ended: true, out: None, err: Some(_), .. })), "{cut:?}");
    }

    #[test]
    fn bound_keeps_the_output_where_holes_are_not_supported() {
        let dir = tempfile::tempdir().unwrap();
        drop(files(dir.path()));
        fs::write(dir.path().join("err"), vec![7; 1 << 20]).unwrap();
        let read_only = ["out", "err"].map(|name| File::open(dir.path().join(name)).unwrap());
        let now = TestClock::new().now().mono;
        let mut bound = Bound::new(MaxOutput::parse("64K").unwrap(), BEHIND_A_NEIGHBOUR, now);
        bound.check(&read_only, dir.path(), attempt(), now);
        let cut = bound.close(&read_only, [0, 1 << 20], dir.path(), attempt());
        assert!(matches!(cut, Some(Cut::MaxOutput { out: None, err: None, .. })), "{cut:?}");
        assert_eq!(fs::read(dir.path().join("err")).unwrap(), vec![7; 1 << 20]);
        assert!(cut.unwrap().to_string().contains("kept whole"), "{cut:?}");
    }

    #[test]
    fn bound_checks_a_quiet_output_less_often_and_one_beyond_it_more_often() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let clock = TestClock::new();
        let mut bound = Bound::new(MaxOutput::parse("128K").unwrap(), BEHIND_A_NEIGHBOUR, clock.now().mono);
        let mut pause_after_writing = |bytes: usize| {
            (&files[1]).write_all(&vec![0; bytes]).unwrap();
            let due = bound.next();
            clock.advance(due - clock.now().mono);
            bound.check(&files, dir.path(), attempt(), due);
            bound.next() - due
        };
        assert_eq!(pause_after_writing(1_000), FIRST);
        assert_eq!([0; 3].map(&mut pause_after_writing), [FIRST * 2, QUIET, QUIET]);
        assert_eq!(pause_after_writing(1_000), FIRST);
        assert_eq!(pause_after_writing(1 << 20), BEYOND);
    }
}
