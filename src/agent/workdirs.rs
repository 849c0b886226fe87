//! Working directories of attempts with files that were sent: made before the attempt begins, packed after it, then removed.
//!
//! `work/ATTEMPT/root` is the task's directory, `sent` a second name of the archive that it was made of, `packed` the results for the home.

use super::last_use::touch;
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
use crate::model::filesystem::remove_tree;
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

/// Where archives and working directories lie in a home's spool.
#[derive(Debug, Clone)]
pub struct SpoolDirs {
    pub bundles: PathBuf,
    pub workdirs: PathBuf,
}

impl SpoolDirs {
    /// Makes them in a home's spool.
    pub fn make(spool: &Path) -> io::Result<Self> {
        let dirs = Self { bundles: spool.join("bundles"), workdirs: spool.join("work") };
        for dir in [&dirs.bundles, &dirs.workdirs] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(dirs)
    }

    /// The directory of an attempt.
    pub fn of(&self, attempt: AttemptId) -> PathBuf {
        self.workdirs.join(attempt.to_string())
    }
}

/// The working directories, and requests for their results.
#[derive(Debug, Default)]
pub struct Workdirs {
    known: HashMap<AttemptId, Workdir>,
    /// Pieces of packed results that the home has requested.
    reads: VecDeque<(AttemptId, u64, u32)>,
}

#[derive(Debug)]
struct Workdir {
    /// A job of the worker is at it.
    busy: bool,
    /// False: it is removed as soon as that job is done.
    wanted: bool,
    /// Where the attempt is to run, once it is made.
    directory: Option<Text>,
    /// Stops the packing that the worker is at.
    stop: Arc<AtomicBool>,
}

impl Workdir {
    fn new(busy: bool, wanted: bool) -> Self {
        Self { busy, wanted, directory: None, stop: Arc::default() }
    }
}

impl Workdirs {
    /// The directory that was made for an attempt.
    pub fn directory_of(&self, attempt: AttemptId) -> Option<Text> {
        self.known.get(&attempt)?.directory.clone()
    }
}

impl Agent {
    /// Keeps the directories of attempts that are still known, and removes the others that earlier agents left.
    pub fn recover_workdirs(&mut self) {
        for entry in std::fs::read_dir(&self.dirs.workdirs).into_iter().flatten().flatten() {
            let Some(attempt) = entry.file_name().to_str().and_then(|name| name.parse::<AttemptId>().ok()) else {
                continue;
            };
            if self.attempts.get(attempt).is_some() {
                self.workdirs.known.insert(attempt, Workdir::new(false, true));
            } else {
                self.workdirs.known.insert(attempt, Workdir::new(true, false));
                self.worker.enqueue(Job::Clear { attempt });
            }
        }
    }

    /// Is the first attempt of a lane's queue ready to begin? If not, its archive or directory is requested.
    pub fn is_staged(&mut self, id: LaneId) -> bool {
        loop {
            let Some((attempt, sent)) = self.lanes.get(&id).and_then(super::lanes::AgentLane::first_sent) else {
                return true;
            };
            if let Some(workdir) = self.workdirs.known.get_mut(&attempt) {
                workdir.wanted = true;
                return workdir.directory.is_some();
            }
            match self.have_bundle(&sent) {
                Ok(true) => {
                    self.workdirs.known.insert(attempt, Workdir::new(true, true));
                    self.worker.enqueue(Job::Make { attempt, sent });
                    return false;
                }
                Ok(false) => return false,
                Err(error) => self.refuse(id, &[attempt], &Refusal::Files { error }),
            }
        }
    }

    /// Removes an attempt's directory, now or when the worker is done with it.
    pub fn drop_workdir(&mut self, attempt: AttemptId) {
        let Some(workdir) = self.workdirs.known.get_mut(&attempt) else { return };
        (workdir.wanted, workdir.directory) = (false, None);
        workdir.stop.store(true, Ordering::Relaxed);
        if !std::mem::replace(&mut workdir.busy, true) {
            self.workdirs.reads.retain(|(of, ..)| *of != attempt);
            self.worker.enqueue(Job::Clear { attempt });
        }
    }

    /// Packs the results of an attempt.
    pub fn pack(&mut self, attempt: AttemptId, launch: Launch) {
        let workdir = Workdir::new(false, true);
        let workdir = self.workdirs.known.entry(attempt).or_insert(workdir);
        if !std::mem::replace(&mut workdir.busy, true) {
            workdir.stop = Arc::default();
            self.worker.enqueue(Job::Pack { attempt, launch: Box::new(launch), stop: Arc::clone(&workdir.stop) });
        }
    }

    /// Stops the packing of an attempt, if it is under way; its directory stays.
    pub fn stop_packing(&self, attempt: AttemptId) {
        if let Some(workdir) = self.workdirs.known.get(&attempt) {
            workdir.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Handles a job that the worker has done.
    pub fn handle_done(&mut self, done: Done) {
        let attempt = match done {
            Done::Made { attempt, .. } | Done::Packed { attempt, .. } => attempt,
            Done::Verified { bundle, result } => return self.bundle_verified(bundle, result),
            Done::Cleared { attempt } => return self.workdir_cleared(attempt),
        };
        let Some(workdir) = self.workdirs.known.get_mut(&attempt) else { return };
        workdir.busy = false;
        if !workdir.wanted {
            return self.drop_workdir(attempt);
        }
        match done {
            Done::Made { result: Ok(directory), .. } => {
                failpoint("agent-work-made");
                workdir.directory = Some(directory);
                if let Some(lane) = self.attempts.get(attempt).map(|a| a.lane) {
                    self.feed(lane);
                }
            }
            Done::Made { result: Err(error), .. } => {
                if let Some(lane) = self.attempts.get(attempt).map(|a| a.lane) {
                    self.refuse(lane, &[attempt], &Refusal::Files { error });
                    self.feed(lane);
                }
            }
            Done::Packed { result, .. } => {
                failpoint("agent-packed");
                self.send(&FromAgent::Packed { attempt, result });
            }
            Done::Verified { .. } | Done::Cleared { .. } => {}
        }
    }

    /// A directory is removed. The same attempt may have been started again meanwhile, and waited for that.
    fn workdir_cleared(&mut self, attempt: AttemptId) {
        self.workdirs.known.remove(&attempt);
        if let Some(lane) = self.attempts.get(attempt).map(|a| a.lane) {
            self.feed(lane);
        }
    }

    /// Requests a piece of packed results; it is sent when nothing else waits for the link.
    pub fn read_packed(&mut self, attempt: AttemptId, offset: u64, max: u32) {
        if self.workdirs.reads.len() < 64 * AHEAD as usize {
            self.workdirs.reads.push_back((attempt, offset, max));
        }
    }

    /// Is there a piece to be sent, and the link free?
    pub fn has_packet(&self) -> bool {
        !self.workdirs.reads.is_empty() && self.outbox.is_empty()
    }

    /// Sends one piece.
    pub fn send_packet(&mut self) {
        if !self.outbox.is_empty() {
            return;
        }
        let Some((attempt, offset, max)) = self.workdirs.reads.pop_front() else { return };
        let file = File::open(self.dirs.of(attempt).join("packed"));
        // Without bytes the home has it packed again.
        let bytes = file.and_then(|file| read_at(&file, offset, u64::from(max.min(8 << 20)))).unwrap_or_default();
        self.send(&FromAgent::Packet { attempt, offset, bytes });
        failpoint("agent-packet-sent");
    }
}

/// Makes the directory of an attempt out of the archive that was sent. Gives the directory to run in.
pub fn make(dirs: &SpoolDirs, attempt: AttemptId, sent: &Sent) -> Result<Text, String> {
    let dir = dirs.of(attempt);
    let root = dir.join("root");
    let made = || -> Result<PathBuf, unpack::UnpackError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error| unpack::UnpackError::Write { path, error }
        };
        // An earlier agent may have died in the middle of it.
        clear(dirs, attempt);
        DirBuilder::new().mode(0o700).create(&dir).map_err(failed(&dir))?;
        let bundle = dirs.bundles.join(sent.bundle.to_string());
        let own = dir.join("sent");
        // Copies where the file system has no hard links, or too many.
        std::fs::hard_link(&bundle, &own)
            .or_else(|_| std::fs::copy(&bundle, &own).map(drop))
            .map_err(failed(&bundle))?;
        let archive = File::open(&own).map_err(failed(&own))?;
        // Its last use is now.
        let _ = OpenOptions::new().append(true).open(&own).map(|file| touch(&file));
        DirBuilder::new().mode(0o755).create(&root).map_err(failed(&root))?;
        let into = Root::open(&root).map_err(failed(&root))?;
        // Receiving keeps the reserve free; unpacking may take a quarter of it.
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
            clear(dirs, attempt);
            Err(format!("{}: {error}", dirs.workdirs.display()))
        }
    }
}

/// Removes an attempt's directory, whatever the task made of it.
pub fn clear(dirs: &SpoolDirs, attempt: AttemptId) {
    let _ = remove_tree(&dirs.of(attempt));
}
