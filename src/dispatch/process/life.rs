//! How dispatchers of a home began and ended, in the file that each holds the lock of: whoever asks why none stays is told what is known.

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

/// One that ran for so long did not end of what it found at its start.
const LONG: Duration = Duration::from_secs(30);
/// So many in a row are no accident.
const NO_ACCIDENT: u32 = 3;
/// More is never written.
const MOST: usize = 4 << 10;
/// And of one text in it, which may become six times as long as JSON.
const WORDS: usize = 250;

/// One dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pid: i32,
    began_at: Timestamp,
    /// Milliseconds since boot.
    since_boot: u64,
    /// How long its log was when it began.
    log_from: u64,
    end: Option<DispatcherEnd>,
    /// How many before it ended early in a row, and what is known of the last.
    #[serde(default)]
    losses: u32,
    #[serde(default)]
    last: Option<String>,
}

/// How it ended, in its own words; without any it was killed, or its host went down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DispatcherEnd {
    Left,
    Failed(String),
}

impl Life {
    /// One that begins now; what the file tells of the one before is looked at once.
    fn begin(before: Option<Self>, pid: i32, now: Moment, log: &Path) -> Self {
        let (losses, last) = before.map_or((0, None), |before| before.losses_at(now, log));
        let log_from = std::fs::metadata(log).map_or(0, |meta| meta.len());
        Self { pid, began_at: now.wall, since_boot: millis(now.since_boot), log_from, end: None, losses, last }
    }

    /// How many ended early in a row up to this one, which runs no more.
    fn losses_at(self, now: Moment, log: &Path) -> (u32, Option<String>) {
        let ran = millis(now.since_boot).checked_sub(self.since_boot);
        let why = match &self.end {
            Some(DispatcherEnd::Left) => return (0, None),
            // The host was restarted since.
            None if ran.is_none() => return (0, None),
            Some(DispatcherEnd::Failed(why)) => why.clone(),
            None => match word_since(log, self.log_from) {
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

    /// How long it is since it began; none at all where the host was restarted since.
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

/// This dispatcher, in its lock.
#[derive(Debug)]
pub(in crate::dispatch) struct LifeNote {
    life: Life,
}

impl LifeNote {
    /// Notes that this process begins. What can't be written here is missing from what is told later, nothing else.
    pub(in crate::dispatch) fn begin(lock: &File, log: &Path) -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let life = Life::begin(Life::read(lock), pid, Moment::now(), log);
        let _ = life.write(lock);
        Self { life }
    }

    /// Notes how it ended.
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

/// What a lock file tells to whoever asks why there is no dispatcher, or why there is another one each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherTrouble {
    pub losses: u32,
    pub last: String,
}

impl DispatcherTrouble {
    /// None: nothing is known to be wrong.
    fn read(lock: &File, log: &Path) -> Option<Self> {
        let life = Life::read(lock)?;
        // Its lock is not tried: one that just begins would take us for another dispatcher.
        let lives = life.end.is_none() && Pid::from_raw(life.pid).is_some_and(|pid| test_kill_process(pid).is_ok());
        let (losses, last) = match lives {
            // One that has lived for long does not end of what ended those before it.
            true if life.age(Moment::now()) >= LONG => return None,
            true => (life.losses, life.last),
            false => life.losses_at(Moment::now(), log),
        };
        last.map(|last| Self { losses, last })
    }

    /// Is it no accident?
    pub fn goes_on(&self) -> bool {
        self.losses >= NO_ACCIDENT
    }
}

impl std::fmt::Display for DispatcherTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the dispatcher has ended early {} times in a row: {}", self.losses, self.last)
    }
}

/// What dispatchers say, and where whoever started one looks for its last word.
pub(in crate::dispatch) fn log_file(home: &Home) -> PathBuf {
    home.run_dir().join("dispatcher.log")
}

/// What is known of dispatchers of a home that ended early.
pub fn trouble(home: &Home) -> Option<DispatcherTrouble> {
    DispatcherTrouble::read(&File::open(home.run_dir().join(LOCK)).ok()?, &log_file(home))
}

/// The last line of a log behind a place in it.
pub(in crate::dispatch) fn word_since(log: &Path, from: u64) -> Option<String> {
    let text = std::fs::read(log).unwrap_or_default();
    // One that grew too long was begun anew.
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
    fn one_that_is_killed_is_not_blamed_for_what_its_log_said_before() {
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
    fn one_that_left_or_ran_for_long_begins_the_count_anew() {
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
    fn what_it_said_itself_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(&dir, "");
        let lock = tempfile::tempfile().unwrap();
        for _ in 0..3 {
            LifeNote::begin(&lock, &path).end(&lock, DispatcherEnd::Failed("the disk is gone".to_owned()));
        }
        let trouble = DispatcherTrouble::read(&lock, &path).unwrap();
        assert_eq!(trouble.losses, 3);
        assert!(
            trouble.goes_on()
                && trouble.to_string().contains("3 times in a row")
                && trouble.last.ends_with("the disk is gone")
        );
        LifeNote::begin(&lock, &path).end(&lock, DispatcherEnd::Left);
        assert_eq!(DispatcherTrouble::read(&lock, &path), None);
    }

    #[test]
    fn losses_before_one_that_lives_are_told_while_it_is_young() {
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
