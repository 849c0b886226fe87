//! The rate limit that all sessions of one user share, and the limit of their open questions. The counts are in a small file of
//! the home, `run/users/NAME/share`, behind a lock. Each session has an entry there and holds a lock of its own: the kernel releases
//! it with the process, so a killed session counts for nothing.

use crate::model::name::Name;
use crate::ops::OpsError;
use crate::store::Home;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions of one user at a time.
const SESSIONS: usize = 64;
/// Questions of a user in a second, over some time; and in a burst after a pause.
pub const PACE: f64 = 50.0;
const BURST: f64 = 200.0;
/// Open questions of a user, each with a thread; and those of them that wait for an event.
pub const AT_ONCE: u32 = 256;
pub const PATIENT: u32 = 192;
/// Bytes of the file: the pace, then an entry for each session.
const HEAD: usize = 16;
const ENTRY: usize = 16;
const LEN: usize = HEAD + SESSIONS * ENTRY;

/// The open questions of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SessionShare {
    asked: u32,
    patient: u32,
    /// Bytes of lists whose question has not ended.
    lists: u64,
}

/// The file.
#[derive(Debug, Clone, PartialEq)]
struct ShareState {
    /// The questions that the user may ask now, and the time of that count (ns of the host's uptime).
    tokens: f64,
    at: u64,
    entries: [SessionShare; SESSIONS],
}

impl ShareState {
    fn new(now: u64) -> Self {
        Self { tokens: BURST, at: now, entries: [SessionShare::default(); SESSIONS] }
    }

    /// None: the file is new or torn.
    fn read(bytes: &[u8; LEN], now: u64) -> Option<Self> {
        let number = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let small = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let (tokens, at) = (f64::from_bits(number(0)?), number(8)?);
        // An uptime that is still to come is one of before the last boot.
        if at == 0 || at > now || !(0.0..=BURST).contains(&tokens) {
            return None;
        }
        let mut state = Self { tokens, at, ..Self::new(now) };
        for (entry, from) in state.entries.iter_mut().zip((HEAD..).step_by(ENTRY)) {
            *entry = SessionShare { asked: small(from)?, patient: small(from + 4)?, lists: number(from + 8)? };
        }
        Some(state)
    }

    fn write(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&self.tokens.to_bits().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at.to_le_bytes());
        for (entry, to) in self.entries.iter().zip(bytes[HEAD..].chunks_exact_mut(ENTRY)) {
            to[..4].copy_from_slice(&entry.asked.to_le_bytes());
            to[4..8].copy_from_slice(&entry.patient.to_le_bytes());
            to[8..].copy_from_slice(&entry.lists.to_le_bytes());
        }
        bytes
    }

    /// Takes one token for a question, if there is one left.
    fn is_in_pace(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.at) as f64 / 1e9;
        self.tokens = (self.tokens + passed * PACE).min(BURST);
        self.at = now;
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }

    /// Adds up over all sessions.
    fn sum(&self, of: impl Fn(&SessionShare) -> u64) -> u64 {
        self.entries.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// This session's part.
#[derive(Debug)]
pub struct Share {
    dir: PathBuf,
    user: Name,
    own: usize,
    /// Locked as long as the session lives.
    _alive: File,
    /// Threads of one process are no strangers to each other's locks.
    file: Mutex<File>,
}

/// A question that counts for its user until it is answered.
#[derive(Debug)]
pub struct Counted {
    share: Arc<Share>,
    patient: bool,
    /// Bytes of the list that came with it.
    list: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (own, patient, list) = (self.share.own, self.patient, self.list);
        // Where the file can't be written any more, the end of the session settles it.
        let _ = self.share.change(|state, _| {
            let entry = &mut state.entries[own];
            entry.asked = entry.asked.saturating_sub(1);
            entry.patient = entry.patient.saturating_sub(u32::from(patient));
            entry.lists = entry.lists.saturating_sub(list);
        });
    }
}

impl Share {
    /// The entry of a new session.
    pub fn open(home: &Home, user: &Name) -> Result<Arc<Self>, OpsError> {
        let dir = home.run_dir().join("users").join(user.as_str());
        let failed = |error: io::Error| OpsError::Grid(format!("{}: {error}", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let open = |name: &str| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(name))
        };
        for own in 0..SESSIONS {
            let alive = open(&own.to_string()).map_err(failed)?;
            if alive.try_lock().is_err() {
                continue;
            }
            let file = Mutex::new(open("share").map_err(failed)?);
            let share = Self { dir, user: user.clone(), own, _alive: alive, file };
            // What an earlier session left there.
            share
                .change(|state, _| state.entries[own] = SessionShare::default())
                .map_err(|error| share.failed(&error))?;
            return Ok(Arc::new(share));
        }
        Err(OpsError::Refused(format!("{SESSIONS} sessions of {user} are open in this home: close some and try again")))
    }

    /// Counts a question, with the bytes of the list that came before it, until it is answered. An error: why it is refused.
    pub fn ask(self: &Arc<Self>, patient: bool, list: u64) -> Result<Counted, String> {
        let own = self.own;
        let asked = self.change(|state, now| {
            let room = self.is_room(state, patient, now);
            let entry = &mut state.entries[own];
            match room {
                Ok(()) => {
                    entry.asked += 1;
                    entry.patient += u32::from(patient);
                }
                Err(_) => entry.lists = entry.lists.saturating_sub(list),
            }
            room
        });
        asked.map_err(|error| self.failed(&error).to_string())??;
        Ok(Counted { share: Arc::clone(self), patient, list })
    }

    fn is_room(&self, state: &mut ShareState, patient: bool, now: u64) -> Result<(), String> {
        if !state.is_in_pace(now) {
            return Err(format!("more than {PACE} questions in a second, for a while: slow down"));
        }
        self.room(state, AT_ONCE, |entry| entry.asked)?;
        if patient { self.room(state, PATIENT, |entry| entry.patient) } else { Ok(()) }
    }

    /// Reserves bytes for lists, of `most` for all sessions of the user; false: there is no room.
    pub fn take_list(&self, bytes: u64, most: u64) -> bool {
        let own = self.own;
        let taken = self.change(|state, _| {
            if state.sum(|entry| entry.lists).saturating_add(bytes) > most {
                self.drop_dead(state);
            }
            let fits = state.sum(|entry| entry.lists).saturating_add(bytes) <= most;
            if fits {
                state.entries[own].lists += bytes;
            }
            fits
        });
        taken.unwrap_or(false)
    }

    /// Drops a list whose question will not come.
    pub fn drop_list(&self, bytes: u64) {
        let own = self.own;
        // As above.
        let _ = self.change(|state, _| state.entries[own].lists = state.entries[own].lists.saturating_sub(bytes));
    }

    fn room(&self, state: &mut ShareState, most: u32, of: fn(&SessionShare) -> u32) -> Result<(), String> {
        let full = |state: &ShareState| state.sum(|entry| u64::from(of(entry))) >= u64::from(most);
        if full(state) {
            self.drop_dead(state);
        }
        match full(state) {
            true => Err(format!("{most} questions of {} are worked at; try again", self.user)),
            false => Ok(()),
        }
    }

    /// Clears the entries of dead sessions.
    fn drop_dead(&self, state: &mut ShareState) {
        for (at, entry) in state.entries.iter_mut().enumerate() {
            let dead = || File::open(self.dir.join(at.to_string())).is_ok_and(|file| file.try_lock().is_ok());
            if at != self.own && *entry != SessionShare::default() && dead() {
                *entry = SessionShare::default();
            }
        }
    }

    /// Changes the file under its lock.
    fn change<T>(&self, change: impl FnOnce(&mut ShareState, u64) -> T) -> io::Result<T> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock()?;
        let now = uptime();
        let mut bytes = [0; LEN];
        // A file that is shorter is new.
        let read = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| ShareState::read(&bytes, now));
        let mut state = read.unwrap_or_else(|| ShareState::new(now));
        let done = change(&mut state, now);
        let written = file.write_all_at(&state.write(), 0);
        file.unlock()?;
        written.map(|()| done)
    }

    fn failed(&self, error: &io::Error) -> OpsError {
        OpsError::Grid(format!("{}: {error}", self.dir.display()))
    }
}

/// Nanoseconds since this host was started, the same for all processes; no change of the wall clock touches it.
fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::fixture;

    #[test]
    fn pace_of_a_user_is_shared_by_all_sessions() {
        let (_dir, grid) = fixture::grid();
        let (home, alice) = (grid.store.home(), fixture::name("alice"));
        let sessions: Vec<_> = (0..8).map(|_| Share::open(home, &alice).unwrap()).collect();
        let began = uptime();
        let told = |session: &Arc<Share>| session.ask(false, 0).map(drop);
        let asked = sessions.iter().cycle().take(1_000).filter(|session| told(session).is_ok()).count() as f64;
        let passed = (uptime() - began) as f64 / 1e9;
        assert!((BURST..=BURST + 1.0 + passed * PACE).contains(&asked), "{asked} in {passed} s");
        assert!(told(&sessions[0]).unwrap_err().contains("slow down"));
        // Another user has a pace of its own.
        let bob = Share::open(home, &fixture::name("bob")).unwrap();
        assert_eq!(told(&bob), Ok(()));
    }

    #[test]
    fn open_questions_and_lists_count_over_all_sessions() {
        let (_dir, grid) = fixture::grid();
        let alice = fixture::name("alice");
        let (one, two) =
            (Share::open(grid.store.home(), &alice).unwrap(), Share::open(grid.store.home(), &alice).unwrap());
        let patient: Vec<Counted> =
            (0..PATIENT / 2).flat_map(|_| [one.ask(true, 0), two.ask(true, 0)]).map(Result::unwrap).collect();
        assert!(two.ask(true, 0).unwrap_err().contains("192 questions of alice"));
        assert!(two.ask(false, 0).is_ok(), "what is answered at once still is");
        drop(patient);
        assert!(two.ask(true, 0).is_ok());
        assert!(one.take_list(60, 100) && !two.take_list(60, 100));
        one.drop_list(60);
        assert!(two.take_list(60, 100));
    }

    #[test]
    fn killed_session_counts_for_nothing() {
        let (_dir, grid) = fixture::grid();
        let alice = fixture::name("alice");
        let left = Share::open(grid.store.home(), &alice).unwrap();
        let killed = Share::open(grid.store.home(), &alice).unwrap();
        let under_way: Vec<Counted> = (0..PATIENT).map(|_| killed.ask(true, 0).unwrap()).collect();
        assert!(left.ask(true, 0).is_err());
        // Its lock goes with it, its entry stays.
        let Share { own, .. } = *killed;
        let file = File::open(killed.dir.join(own.to_string())).unwrap();
        assert!(file.try_lock().is_err());
        killed._alive.unlock().unwrap();
        assert!(left.ask(true, 0).is_ok());
        drop((under_way, killed));
        // Its entry is given to the next.
        let all: Vec<_> = (1..SESSIONS).map(|_| Share::open(grid.store.home(), &alice).unwrap()).collect();
        assert!(Share::open(grid.store.home(), &alice).unwrap_err().to_string().contains("64 sessions of alice"));
        drop(all);
    }

    #[test]
    fn share_file_that_is_torn_or_of_an_earlier_boot_is_reset() {
        let now = 5_000;
        let mut state = ShareState::new(now);
        state.entries[3] = SessionShare { asked: 1, patient: 1, lists: 9 };
        assert_eq!(ShareState::read(&state.write(), now), Some(state.clone()));
        assert_eq!(ShareState::read(&[0; LEN], now), None);
        assert_eq!(ShareState::read(&[0xff; LEN], now), None);
        assert_eq!(ShareState::read(&state.write(), now - 1), None, "an uptime that is still to come");
    }
}
