//! The starts and ends of a home's dispatchers, kept in the lock file, so that repeated failures can be reported.

use crate::dispatch::client::start::LOCK;
use crate::model::bounds;
use crate::model::clock::Moment;
use crate::model::time::Timestamp;
use crate::store::Home;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A dispatcher that ran for this long did not end because of what it found at its start.
const LONG: Duration = Duration::from_secs(30);
/// This many early ends in a row are reported as a repeated failure.
const NO_ACCIDENT: u32 = 3;
/// Longest record in the lock file, in bytes.
const MOST: usize = 4 << 10;
/// Longest text in the record, in bytes: as JSON it may become six times as long.
const WORDS: usize = 250;

/// The record of one dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pid: i32,
    began_at: Timestamp,
    /// Milliseconds since boot.
    since_boot: u64,
    /// Length of the log in bytes when it started.
    log_from: u64,
    end: Option<DispatcherEnd>,
    /// How many dispatchers before it ended early in a row; `last` is what is known of the last one.
    #[serde(default)]
    losses: u32,
    #[serde(default)]
    last: Option<String>,
}

/// How a dispatcher ended. Without a record it was killed, or its host went down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DispatcherEnd {
    Left,
    Failed(String),
}

impl Life {
    /// The record of a dispatcher that starts now, with the losses counted from the record before.
    fn begin(before: Option<Self>, pid: i32, now: Moment, log: &Path) -> Self {
        let (losses, last) = before.map_or((0, None), |before| before.losses_at(now, log));
        let log_from = std::fs::metadata(log).map_or(0, |meta| meta.len());
        Self { pid, began_at: now.wall, since_boot: millis(now.since_boot), log_from, end: None, losses, last }
    }

    /// How many ended early in a row, including this one, which does not run any more, and why the last one ended.
    fn losses_at(self, now: Moment, log: &Path) -> (u32, Option<String>) {
        let ran = millis(now.since_boot).checked_sub(self.since_boot);
        let why = match &self.end {
            Some(DispatcherEnd::Left) => return (0, None),
            // The host was restarted since.
            None if ran.is_none() => return (0, None),
            Some(DispatcherEnd::Failed(why)) => why.clone(),
            None => match last_line_since(log, self.log_from) {
                Some(mut word) => {
                    bounds::cut_to(&mut word, WORDS);
                    format!("it was killed, or crashed; its last word was: {word}")
                }
                None => "it was killed, or crashed without a word".to_owned(),
            },
        };
        let early = ran.is_some_and(|ran| ran < millis(LONG));
        (
            if early { self.losses + 1 } else { 1 },
            Some(format!("process {}, begun at {}: {why}", self.pid, self.began_at.local())),
        )
    }

    /// The time since it started; zero if the host was restarted since.
    fn age(&self, now: Moment) -> Duration {
        Duration::from_millis(millis(now.since_boot).saturating_sub(self.since_boot))
    }

    fn read(lock: &File) -> Option<Self> {
        let mut text = vec![0; MOST];
        let len = lock.read_at(&mut text, 0).ok()?;
        serde_json::from_slice(text[..len].split(|byte| *byte == b'\n').next()?).ok()
    }

    fn write(&self, lock: &File) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        lock.write_all_at(&line, 0)
    }
}

/// The record of this dispatcher in its lock file.
#[derive(Debug)]
pub(in crate::dispatch) struct LifeNote {
    life: Life,
}

impl LifeNote {
    /// Records the start of this process. A failed write is ignored: only later reports lack it.
    pub(in crate::dispatch) fn begin(lock: &File, log: &Path) -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let life = Life::begin(Life::read(lock), pid, Moment::now(), log);
        let _ = life.write(lock);
        Self { life }
    }

    /// Records how this dispatcher ended.
    pub(in crate::dispatch) fn end(mut self, lock: &File, how: DispatcherEnd) {
        self.life.end = Some(match how {
            DispatcherEnd::Failed(mut why) => {
                bounds::cut_to(&mut why, WORDS);
                DispatcherEnd::Failed(why)
            }
            DispatcherEnd::Left => DispatcherEnd::Left,
        });
        let _ = self.life.write(lock);
    }
}

/// Dispatchers that ended early in a row, as the lock file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherTrouble {
    pub losses: u32,
    pub last: String,
}

impl DispatcherTrouble {
    /// Reads the lock file. None: no early end is known.
    fn read(lock: &File, log: &Path) -> Option<Self> {
        let life = Life::read(lock)?;
        // The lock is not tried: a dispatcher that starts now would find it taken.
        let lives = life.end.is_none() && Pid::from_raw(life.pid).is_some_and(|pid| test_kill_process(pid).is_ok());
        let (losses, last) = match lives {
            // A dispatcher that has run for long is past what ended those before it.
            true if life.age(Moment::now()) >= LONG => return None,
            true => (life.losses, life.last),
            false => life.losses_at(Moment::now(), log),
        };
        last.map(|last| Self { losses, last })
    }

    /// True if enough dispatchers ended early in a row to report it.
    pub fn is_repeated(&self) -> bool {
        self.losses >= NO_ACCIDENT
    }
}

impl std::fmt::Display for DispatcherTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the dispatcher has ended early {} times in a row: {}", self.losses, self.last)
    }
}

/// The log of the home's dispatchers.
pub(in crate::dispatch) fn log_file(home: &Home) -> PathBuf {
    home.run_dir().join("dispatcher.log")
}

/// The early ends of a home's dispatchers, if there are any.
pub fn trouble(home: &Home) -> Option<DispatcherTrouble> {
    DispatcherTrouble::read(&File::open(home.run_dir().join(LOCK)).ok()?, &log_file(home))
}

/// The last line of a log after an offset in bytes.
pub(in crate::dispatch) fn last_line_since(log: &Path, from: u64) -> Option<String> {
    let text = std::fs::read(log).unwrap_or_default();
    // A log that grew too long was restarted.
    let from = usize::try_from(from).ok().filter(|from| *from <= text.len()).unwrap_or(0);
    String::from_utf8_lossy(&text[from..]).lines().last().map(str::to_owned)
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment { wall: Timestamp(0), since_boot: Duration::from_secs(secs) }
    }

    fn log(dir: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("log");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn killed_dispatcher_is_reported_without_log_lines_from_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(&dir, "an old word\n");
        let first = Life::begin(None, 1, at(100), &path);
        let second = Life::begin(Some(first), 2, at(101), &path);
        assert_eq!(second.losses, 1);
        let last = second.last.clone().unwrap();
        assert!(last.contains("without a word") && !last.contains("old word"), "{last}");
        let path = log(&dir, "an old word\na new word\n");
        let (losses, last) = second.losses_at(at(102), &path);
        assert_eq!(losses, 2);
        assert!(last.unwrap().ends_with("its last word was: a new word"));
    }

    #[test]
    fn losses_restart_after_a_dispatcher_that_left_or_ran_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(&dir, "");
        let mut life = Life::begin(None, 1, at(0), &path);
        for n in 1..5 {
            life = Life::begin(Some(life), 1, at(n), &path);
        }
        assert_eq!(life.losses, 4);
        assert_eq!(life.clone().losses_at(at(40), &path).0, 1, "it ran for long");
        assert_eq!(life.clone().losses_at(at(1), &path), (0, None), "the host was restarted");
        life.end = Some(DispatcherEnd::Left);
        assert_eq!(life.losses_at(at(6), &path), (0, None));
    }

    #[test]
    fn own_error_of_a_failed_dispatcher_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(&dir, "");
        let lock = tempfile::tempfile().unwrap();
        for _ in 0..3 {
            LifeNote::begin(&lock, &path).end(&lock, DispatcherEnd::Failed("the disk is gone".to_owned()));
        }
        let trouble = DispatcherTrouble::read(&lock, &path).unwrap();
        assert_eq!(trouble.losses, 3);
        assert!(
            trouble.is_repeated()
                && trouble.to_string().contains("3 times in a row")
                && trouble.last.ends_with("the disk is gone")
        );
        LifeNote::begin(&lock, &path).end(&lock, DispatcherEnd::Left);
        assert_eq!(DispatcherTrouble::read(&lock, &path), None);
    }

    #[test]
    fn losses_are_reported_while_the_next_dispatcher_is_young() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(&dir, "");
        let lock = tempfile::tempfile().unwrap();
        let (own, now) = (std::process::id().cast_signed(), Moment::now());
        let begun = |ago: u64| {
            let at = Moment { wall: now.wall, since_boot: now.since_boot.saturating_sub(Duration::from_secs(ago)) };
            let lost =
                Life { losses: 4, last: Some("process 1: killed".to_owned()), ..Life::begin(None, own, at, &path) };
            lost.write(&lock).unwrap();
            DispatcherTrouble::read(&lock, &path).map(|trouble| trouble.losses)
        };
        assert_eq!(begun(1), Some(4));
        assert_eq!(begun(40), None, "it does not end of what ended those before it");
    }
}
