//! The bound of what an attempt writes: beyond it the middle of an output is dropped while it runs on, its beginning and its end stay.
//!
//! What is dropped is noted in the run's directory before it is: whoever reads an output that grows reads the note behind the bytes, and
//! so never takes a hole for what was written. The end's record says it once more, for good.

use super::hole;
use crate::model::attempt::{Cut, Gap};
use crate::model::id::AttemptId;
use crate::model::max_output::MaxOutput;
use rustix::fs::fstat;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// An attempt that lasts shorter is looked at once, at its end.
const FIRST: Duration = Duration::from_millis(500);
/// An output that does not grow is looked at less and less often, down to this.
const QUIET: Duration = Duration::from_secs(2);
/// One beyond its bound is dropped as it grows.
const BEYOND: Duration = Duration::from_millis(100);
/// The note's name.
const NOTE: &str = "cut";

/// Watches the outputs of one attempt.
#[derive(Debug)]
pub struct Bound {
    limit: MaxOutput,
    /// Where its slices begin in the run's files.
    from: [u64; 2],
    gaps: [Option<Gap>; 2],
    seen: [u64; 2],
    /// It was ended for that.
    ended: bool,
    /// The file system has no holes.
    whole: bool,
    pause: Duration,
    next: Instant,
}

impl Bound {
    /// For an attempt that begins now.
    pub fn new(limit: MaxOutput, (out, err): (u64, u64), now: Instant) -> Self {
        let (gaps, seen) = ([None; 2], [0; 2]);
        Self { limit, from: [out, err], gaps, seen, ended: false, whole: false, pause: FIRST, next: now + FIRST }
    }

    /// When to look again.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Looks how much there is, and drops what is too much. True, once: the task is to be ended.
    pub fn look(&mut self, files: &[File; 2], run_dir: &Path, attempt: AttemptId, now: Instant) -> bool {
        let lens = [self.len(files, 0), self.len(files, 1)];
        let passed = lens.iter().any(|len| self.limit.is_passed(*len));
        if passed {
            self.drop_middles(files, lens, run_dir, attempt);
        }
        self.pause = match (passed && !self.whole, lens == self.seen) {
            (true, _) => BEYOND,
            (false, true) => (self.pause * 2).min(QUIET),
            (false, false) => FIRST,
        };
        (self.seen, self.next) = (lens, now + self.pause);
        passed && self.limit.kill && !std::mem::replace(&mut self.ended, true)
    }

    /// Looks once more at what has ended with outputs of these lengths. Why they are not whole, if they are not.
    pub fn close(&mut self, files: &[File; 2], lens: [u64; 2], run_dir: &Path, attempt: AttemptId) -> Option<Cut> {
        if !lens.iter().any(|len| self.limit.is_passed(*len)) && self.gaps == [None; 2] {
            return None;
        }
        self.drop_middles(files, lens, run_dir, attempt);
        Some(self.cut())
    }

    fn len(&self, files: &[File; 2], which: usize) -> u64 {
        let size = fstat(&files[which]).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        size.saturating_sub(self.from[which])
    }

    fn drop_middles(&mut self, files: &[File; 2], lens: [u64; 2], run_dir: &Path, attempt: AttemptId) {
        if self.whole {
            return;
        }
        let before = self.gaps;
        for (gap, len) in self.gaps.iter_mut().zip(lens) {
            // One that was cut short by its command had more to be dropped before.
            *gap =
                self.limit.gap(len).map(|new| Gap { to: gap.map_or(new.to, |old| old.to.max(new.to)), ..new }).or(*gap);
        }
        // On a full disk there is no room for the note, and to make room comes first.
        let _ = note(run_dir, attempt, self.cut());
        for (which, file) in files.iter().enumerate() {
            let Some(gap) = self.gaps[which].filter(|gap| before[which] != Some(*gap)) else { continue };
            let from = before[which].map_or(gap.from, |old| old.to);
            if let Err(error) = hole::punch(file, self.from[which] + from, self.from[which] + gap.to) {
                tracing::debug!("{}: {error}", run_dir.display());
                (self.whole, self.gaps) = (true, before);
                let _ = note(run_dir, attempt, self.cut());
                return;
            }
        }
    }

    const fn cut(&self) -> Cut {
        let [out, err] = self.gaps;
        Cut::MaxOutput { limit: self.limit, ended: self.ended, out, err }
    }
}

/// Appears whole; it need not outlast a power cut, which no attempt does.
fn note(run_dir: &Path, attempt: AttemptId, cut: Cut) -> io::Result<()> {
    let new = run_dir.join("cut.new");
    fs::write(&new, format!("{attempt} {}", serde_json::to_string(&cut)?))?;
    fs::rename(new, run_dir.join(NOTE))
}

/// What was dropped so far of an attempt that runs, or ended without a record.
pub fn noted(run_dir: &Path, attempt: AttemptId) -> Option<Cut> {
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
    use crate::model::attempt::Stream;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn attempt() -> AttemptId {
        "019a0000-0000-7000-8000-00000000000a.0.1".parse().unwrap()
    }

    /// Two outputs, the first behind 5,001 bytes of a neighbour.
    fn files(dir: &Path) -> [File; 2] {
        let open = |name| File::options().read(true).append(true).create(true).open(dir.join(name)).unwrap();
        let files = [open("out"), open("err")];
        (&files[0]).write_all(&[b'n'; 5_001]).unwrap();
        files
    }

    #[test]
    fn middle_is_dropped_and_noted_and_the_neighbour_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let now = Instant::now();
        let mut bound = Bound::new(MaxOutput::parse("128K").unwrap(), (5_001, 0), now);
        (&files[0]).write_all(&[b'a'; 100_000]).unwrap();
        assert!(!bound.look(&files, dir.path(), attempt(), now));
        assert_eq!(noted(dir.path(), attempt()), None, "within the bound nothing is done");
        (&files[0]).write_all(&vec![b'b'; 4 << 20]).unwrap();
        (&files[0]).write_all(&[b'c'; 100_000]).unwrap();
        assert!(!bound.look(&files, dir.path(), attempt(), now), "only ,kill ends it");
        let len = 200_000 + (4 << 20);
        let gap = Gap { from: 64 << 10, to: len - (64 << 10) };
        assert_eq!(noted(dir.path(), attempt()).and_then(|cut| cut.gap(Stream::Out)), Some(gap));
        assert!(files[0].metadata().unwrap().blocks() * 512 < 200_000);
        let bytes = fs::read(dir.path().join("out")).unwrap();
        assert_eq!(bytes.len() as u64, 5_001 + len);
        assert_eq!(bytes[..5_001], [b'n'; 5_001]);
        assert_eq!(bytes[5_001..][..64 << 10], [b'a'; 64 << 10]);
        assert_eq!(bytes[bytes.len() - (64 << 10)..], [b'c'; 64 << 10]);
        let other = "019a0000-0000-7000-8000-00000000000a.0.2".parse().unwrap();
        assert_eq!(noted(dir.path(), other), None);
    }

    #[test]
    fn bound_with_kill_asks_for_the_end_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let mut bound = Bound::new(MaxOutput::parse("64K,kill").unwrap(), (5_001, 0), Instant::now());
        (&files[1]).write_all(&vec![0; 1 << 20]).unwrap();
        assert!(bound.look(&files, dir.path(), attempt(), Instant::now()));
        assert!(!bound.look(&files, dir.path(), attempt(), Instant::now()));
        let cut = bound.close(&files, [0, 1 << 20], dir.path(), attempt());
        assert!(matches!(cut, Some(Cut::MaxOutput { ended: true, out: None, err: Some(_), .. })), "{cut:?}");
    }

    #[test]
    fn output_stays_whole_where_no_hole_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        drop(files(dir.path()));
        fs::write(dir.path().join("err"), vec![7; 1 << 20]).unwrap();
        let read_only = ["out", "err"].map(|name| File::open(dir.path().join(name)).unwrap());
        let mut bound = Bound::new(MaxOutput::parse("64K").unwrap(), (5_001, 0), Instant::now());
        bound.look(&read_only, dir.path(), attempt(), Instant::now());
        let cut = bound.close(&read_only, [0, 1 << 20], dir.path(), attempt());
        assert!(matches!(cut, Some(Cut::MaxOutput { out: None, err: None, .. })), "{cut:?}");
        assert_eq!(fs::read(dir.path().join("err")).unwrap(), vec![7; 1 << 20]);
        assert!(cut.unwrap().to_string().contains("kept whole"), "{cut:?}");
    }

    #[test]
    fn quiet_output_is_looked_at_seldom() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let now = Instant::now();
        let mut bound = Bound::new(MaxOutput::DEFAULT, (5_001, 0), now);
        assert_eq!(bound.next(), now + FIRST);
        for _ in 0..4 {
            bound.look(&files, dir.path(), attempt(), now);
        }
        assert_eq!(bound.next(), now + QUIET);
    }
}
