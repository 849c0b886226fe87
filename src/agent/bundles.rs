//! What tasks are sent with, on this server: each content once, asked for piece by piece, kept as long as there is room.
//!
//! `bundles/DIGEST` is whole; `bundles/DIGEST.part` is on its way, and goes on where it is after a cut.
//! One that is in use has a second name in an attempt's directory, so its links say that it must stay.

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
use std::time::{Duration, SystemTime};

/// Unused for so long it goes.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// All together may take this part of the disk.
const SHARE: u64 = 10;

/// Those that are on their way.
#[derive(Debug)]
pub struct Bundles {
    dir: PathBuf,
    coming: HashMap<Digest, Coming>,
}

#[derive(Debug)]
struct Coming {
    file: File,
    size: u64,
    have: u64,
    asked: u64,
    /// All is here and is being looked at.
    settling: bool,
    /// It came damaged once.
    again: bool,
}

impl Bundles {
    /// Those in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, coming: HashMap::new() }
    }

    fn whole(&self, bundle: Digest) -> PathBuf {
        self.dir.join(bundle.to_string())
    }
}

impl Agent {
    /// Is it here? If not, it is on its way from now on. The words say why it can't come.
    pub fn have_bundle(&mut self, sent: &Sent) -> Result<bool, String> {
        let whole = self.bundles.whole(sent.bundle);
        if self.bundles.coming.contains_key(&sent.bundle) {
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
        let coming = Coming { file, size: sent.size, have, asked: have, settling: false, again: false };
        self.bundles.coming.insert(sent.bundle, coming);
        self.ask_for(sent.bundle);
        Ok(false)
    }

    /// Asks for what may be on its way at the same time; looks at the whole once it is here.
    fn ask_for(&mut self, bundle: Digest) {
        let Some(coming) = self.bundles.coming.get_mut(&bundle) else { return };
        if coming.have >= coming.size {
            if !std::mem::replace(&mut coming.settling, true) {
                self.worker.ask(Job::Settle { bundle });
            }
            return;
        }
        let mut needs = Vec::new();
        while coming.asked < coming.size && coming.asked < coming.have + AHEAD * u64::from(PIECE) {
            needs.push(FromAgent::Need { bundle, offset: coming.asked, max: PIECE });
            coming.asked += u64::from(PIECE);
        }
        for need in needs {
            self.send(&need);
        }
    }

    /// Takes a piece.
    pub fn take_piece(&mut self, bundle: Digest, offset: u64, bytes: &[u8]) {
        let Some(coming) = self.bundles.coming.get_mut(&bundle) else { return };
        if offset != coming.have || coming.settling {
            return;
        }
        if bytes.is_empty() {
            return self.no_bundle(bundle, "it is shorter in its home than it was");
        }
        let written = coming.file.write_all(bytes);
        coming.have += bytes.len() as u64;
        match written {
            Ok(()) => {
                failpoint("agent-piece-taken");
                self.ask_for(bundle);
            }
            Err(error) => {
                // What is there of it would only take room.
                let _ = std::fs::remove_file(part(&self.bundles.whole(bundle)));
                let dir = self.bundles.dir.display().to_string();
                self.no_bundle(bundle, &format!("{dir}: {error}"));
            }
        }
    }

    /// The worker has looked at it.
    pub fn bundle_settled(&mut self, bundle: Digest, result: Result<(), String>) {
        let Some(coming) = self.bundles.coming.get_mut(&bundle) else { return };
        match result {
            Ok(()) => {
                self.bundles.coming.remove(&bundle);
                self.keep_bounds();
                self.feed_all();
            }
            Err(_) if !coming.again && coming.file.set_len(0).is_ok() => {
                (coming.have, coming.asked) = (0, 0);
                (coming.settling, coming.again) = (false, true);
                self.ask_for(bundle);
            }
            Err(error) => self.no_bundle(bundle, &error),
        }
    }

    /// It does not come: who waits for it is refused.
    pub fn no_bundle(&mut self, bundle: Digest, error: &str) {
        self.bundles.coming.remove(&bundle);
        let why = Refusal::Files { error: error.to_owned() };
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in lanes {
            let waiting = self.lanes.get(&id).map(|lane| lane.waiting_for(bundle)).unwrap_or_default();
            self.refuse(id, &waiting, &why);
            self.feed(id);
        }
    }

    /// Takes attempts out of a lane's queue, for this reason.
    pub fn refuse(&mut self, id: LaneId, attempts: &[AttemptId], why: &Refusal) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for attempt in lane.drop_waiting(|a| attempts.contains(&a)) {
            self.book.remove(attempt);
            self.drop_work(attempt);
            self.events.push(Event::Refused { attempt, why: why.clone() });
        }
    }

    /// Room for so many bytes more; the oldest unused ones go for it.
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

    /// What was not used for long goes, and the oldest of what is too much.
    pub fn keep_bounds(&self) {
        let Ok((_, total)) = space(&self.bundles.dir) else { return };
        let all = std::fs::read_dir(&self.bundles.dir).into_iter().flatten().flatten();
        let mut taken: u64 = all.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
        for (path, len) in self.unused() {
            let old = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            let old = old.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > KEPT);
            if (old || taken > total / SHARE) && std::fs::remove_file(path).is_ok() {
                taken -= len;
            }
        }
    }

    /// Archives (and parts of them) that nobody needs now, with their sizes, the longest unused first.
    fn unused(&self) -> Vec<(PathBuf, u64)> {
        let needed: HashSet<Digest> = self.lanes.values().flat_map(super::lanes::AgentLane::bundles).collect();
        let mut unused = Vec::new();
        for entry in std::fs::read_dir(&self.bundles.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(bundle) = name.strip_suffix(".part").unwrap_or(&name).parse::<Digest>() else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() == 1 && !needed.contains(&bundle) && !self.bundles.coming.contains_key(&bundle) {
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

/// Free for us, and all of it.
fn space(dir: &Path) -> Result<(u64, u64), String> {
    room::space(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Looks whether a whole archive is what its name says, and gives it its name.
pub fn settle(dir: &Path, bundle: Digest) -> Result<(), String> {
    let whole = dir.join(bundle.to_string());
    let part = part(&whole);
    let settled = || -> io::Result<bool> {
        let file = File::open(&part)?;
        if archive::digest(&file)? != bundle {
            return Ok(false);
        }
        // A name that survives a power cut must not stand for bytes that did not.
        file.sync_all()?;
        std::fs::rename(&part, &whole)?;
        Ok(true)
    };
    match settled() {
        Ok(true) => Ok(()),
        Ok(false) => Err("what was sent came damaged".to_owned()),
        Err(error) => Err(format!("{}: {error}", part.display())),
    }
}
