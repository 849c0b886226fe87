//! The archives that tasks are sent with: each content once on this server, requested piece by piece, kept as long as there is room.
//!
//! `bundles/DIGEST` is complete; `bundles/DIGEST.part` is incoming, and continues where it is after a lost link.
//! An archive in use has a second name in an attempt's directory: its link count says that it must stay.

use super::last_use::is_stale;
use super::serve::Agent;
use super::worker::Job;
use crate::archive::room::{self, RESERVE};
use crate::archive::{self, AHEAD, PIECE};
use crate::model::failpoint::failpoint;
use crate::model::files::{Digest, Sent};
use crate::model::id::{AttemptId, LaneId};
use crate::protocol::agent::{Event, FromAgent, Refusal};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// All archives together may take this part (a tenth) of the disk.
const SHARE: u64 = 10;

/// The archives that are incoming.
#[derive(Debug)]
pub struct Bundles {
    dir: PathBuf,
    incoming: HashMap<Digest, IncomingBundle>,
}

#[derive(Debug)]
struct IncomingBundle {
    file: File,
    size: u64,
    have: u64,
    asked: u64,
    /// It is complete, and its digest is being verified.
    verifying: bool,
    /// It arrived damaged once, and was requested again.
    retried: bool,
}

impl Bundles {
    /// The archives of this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, incoming: HashMap::new() }
    }

    fn whole(&self, bundle: Digest) -> PathBuf {
        self.dir.join(bundle.to_string())
    }
}

impl Agent {
    /// Is the archive here? If not, it is requested. An error says why it can't be received.
    pub fn have_bundle(&mut self, sent: &Sent) -> Result<bool, String> {
        let whole = self.bundles.whole(sent.bundle);
        if self.bundles.incoming.contains_key(&sent.bundle) {
            return Ok(false);
        }
        if whole.exists() {
            return Ok(true);
        }
        let part = part(&whole);
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&part);
        let file = opened.map_err(|error| format!("{}: {error}", part.display()))?;
        let mut have = file.metadata().map_or(0, |meta| meta.len());
        if have > sent.size {
            let _ = file.set_len(0);
            have = 0;
        }
        if let Err(error) = self.make_room(sent.size - have) {
            let _ = std::fs::remove_file(part);
            return Err(error);
        }
        let incoming = IncomingBundle { file, size: sent.size, have, asked: have, verifying: false, retried: false };
        self.bundles.incoming.insert(sent.bundle, incoming);
        self.request_pieces(sent.bundle);
        Ok(false)
    }

    /// Requests as many pieces as may be under way at once; has the archive verified once it is complete.
    fn request_pieces(&mut self, bundle: Digest) {
        let Some(incoming) = self.bundles.incoming.get_mut(&bundle) else { return };
        if incoming.have >= incoming.size {
            if !std::mem::replace(&mut incoming.verifying, true) {
                self.worker.enqueue(Job::Verify { bundle });
            }
            return;
        }
        let mut needs = Vec::new();
        while incoming.asked < incoming.size && incoming.asked < incoming.have + AHEAD * u64::from(PIECE) {
            needs.push(FromAgent::Need { bundle, offset: incoming.asked, max: PIECE });
            incoming.asked += u64::from(PIECE);
        }
        for need in needs {
            self.send(&need);
        }
    }

    /// Appends a piece that arrived.
    pub fn take_piece(&mut self, bundle: Digest, offset: u64, bytes: &[u8]) {
        let Some(incoming) = self.bundles.incoming.get_mut(&bundle) else { return };
        if offset != incoming.have || incoming.verifying {
            return;
        }
        if bytes.is_empty() {
            return self.no_bundle(bundle, "it is shorter in its home than it was");
        }
        let written = incoming.file.write_all(bytes);
        incoming.have += bytes.len() as u64;
        match written {
            Ok(()) => {
                failpoint("agent-piece-taken");
                self.request_pieces(bundle);
            }
            Err(error) => {
                // An incomplete archive would only take room.
                let _ = std::fs::remove_file(part(&self.bundles.whole(bundle)));
                let dir = self.bundles.dir.display().to_string();
                self.no_bundle(bundle, &format!("{dir}: {error}"));
            }
        }
    }

    /// Handles the verification of an archive.
    pub fn bundle_verified(&mut self, bundle: Digest, result: Result<(), String>) {
        let Some(incoming) = self.bundles.incoming.get_mut(&bundle) else { return };
        match result {
            Ok(()) => {
                self.bundles.incoming.remove(&bundle);
                self.enforce_disk_limits();
                self.feed_all();
            }
            Err(_) if !incoming.retried && incoming.file.set_len(0).is_ok() => {
                (incoming.have, incoming.asked) = (0, 0);
                (incoming.verifying, incoming.retried) = (false, true);
                self.request_pieces(bundle);
            }
            Err(error) => self.no_bundle(bundle, &error),
        }
    }

    /// The archive can't be received: attempts that wait for it are refused.
    pub fn no_bundle(&mut self, bundle: Digest, error: &str) {
        self.bundles.incoming.remove(&bundle);
        let why = Refusal::Files { error: error.to_owned() };
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in lanes {
            let waiting = self.lanes.get(&id).map(|lane| lane.waiting_for(bundle)).unwrap_or_default();
            self.refuse(id, &waiting, &why);
            self.feed(id);
        }
    }

    /// Refuses attempts of a lane's queue, for this reason.
    pub fn refuse(&mut self, id: LaneId, attempts: &[AttemptId], why: &Refusal) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for attempt in lane.drop_waiting(|a| attempts.contains(&a)) {
            self.attempts.remove(attempt);
            self.drop_workdir(attempt);
            self.events.push(Event::Refused { attempt, why: why.clone() });
        }
    }

    /// Makes room for so many bytes; the archives that are unused for longest are removed for it.
    fn make_room(&self, bytes: u64) -> Result<(), String> {
        let wanted = bytes.saturating_add(RESERVE);
        let (mut free, _) = space(&self.bundles.dir)?;
        for (path, len) in self.unused() {
            if free >= wanted {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                free += len;
            }
        }
        room::ask_in(&self.bundles.dir, bytes, RESERVE).map_err(|error| error.to_string())
    }

    /// Removes archives that were not used for a month, and the oldest while all of them take too much.
    pub fn enforce_disk_limits(&self) {
        let Ok((_, total)) = space(&self.bundles.dir) else { return };
        let all = std::fs::read_dir(&self.bundles.dir).into_iter().flatten().flatten();
        let mut taken: u64 = all.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
        for (path, len) in self.unused() {
            let stale = std::fs::metadata(&path).is_ok_and(|meta| is_stale(&meta, self.ambient.now().wall));
            if (stale || taken > total / SHARE) && std::fs::remove_file(path).is_ok() {
                taken -= len;
            }
        }
    }

    /// Archives (also incomplete ones) that nothing needs now, with their sizes, the longest unused first.
    fn unused(&self) -> Vec<(PathBuf, u64)> {
        let needed: HashSet<Digest> = self.lanes.values().flat_map(super::lanes::AgentLane::bundles).collect();
        let mut unused = Vec::new();
        for entry in std::fs::read_dir(&self.bundles.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(bundle) = name.strip_suffix(".part").unwrap_or(&name).parse::<Digest>() else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() == 1 && !needed.contains(&bundle) && !self.bundles.incoming.contains_key(&bundle) {
                unused.push((meta.mtime(), entry.path(), meta.len()));
            }
        }
        unused.sort();
        unused.into_iter().map(|(_, path, len)| (path, len)).collect()
    }
}

fn part(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// The free bytes of a file system, and all of them.
fn space(dir: &Path) -> Result<(u64, u64), String> {
    room::space(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Verifies that a complete archive has the digest of its name, and gives it that name.
pub fn verify(dir: &Path, bundle: Digest) -> Result<(), String> {
    let whole = dir.join(bundle.to_string());
    let part = part(&whole);
    let verified = || -> io::Result<bool> {
        let file = File::open(&part)?;
        if archive::digest(&file)? != bundle {
            return Ok(false);
        }
        // A name that survives a power cut must not stand for bytes that did not.
        file.sync_all()?;
        std::fs::rename(&part, &whole)?;
        Ok(true)
    };
    match verified() {
        Ok(true) => Ok(()),
        Ok(false) => Err("what was sent came damaged".to_owned()),
        Err(error) => Err(format!("{}: {error}", part.display())),
    }
}
