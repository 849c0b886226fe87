//! Directories of attempts that run on what was sent: made before the attempt begins, packed after it, then removed.
//!
//! `work/ATTEMPT/root` is the task's own, `sent` a second name of the archive that it was made of, `packed` what goes home.

use super::output::read_at;
use super::serve::Agent;
use super::worker::{Done, Job};
use crate::archive::AHEAD;
use crate::archive::room::{self, RESERVE};
use crate::archive::root::Root;
use crate::archive::unpack;
use crate::model::command::Text;
use crate::model::failpoint::failpoint;
use crate::model::files::Sent;
use crate::model::id::{AttemptId, LaneId};
use crate::model::task::Launch;
use crate::protocol::agent::{FromAgent, Refusal};
use std::collections::{HashMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where archives and directories lie.
#[derive(Debug, Clone)]
pub struct Places {
    pub bundles: PathBuf,
    pub works: PathBuf,
}

impl Places {
    /// Made in a home's spool.
    pub fn make(spool: &Path) -> io::Result<Self> {
        let places = Self { bundles: spool.join("bundles"), works: spool.join("work") };
        for dir in [&places.bundles, &places.works] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(places)
    }

    /// The directory of an attempt.
    pub fn of(&self, attempt: AttemptId) -> PathBuf {
        self.works.join(attempt.to_string())
    }
}

/// The directories that are there.
#[derive(Debug, Default)]
pub struct Works {
    known: HashMap<AttemptId, Work>,
    /// Pieces of what was packed that the home has asked for.
    reads: VecDeque<(AttemptId, u64, u32)>,
}

#[derive(Debug)]
struct Work {
    /// The worker has it.
    busy: bool,
    /// False: it goes as soon as the worker is done with it.
    wanted: bool,
    /// Where the attempt is to run, once it is made.
    directory: Option<Text>,
    /// Ends the packing that the worker is at.
    stop: Arc<AtomicBool>,
}

impl Work {
    fn new(busy: bool, wanted: bool) -> Self {
        Self { busy, wanted, directory: None, stop: Arc::default() }
    }
}

impl Works {
    /// The directory that was made for an attempt.
    pub fn directory_of(&self, attempt: AttemptId) -> Option<Text> {
        self.known.get(&attempt)?.directory.clone()
    }
}

impl Agent {
    /// Directories of earlier agents: those of attempts that are still known stay.
    pub fn recover_works(&mut self) {
        for entry in std::fs::read_dir(&self.places.works).into_iter().flatten().flatten() {
            let Some(attempt) = entry.file_name().to_str().and_then(|name| name.parse::<AttemptId>().ok()) else {
                continue;
            };
            if self.book.get(attempt).is_some() {
                self.works.known.insert(attempt, Work::new(false, true));
            } else {
                self.works.known.insert(attempt, Work::new(true, false));
                self.worker.ask(Job::Clear { attempt });
            }
        }
    }

    /// Is the first of a lane's queue ready to begin? If not, what it needs is on its way.
    pub fn is_staged(&mut self, id: LaneId) -> bool {
        loop {
            let Some((attempt, sent)) = self.lanes.get(&id).and_then(super::lanes::AgentLane::first_sent) else {
                return true;
            };
            if let Some(work) = self.works.known.get_mut(&attempt) {
                work.wanted = true;
                return work.directory.is_some();
            }
            match self.have_bundle(&sent) {
                Ok(true) => {
                    self.works.known.insert(attempt, Work::new(true, true));
                    self.worker.ask(Job::Make { attempt, sent });
                    return false;
                }
                Ok(false) => return false,
                Err(error) => self.refuse(id, &[attempt], &Refusal::Files { error }),
            }
        }
    }

    /// An attempt's directory is not needed any more.
    pub fn drop_work(&mut self, attempt: AttemptId) {
        let Some(work) = self.works.known.get_mut(&attempt) else { return };
        (work.wanted, work.directory) = (false, None);
        work.stop.store(true, Ordering::Relaxed);
        if !std::mem::replace(&mut work.busy, true) {
            self.works.reads.retain(|(of, ..)| *of != attempt);
            self.worker.ask(Job::Clear { attempt });
        }
    }

    /// Packs what an attempt brings back.
    pub fn pack(&mut self, attempt: AttemptId, launch: Launch) {
        let work = Work::new(false, true);
        let work = self.works.known.entry(attempt).or_insert(work);
        if !std::mem::replace(&mut work.busy, true) {
            work.stop = Arc::default();
            self.worker.ask(Job::Pack { attempt, launch: Box::new(launch), stop: Arc::clone(&work.stop) });
        }
    }

    /// Ends the packing of an attempt, if it is under way; what it made stays.
    pub fn stop_packing(&self, attempt: AttemptId) {
        if let Some(work) = self.works.known.get(&attempt) {
            work.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Takes note of what the worker has done.
    pub fn take_done(&mut self, done: Done) {
        let attempt = match done {
            Done::Made { attempt, .. } | Done::Packed { attempt, .. } => attempt,
            Done::Settled { bundle, result } => return self.bundle_settled(bundle, result),
            Done::Cleared { attempt } => return self.work_cleared(attempt),
        };
        let Some(work) = self.works.known.get_mut(&attempt) else { return };
        work.busy = false;
        if !work.wanted {
            return self.drop_work(attempt);
        }
        match done {
            Done::Made { result: Ok(directory), .. } => {
                failpoint("agent-work-made");
                work.directory = Some(directory);
                if let Some(lane) = self.book.get(attempt).map(|a| a.lane) {
                    self.feed(lane);
                }
            }
            Done::Made { result: Err(error), .. } => {
                if let Some(lane) = self.book.get(attempt).map(|a| a.lane) {
                    self.refuse(lane, &[attempt], &Refusal::Files { error });
                    self.feed(lane);
                }
            }
            Done::Packed { result, .. } => {
                failpoint("agent-packed");
                self.send(&FromAgent::Packed { attempt, result });
            }
            Done::Settled { .. } | Done::Cleared { .. } => {}
        }
    }

    /// A directory is gone; the same attempt may have come back meanwhile, and waited for that.
    fn work_cleared(&mut self, attempt: AttemptId) {
        self.works.known.remove(&attempt);
        if let Some(lane) = self.book.get(attempt).map(|a| a.lane) {
            self.feed(lane);
        }
    }

    /// The home wants a piece of what was packed; it is sent when nothing else waits for the link.
    pub fn read_packed(&mut self, attempt: AttemptId, offset: u64, max: u32) {
        if self.works.reads.len() < 64 * AHEAD as usize {
            self.works.reads.push_back((attempt, offset, max));
        }
    }

    /// Is there a piece to be sent, and the link free?
    pub fn has_packet(&self) -> bool {
        !self.works.reads.is_empty() && self.outbox.is_empty()
    }

    /// Sends one piece.
    pub fn send_packet(&mut self) {
        if !self.outbox.is_empty() {
            return;
        }
        let Some((attempt, offset, max)) = self.works.reads.pop_front() else { return };
        let file = File::open(self.places.of(attempt).join("packed"));
        // Nothing is an answer too: the home asks for it to be packed anew.
        let bytes = file.and_then(|file| read_at(&file, offset, u64::from(max.min(8 << 20)))).unwrap_or_default();
        self.send(&FromAgent::Packet { attempt, offset, bytes });
        failpoint("agent-packet-sent");
    }
}

/// Makes the directory of an attempt out of what was sent. Gives where it is to run.
pub fn make(places: &Places, attempt: AttemptId, sent: &Sent) -> Result<Text, String> {
    let dir = places.of(attempt);
    let root = dir.join("root");
    let made = || -> Result<PathBuf, unpack::UnpackError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error| unpack::UnpackError::Write { path, error }
        };
        // An earlier agent may have died in the middle of it.
        clear(places, attempt);
        DirBuilder::new().mode(0o700).create(&dir).map_err(failed(&dir))?;
        let bundle = places.bundles.join(sent.bundle.to_string());
        let own = dir.join("sent");
        // A file system without hard links, or with too many.
        std::fs::hard_link(&bundle, &own)
            .or_else(|_| std::fs::copy(&bundle, &own).map(drop))
            .map_err(failed(&bundle))?;
        let archive = File::open(&own).map_err(failed(&own))?;
        // Used now: for whoever cleans up.
        let _ = OpenOptions::new().append(true).open(&own).and_then(|f| f.set_modified(std::time::SystemTime::now()));
        DirBuilder::new().mode(0o755).create(&root).map_err(failed(&root))?;
        let into = Root::open(&root).map_err(failed(&root))?;
        // What was received keeps the reserve free; of that a quarter may go for what it is unpacked to.
        room::ask_in(&root, unpack::room_for(&archive)?, RESERVE / 4)?;
        unpack::unpack(&archive, &into)?;
        if sent.below.is_empty() {
            return Ok(root);
        }
        into.dir(&sent.below, 0o755).map_err(failed(&root))?;
        Ok(root.join(sent.below.as_path()))
    };
    match made() {
        Ok(path) => Ok(Text::from(path.into_os_string())),
        Err(error) => {
            clear(places, attempt);
            Err(format!("{}: {error}", places.works.display()))
        }
    }
}

/// Removes an attempt's directory, whatever the task made of it.
pub fn clear(places: &Places, attempt: AttemptId) {
    let _ = remove(&places.of(attempt));
}

/// Removes a directory, if it is there, with whatever tasks made in it.
pub fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(_) if dir.exists() => {
            // Directories that their owner may not write to: as `chmod -R u+rwX` would.
            open_up(dir);
            std::fs::remove_dir_all(dir)
        }
        _ => Ok(()),
    }
}

fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
