//! Bringing home what tasks made: packed by the agent once the process is gone, then read piece by piece into the
//! home's spool, before the state says that the task has ended.

use super::collect::Known;
use super::links::Route;
use crate::archive::{AHEAD, Hashing, PIECE};
use crate::model::failpoint::failpoint;
use crate::model::files::Digest;
use crate::model::id::{AttemptId, TaskId};
use crate::protocol::agent::{Ended, Event, Packing, ToAgent};
use crate::store::Home;
use crate::store::files::Whereabouts;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes after which they are put on the disk: the loop waits for little at a time.
const SYNC: u64 = 8 << 20;

/// What is on its way home.
#[derive(Debug, Default)]
pub struct Bringing {
    open: HashMap<AttemptId, Bring>,
    /// Brought home, or not; the end is about to be taken in.
    done: HashMap<AttemptId, Brought>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Brought {
    pub lies: Whereabouts,
    pub remarks: Vec<String>,
}

#[derive(Debug)]
struct Bring {
    route: Route,
    known: Known,
    ended: Ended,
    remarks: Vec<String>,
    /// None while the agent packs.
    arrival: Option<Arrival>,
    told_at: Instant,
}

#[derive(Debug)]
struct Arrival {
    path: PathBuf,
    to: Hashing<File>,
    synced: u64,
    asked: u64,
    digest: Digest,
    size: u64,
    files: u64,
    /// It came damaged once.
    again: bool,
}

/// What follows from an agent's word.
#[derive(Debug, Default)]
pub struct Next {
    pub ask: Vec<ToAgent>,
    pub whole: Option<Event>,
}

impl Bringing {
    /// What an ended attempt brought, if that is known.
    pub fn brought(&self, attempt: AttemptId) -> Option<&Brought> {
        self.done.get(&attempt)
    }

    /// The end is taken in.
    pub fn close(&mut self, attempt: AttemptId) {
        self.done.remove(&attempt);
    }

    /// The agent is to be asked to pack; false if it was asked already.
    pub fn begin(&mut self, route: Route, known: Known, attempt: AttemptId, ended: Ended) -> bool {
        if self.open.contains_key(&attempt) {
            return false;
        }
        let bring = Bring { route, known, ended, remarks: Vec::new(), arrival: None, told_at: Instant::now() };
        self.open.insert(attempt, bring).is_none()
    }

    /// The agent has packed, or can't.
    pub fn packed(&mut self, home: &Home, attempt: AttemptId, result: Result<Packing, String>) -> Next {
        let Some(bring) = self.open.get_mut(&attempt) else { return Next::default() };
        let packing = match result {
            Ok(packing) => packing,
            Err(error) => return self.finish(attempt, Whereabouts::There { error }),
        };
        bring.remarks = packing.remarks.clone();
        if packing.files == 0 {
            return self.finish(attempt, Whereabouts::Nothing);
        }
        match Arrival::begin(home, bring.known, &packing) {
            Ok(arrival) => bring.arrival = Some(arrival),
            Err(error) => return self.finish(attempt, Whereabouts::There { error: error.to_string() }),
        }
        self.go_on(home, attempt)
    }

    /// A piece has come.
    pub fn packet(&mut self, home: &Home, attempt: AttemptId, offset: u64, bytes: &[u8]) -> Next {
        let arrival = self.open.get_mut(&attempt).and_then(|bring| bring.arrival.as_mut());
        let Some(arrival) = arrival.filter(|arrival| arrival.to.len() == offset) else { return Next::default() };
        if bytes.is_empty() {
            let error = "the server has lost what it had packed".to_owned();
            return self.finish(attempt, Whereabouts::There { error });
        }
        match arrival.take(bytes) {
            Ok(()) => {
                failpoint("dispatcher-packet-taken");
                self.go_on(home, attempt)
            }
            Err(error) => {
                let error = format!("{}: {error}", arrival.path.display());
                // What is there of it would only take room.
                let _ = std::fs::remove_file(&arrival.path);
                self.finish(attempt, Whereabouts::There { error })
            }
        }
    }

    fn go_on(&mut self, home: &Home, attempt: AttemptId) -> Next {
        let Some(bring) = self.open.get_mut(&attempt) else { return Next::default() };
        let Some(arrival) = &mut bring.arrival else { return Next::default() };
        if arrival.to.len() < arrival.size {
            return Next { ask: arrival.asks(attempt), whole: None };
        }
        if arrival.to.digest() != arrival.digest || arrival.to.len() > arrival.size {
            if !arrival.again && arrival.restart().is_ok() {
                return Next { ask: arrival.asks(attempt), whole: None };
            }
            return self.finish(attempt, Whereabouts::There { error: "it came damaged".to_owned() });
        }
        let to = home.fetched_file(bring.known.task, bring.known.index);
        let placed = arrival.to.inner().sync_all().and_then(|()| std::fs::rename(&arrival.path, &to));
        let placed = placed.map_err(|error| format!("{}: {error}", to.display()));
        let settled = placed.and_then(|()| home.settle(&home.fetched()).map_err(|error| error.to_string()));
        let (digest, size, files) = (arrival.digest, arrival.size, arrival.files);
        match settled {
            Ok(()) => {
                failpoint("dispatcher-brought");
                self.finish(attempt, Whereabouts::Here { digest, size, files })
            }
            Err(error) => self.finish(attempt, Whereabouts::There { error }),
        }
    }

    fn finish(&mut self, attempt: AttemptId, lies: Whereabouts) -> Next {
        let Some(bring) = self.open.remove(&attempt) else { return Next::default() };
        self.done.insert(attempt, Brought { lies, remarks: bring.remarks });
        Next { ask: Vec::new(), whole: Some(Event::Ended { attempt, ended: bring.ended }) }
    }

    /// The link is lost: the next hello tells the ends again.
    pub fn forget(&mut self, route: Route) {
        self.open.retain(|_, bring| bring.route != route);
    }

    /// Nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How far those are of which nothing was told for so long.
    pub fn due(&mut self, pause: Duration) -> Vec<(TaskId, u64, u64)> {
        let mut due = Vec::new();
        for bring in self.open.values_mut().filter(|bring| bring.told_at.elapsed() >= pause) {
            if let Some(arrival) = &bring.arrival {
                bring.told_at = Instant::now();
                due.push((bring.known.task, arrival.to.len(), arrival.size));
            }
        }
        due
    }
}

impl Arrival {
    /// Goes on behind what came before a cut.
    fn begin(home: &Home, known: Known, packing: &Packing) -> io::Result<Self> {
        let mut path = home.fetched_file(known.task, known.index).into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        if file.metadata()?.len() > packing.size {
            file.set_len(0)?;
        }
        let mut to = Hashing::new(file.try_clone()?);
        to.take_in(&file)?;
        let (asked, synced) = (to.len(), to.len());
        let Packing { digest, size, files, .. } = *packing;
        Ok(Self { path, to, synced, asked, digest, size, files, again: false })
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        if self.to.len() >= self.synced + SYNC {
            self.to.inner().sync_data()?;
            self.synced = self.to.len();
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        let file = self.to.inner().try_clone()?;
        file.set_len(0)?;
        self.to = Hashing::new(file);
        (self.synced, self.asked, self.again) = (0, 0, true);
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
