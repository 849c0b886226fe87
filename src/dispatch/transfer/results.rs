//! Fetches of results: the agent packs them once the process is gone, and they are read piece by piece into the home's spool,
//! before the end is recorded.

use super::ending::ReportedEnd;
use crate::archive::room::{self, RESERVE};
use crate::archive::{AHEAD, Hashing, PIECE};
use crate::dispatch::links::route::Route;
use crate::model::ambient::Now;
use crate::model::failpoint::failpoint;
use crate::model::files::Digest;
use crate::model::id::{AttemptId, AttemptKey, TaskId};
use crate::model::time::Timestamp;
use crate::protocol::agent::{Packing, ToAgent};
use crate::store::Home;
use crate::store::files::Whereabouts;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Fetches of results.
#[derive(Debug)]
pub struct ResultFetches {
    open: BTreeMap<AttemptId, Bring>,
    /// Outcomes of threads that put complete archives on the disk: a long fsync must not block the loop.
    settled: Receiver<(AttemptId, Result<(), String>)>,
    settling: Sender<(AttemptId, Result<(), String>)>,
}

impl Default for ResultFetches {
    fn default() -> Self {
        let (settling, settled) = channel();
        Self { open: BTreeMap::new(), settled, settling }
    }
}

/// Fetched results.
#[derive(Debug, Clone, PartialEq)]
pub struct Brought {
    pub lies: Whereabouts,
    pub remarks: Vec<String>,
}

/// Why results are fetched.
#[derive(Debug)]
pub enum Whose {
    /// An end waits to be recorded.
    End(ReportedEnd),
    /// The end is recorded; a caller requested the results again.
    Again { route: Route, attempt: AttemptId, key: AttemptKey },
}

impl Whose {
    const fn route(&self) -> Route {
        match self {
            Self::End(report) => report.route,
            Self::Again { route, .. } => *route,
        }
    }

    const fn attempt(&self) -> AttemptId {
        match self {
            Self::End(report) => report.attempt,
            Self::Again { attempt, .. } => *attempt,
        }
    }

    const fn key(&self) -> AttemptKey {
        match self {
            Self::End(report) => report.key,
            Self::Again { key, .. } => *key,
        }
    }
}

/// The outcome of a repeated fetch.
#[derive(Debug, Clone)]
pub struct Again {
    pub route: Route,
    pub attempt: AttemptId,
    pub key: AttemptKey,
    pub brought: Brought,
}

/// A fetch that is over: the results have arrived, or stay on the server.
#[derive(Debug)]
pub enum Arrived {
    End(ReportedEnd, Brought),
    Again(Again),
}

#[derive(Debug)]
struct Bring {
    whose: Whose,
    remarks: Vec<String>,
    /// None while the agent packs.
    arrival: Option<Arrival>,
    told_at: Instant,
    began_at: Timestamp,
}

#[derive(Debug)]
struct Arrival {
    path: PathBuf,
    to: Hashing<File>,
    asked: u64,
    digest: Digest,
    size: u64,
    files: u64,
    /// It has arrived damaged once.
    again: bool,
}

/// The next step of a fetch of results.
#[derive(Debug, Default)]
pub struct ResultStep {
    pub ask: Vec<ToAgent>,
    pub arrived: Option<Arrived>,
}

impl ResultFetches {
    /// Adds a fetch; the request to pack follows. False: it was requested already.
    pub fn begin(&mut self, whose: Whose, now: Now) -> bool {
        let attempt = whose.attempt();
        if self.open.contains_key(&attempt) {
            return false;
        }
        let bring = Bring { whose, remarks: Vec::new(), arrival: None, told_at: now.mono, began_at: now.wall };
        self.open.insert(attempt, bring).is_none()
    }

    /// Handles the agent's answer: it has packed, or can't.
    pub fn packed(&mut self, home: &Home, attempt: AttemptId, result: Result<Packing, String>) -> ResultStep {
        let Some(bring) = self.open.get_mut(&attempt) else { return ResultStep::default() };
        let packing = match result {
            Ok(packing) => packing,
            Err(error) => return self.finish(attempt, Whereabouts::There { error }),
        };
        bring.remarks = packing.remarks.clone();
        if packing.files == 0 {
            return self.finish(attempt, Whereabouts::Nothing);
        }
        match Arrival::begin(home, bring.whose.key(), &packing) {
            Ok(arrival) => bring.arrival = Some(arrival),
            Err(error) => return self.finish(attempt, Whereabouts::There { error: error.to_string() }),
        }
        self.request_next(home, attempt)
    }

    /// Handles a piece.
    pub fn packet(&mut self, home: &Home, attempt: AttemptId, offset: u64, bytes: &[u8]) -> ResultStep {
        let arrival = self.open.get_mut(&attempt).and_then(|bring| bring.arrival.as_mut());
        let Some(arrival) = arrival.filter(|arrival| arrival.to.len() == offset) else { return ResultStep::default() };
        if bytes.is_empty() {
            let error = "the server has lost what it had packed".to_owned();
            return self.finish(attempt, Whereabouts::There { error });
        }
        match arrival.to.write_all(bytes) {
            Ok(()) => {
                failpoint("dispatcher-packet-taken");
                self.request_next(home, attempt)
            }
            Err(error) => {
                let error = format!("{}: {error}", arrival.path.display());
                // A part of an archive would only use up room.
                let _ = std::fs::remove_file(&arrival.path);
                self.finish(attempt, Whereabouts::There { error })
            }
        }
    }

    fn request_next(&mut self, home: &Home, attempt: AttemptId) -> ResultStep {
        let Some(bring) = self.open.get_mut(&attempt) else { return ResultStep::default() };
        let Some(arrival) = &mut bring.arrival else { return ResultStep::default() };
        if arrival.to.len() < arrival.size {
            return ResultStep { ask: arrival.asks(attempt), ..ResultStep::default() };
        }
        if arrival.to.digest() != arrival.digest || arrival.to.len() > arrival.size {
            if !arrival.again && arrival.restart().is_ok() {
                return ResultStep { ask: arrival.asks(attempt), ..ResultStep::default() };
            }
            return self.finish(attempt, Whereabouts::There { error: "it came damaged".to_owned() });
        }
        let key = bring.whose.key();
        let to = home.fetched_file(key.task, key.index);
        let (from, home, done) = (arrival.path.clone(), home.clone(), self.settling.clone());
        let file = arrival.to.inner().try_clone();
        std::thread::spawn(move || {
            let settled = file.and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&from, &to));
            let settled = settled.map_err(|error| format!("{}: {error}", to.display()));
            let settled = settled.and_then(|()| home.settle(&home.fetched()).map_err(|error| error.to_string()));
            if done.send((attempt, settled)).is_ok() {
                // Connecting wakes the loop, which waits for descriptors and checks the outcomes in each round.
                crate::dispatch::client::start::wake_loop(&home);
            }
        });
        ResultStep::default()
    }

    /// Ends the fetches whose archives are on the disk.
    pub fn settled(&mut self) -> Vec<(Route, ResultStep)> {
        let mut all = Vec::new();
        while let Ok((attempt, result)) = self.settled.try_recv() {
            let Some(Bring { whose, arrival: Some(arrival), .. }) = self.open.get(&attempt) else { continue };
            let (route, digest, size, files) = (whose.route(), arrival.digest, arrival.size, arrival.files);
            let lies = match result {
                Ok(()) => Whereabouts::Here { digest, size, files },
                Err(error) => Whereabouts::There { error },
            };
            failpoint("dispatcher-brought");
            all.push((route, self.finish(attempt, lies)));
        }
        all
    }

    fn finish(&mut self, attempt: AttemptId, lies: Whereabouts) -> ResultStep {
        let Some(bring) = self.open.remove(&attempt) else { return ResultStep::default() };
        let brought = Brought { lies, remarks: bring.remarks };
        let arrived = match bring.whose {
            Whose::End(report) => Arrived::End(report, brought),
            Whose::Again { route, attempt, key } => Arrived::Again(Again { route, attempt, key, brought }),
        };
        ResultStep { ask: Vec::new(), arrived: Some(arrived) }
    }

    /// Gives up a fetch that was cancelled after it began: the files stay on the server, and the end of the attempt stays as it
    /// is. An earlier cancel has ended the command.
    pub fn give_up(&mut self, attempt: AttemptId, asked_at: Timestamp) -> Option<(Route, ResultStep)> {
        let route = self.open.get(&attempt).filter(|bring| bring.began_at < asked_at)?.whose.route();
        let error = "cancelled while its files were brought home".to_owned();
        Some((route, self.finish(attempt, Whereabouts::There { error })))
    }

    /// Shifts the stored times after the wall clock was set, by milliseconds.
    pub fn clock_was_set(&mut self, by: i64) {
        self.open.values_mut().for_each(|bring| bring.began_at.0 = bring.began_at.0.saturating_add(by));
    }

    /// Forgets the fetches over a lost link: the next hello reports the ends again. Gives whether an end was being fetched, and
    /// the repeated fetches.
    pub fn forget(&mut self, route: Route) -> (bool, Vec<AttemptKey>) {
        let (lost, open): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, bring)| bring.whose.route() == route);
        self.open = open;
        let (ends, asked): (Vec<_>, Vec<_>) =
            lost.into_values().map(|bring| bring.whose).partition(|whose| matches!(whose, Whose::End(_)));
        (!ends.is_empty(), asked.iter().map(Whose::key).collect())
    }

    /// True if results are fetched over this link.
    pub fn uses(&self, route: Route) -> bool {
        self.open.values().any(|bring| bring.whose.route() == route)
    }

    /// True if nothing is being fetched.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The progress of fetches that were not reported for this long.
    pub fn due(&mut self, pause: Duration, now: Instant) -> Vec<(TaskId, u64, u64)> {
        let mut due = Vec::new();
        for bring in self.open.values_mut().filter(|bring| now.saturating_duration_since(bring.told_at) >= pause) {
            if let Some(arrival) = &bring.arrival {
                bring.told_at = now;
                due.push((bring.whose.key().task, arrival.to.len(), arrival.size));
            }
        }
        due
    }
}

impl Arrival {
    /// Continues after the part that arrived before a cut.
    fn begin(home: &Home, key: AttemptKey, packing: &Packing) -> io::Result<Self> {
        let mut path = home.fetched_file(key.task, key.index).into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        if file.metadata()?.len() > packing.size {
            file.set_len(0)?;
        }
        let mut to = Hashing::new(file.try_clone()?);
        to.take_in(&file)?;
        let asked = to.len();
        if let Err(error) = room::ask(&file, packing.size.saturating_sub(asked), RESERVE, "here") {
            let _ = std::fs::remove_file(&path);
            return Err(io::Error::other(error));
        }
        let Packing { digest, size, files, .. } = *packing;
        Ok(Self { path, to, asked, digest, size, files, again: false })
    }

    fn restart(&mut self) -> io::Result<()> {
        let file = self.to.inner().try_clone()?;
        file.set_len(0)?;
        self.to = Hashing::new(file);
        (self.asked, self.again) = (0, true);
        Ok(())
    }

    fn asks(&mut self, attempt: AttemptId) -> Vec<ToAgent> {
        let mut asks = Vec::new();
        while self.asked < self.size && self.asked < self.to.len() + AHEAD * u64::from(PIECE) {
            asks.push(ToAgent::ReadPacked { attempt, offset: self.asked, max: PIECE });
            self.asked += u64::from(PIECE);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ambient::{Ambient, System};
    use crate::model::attempt::{Cause, End, Usage};
    use crate::model::id::{Index, TaskUuid};
    use crate::protocol::agent::Ended;

    #[test]
    fn cancel_ends_a_fetch_only_if_requested_during_it() {
        let mut results = ResultFetches::default();
        let attempt = AttemptId { task: TaskUuid::new(), index: Index(0), number: 1 };
        let key = AttemptKey { task: TaskId(1), index: Index(0), number: 1 };
        let now = System.now();
        let end = End {
            cause: Cause::Exited { code: 0 },
            started_at: Some(now.wall),
            ended_at: now.wall,
            usage: Usage::default(),
            out_len: 0,
            err_len: 0,
            cut: None,
            without: Vec::new(),
        };
        let report =
            ReportedEnd { route: Route::Here, attempt, key, ended: Ended { end, out: None, err: None }, outputs: None };
        assert!(results.give_up(attempt, now.wall).is_none(), "nothing is on its way");
        assert!(results.begin(Whose::End(report.clone()), now));
        assert!(!results.begin(Whose::End(report.clone()), now), "it is asked for once");
        // This cancel has ended the command; the files are fetched all the same.
        assert!(results.give_up(attempt, Timestamp(now.wall.0 - 1000)).is_none());
        let (route, next) = results.give_up(attempt, Timestamp(now.wall.0 + 1000)).unwrap();
        let Some(Arrived::End(own, brought)) = next.arrived else { panic!("its own end stands") };
        assert_eq!((route, own), (Route::Here, report));
        assert!(matches!(brought.lies, Whereabouts::There { error } if error.contains("cancelled")));
        assert!(results.is_empty());
    }
}
