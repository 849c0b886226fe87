//! Waiting for a lock of the database that somebody else holds: for as long as it takes, and after some seconds it is said who
//! holds it.

use super::Home;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A wait for another program looks up its name after this time.
const LONG: Duration = Duration::from_secs(3);
/// Writers of grid queue: two hundred of them on a busy machine take their time, and that is nothing to be told.
const QUEUE: Duration = Duration::from_secs(30);
/// It is said again after so long.
const AGAIN: Duration = Duration::from_secs(60);
/// In `grid.db-shm`, the byte whose lock makes a writer (<https://sqlite.org/walformat.html#wal_locks>).
const WRITE_LOCK: u64 = 120;

/// Tells the person, or the log, that we wait.
static TELL: OnceLock<fn(&str)> = OnceLock::new();
/// The home whose database was opened first: a process has one.
static HOME: OnceLock<Home> = OnceLock::new();

thread_local! {
    /// When this thread began to wait, and when it is to be said next.
    static WAITS: Cell<Option<Instant>> = const { Cell::new(None) };
    /// A lock of another process is an error for this thread now.
    static HURRIES: Cell<bool> = const { Cell::new(false) };
}

/// Does something with a database without waiting for locks.
pub(super) fn not<T>(work: impl FnOnce() -> T) -> T {
    HURRIES.set(true);
    let done = work();
    HURRIES.set(false);
    done
}

/// From here on waits are told by this.
pub fn tell_by(tell: fn(&str)) {
    let _ = TELL.set(tell);
}

pub(super) fn of(home: &Home) {
    HOME.get_or_init(|| home.clone());
}

/// Says who holds the lock, unless that is a grid which we queue behind, and not for long.
fn say(waited: Duration) {
    let (Some(tell), Some(home)) = (TELL.get(), HOME.get()) else { return };
    match holding(home) {
        Some(pid) if is_grid(pid) && waited < QUEUE => {}
        Some(pid) => {
            let holder = described(pid);
            tell(&format!("waiting for the database {}: {holder} has it locked", home.database().display()))
        }
        None => tell(&format!("waiting for the database {}: it is locked", home.database().display())),
    }
}

/// SQLite asks before each further try, with how many there were: it goes on for as long as the lock is held.
pub(super) fn busy(tries: i32) -> bool {
    if HURRIES.get() {
        return false;
    }
    let now = Instant::now();
    let due = match WAITS.get() {
        Some(due) if tries > 0 => due,
        _ => now + LONG,
    };
    WAITS.set(Some(due));
    if now >= due {
        WAITS.set(Some(now + AGAIN));
        say(LONG);
    }
    std::thread::sleep(Duration::from_millis(1 << tries.clamp(0, 5)));
    true
}

/// Waits that can't be interrupted, each with when it is to be said next and how long it will have lasted since the last time.
#[derive(Debug)]
struct Waits {
    next: u64,
    all: BTreeMap<u64, (Instant, Duration)>,
    /// When the watcher looks again; None: it waits for the next wait.
    looks_at: Option<Instant>,
}

static WAITS_WATCHED: Mutex<Waits> = Mutex::new(Waits { next: 0, all: BTreeMap::new(), looks_at: None });
static NEW_WAIT: Condvar = Condvar::new();
/// One thread for a process, from its first wait on.
static WATCHER: Once = Once::new();

impl Waits {
    /// Another one. True: the watcher must be told.
    fn begin(&mut self, now: Instant) -> (u64, bool) {
        let (id, due) = (self.next, now + LONG);
        self.next += 1;
        self.all.insert(id, (due, LONG));
        (id, self.looks_at.is_none_or(|at| due < at))
    }

    /// How long the longest of those that are due has lasted; each is due again later.
    fn due(&mut self, now: Instant) -> Option<Duration> {
        let mut longest = None;
        for (at, patience) in self.all.values_mut().filter(|(at, _)| *at <= now) {
            longest = longest.max(Some(*patience));
            *patience = if *patience < QUEUE { QUEUE } else { AGAIN };
            *at = now + *patience;
        }
        longest
    }
}

fn waits() -> MutexGuard<'static, Waits> {
    WAITS_WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says it while this lives, of a wait that can't be interrupted.
pub(super) struct WaitNotice(u64);

impl Drop for WaitNotice {
    fn drop(&mut self) {
        waits().all.remove(&self.0);
    }
}

/// Begins to watch a wait.
pub(super) fn watch() -> WaitNotice {
    let (id, tell) = waits().begin(Instant::now());
    // Without the thread the wait is only not told.
    WATCHER.call_once(|| drop(std::thread::Builder::new().name("grid-waits".to_owned()).spawn(watch_all)));
    if tell {
        NEW_WAIT.notify_one();
    }
    WaitNotice(id)
}

fn watch_all() {
    let mut all = waits();
    loop {
        let now = Instant::now();
        if let Some(patience) = all.due(now) {
            drop(all);
            say(patience);
            all = waits();
            continue;
        }
        all.looks_at = all.all.values().map(|(at, _)| *at).min();
        all = match all.looks_at {
            Some(at) => {
                NEW_WAIT.wait_timeout(all, at - now).map_or_else(|broken| broken.into_inner().0, |(all, _)| all)
            }
            None => NEW_WAIT.wait(all).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Who else holds a lock that keeps writers, or everybody, out: the process and its command.
pub fn holder(home: &Home) -> Option<String> {
    holding(home).map(described)
}

fn holding(home: &Home) -> Option<i32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let inode = |path: PathBuf| std::fs::metadata(path).ok().as_ref().map(Metadata::ino);
    let mut memory = home.database().into_os_string();
    memory.push("-shm");
    let database = [(inode(home.database()), None), (inode(memory.into()), Some(WRITE_LOCK))];
    let of_database = database.iter().find_map(|(file, byte)| pid_of(&locks, "POSIX", (*file)?, *byte));
    // Whoever has the gate may itself wait for the database.
    of_database.or_else(|| pid_of(&locks, "FLOCK", inode(home.run_dir().join("gate"))?, None))
}

/// The process that holds a write lock on a file, at this byte: a line of proc_locks(5) that does not wait itself. Not we.
fn pid_of(locks: &str, kind: &str, file: u64, byte: Option<u64>) -> Option<i32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, found, _, "WRITE", pid, place, from, to] = words[..] else { return None };
        // The device is that of the file system, which is not always the file's.
        let its = place.rsplit(':').next()?.parse() == Ok(file);
        let covers = byte.is_none_or(|byte| {
            from.parse().is_ok_and(|from: u64| from <= byte) && to.parse().map_or(to == "EOF", |to: u64| byte <= to)
        });
        let pid: i32 = pid.parse().ok()?;
        let other = pid > 0 && pid != rustix::process::getpid().as_raw_nonzero().get();
        (found == kind && its && covers && other).then_some(pid)
    })
}

/// Is this a process of grid? Its programs start each other under that name.
fn is_grid(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    program == b"grid" || program.ends_with(b"/grid")
}

fn described(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect();
    let command: String = words.join(" ").trim().chars().take(80).collect();
    if command.is_empty() { format!("process {pid}") } else { format!("process {pid} ({command})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  READ 11 fe:01:131 128 128
2: POSIX  ADVISORY  WRITE 12 fe:01:132 120 120
2: -> POSIX  ADVISORY  WRITE 13 fe:01:132 120 120
3: FLOCK  ADVISORY  WRITE 14 fe:01:133 0 EOF
4: OFDLCK ADVISORY  WRITE -1 fe:01:131 0 EOF
5: POSIX  ADVISORY  WRITE 15 fe:01:134 0 EOF
6: POSIX  ADVISORY  WRITE 16 fe:01:135 121 127";

    #[test]
    fn holder_is_who_holds_and_not_who_reads_or_waits() {
        assert_eq!(pid_of(LOCKS, "POSIX", 131, None), None);
        assert_eq!(pid_of(LOCKS, "POSIX", 132, Some(120)), Some(12));
        assert_eq!(pid_of(LOCKS, "FLOCK", 133, None), Some(14));
        assert_eq!(pid_of(LOCKS, "POSIX", 134, Some(120)), Some(15));
        assert_eq!(pid_of(LOCKS, "POSIX", 135, Some(120)), None);
    }

    #[test]
    fn waiting_has_no_end_but_that_of_the_lock() {
        assert!(busy(0) && busy(5) && busy(i32::MAX));
        assert!(!not(|| busy(0)) && busy(0));
    }

    #[test]
    fn waits_are_said_after_three_seconds_then_thirty_then_each_minute() {
        let mut waits = Waits { next: 0, all: BTreeMap::new(), looks_at: None };
        let now = Instant::now();
        let (first, told) = waits.begin(now);
        assert!(told, "the watcher sleeps");
        waits.looks_at = Some(now + LONG);
        assert!(!waits.begin(now + Duration::from_secs(1)).1, "it looks soon enough by itself");
        assert_eq!(waits.due(now + Duration::from_secs(2)), None);
        assert_eq!(waits.due(now + LONG), Some(LONG));
        assert_eq!(waits.due(now + LONG), None);
        assert_eq!(waits.due(now + LONG + QUEUE), Some(QUEUE));
        waits.all.retain(|id, _| *id == first);
        assert_eq!(waits.due(now + LONG + QUEUE + AGAIN), Some(AGAIN));
    }

    #[test]
    fn watched_waits_of_a_process_share_one_thread() {
        let watched: Vec<WaitNotice> = (0..20).map(|_| watch()).collect();
        let watchers = || {
            let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
            names.filter(|name| name.trim() == "grid-waits").count()
        };
        while watchers() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(watchers(), 1);
        let ids: Vec<u64> = watched.iter().map(|watched| watched.0).collect();
        drop(watched);
        assert!(!waits().all.keys().any(|id| ids.contains(id)));
    }
}
