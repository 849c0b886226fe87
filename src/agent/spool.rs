//! A home's directory on a server: `SPOOL/HOME_ID/` with `lock`, `incarnation`, `epoch`, `tombstones`, `runs/N/`.
//! After a power cut the boot id is another one, and every earlier start is refused: most files need no fsync.

use super::AgentError;
use super::cancel_note::CancelNote;
use super::journal::{self, Header};
use super::spool_lock::take_lock;
use crate::model::id::{AttemptId, BootId, Epoch, HomeId, LaneId};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The number of a run, and the name of its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// Which restore of a home it is, and which of its dispatchers. A later one overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    pub incarnation: u64,
    pub epoch: Epoch,
}

/// The open and locked spool of one home.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    home: HomeId,
    boot: BootId,
    /// Held for as long as this agent runs.
    _lock: File,
    /// The highest epoch of the home that this host has seen.
    pub epoch: Epoch,
    tombstones: HashSet<AttemptId>,
    tombstones_file: File,
    next_run: u64,
}

impl Spool {
    /// Makes the directories, waits for the agent before us, and stores incarnation and epoch if they are newer. An older
    /// incarnation is refused: the home was restored from a backup since.
    pub fn open(root: &Path, home: HomeId, asking: Generation, boot: BootId) -> Result<Self, AgentError> {
        let dir = root.join(home.to_string());
        let runs = dir.join("runs");
        DirBuilder::new().recursive(true).mode(0o700).create(&runs).map_err(unusable(&runs))?;
        let seen = || read_generation(&dir).map_err(unusable(&dir));
        let older = || {
            let words = "this home was restored from a backup since, and that one goes on: this one is refused";
            AgentError::Unfit(words.to_owned())
        };
        let stored = seen()?;
        if asking.incarnation < stored.incarnation {
            // Before the lock: the agent of the newer incarnation may hold it for long.
            return Err(older());
        }
        let lock = take_lock(&dir, asking >= stored)?;
        let stored = seen()?;
        if asking.incarnation < stored.incarnation {
            return Err(older());
        }
        let restored = asking.incarnation != stored.incarnation;
        let highest = if restored { asking.epoch } else { stored.epoch.max(asking.epoch) };
        // The epoch first: a new incarnation with an old epoch would only be asked to raise it.
        let epoch = format!("{:020}\n", highest.0);
        if restored {
            write_atomically(&dir, "epoch", epoch.as_bytes()).map_err(unusable(&dir))?;
            write_atomically(&dir, "incarnation", asking.incarnation.to_string().as_bytes()).map_err(unusable(&dir))?;
        } else if highest != stored.epoch {
            // This need not outlast a power cut: starts under an older epoch name another boot.
            let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
            let written = options.open(dir.join("epoch")).and_then(|file| write_over(&file, &epoch));
            written.map_err(unusable(&dir))?;
        }
        let (tombstones, tombstones_file) = read_tombstones(&dir, &boot).map_err(unusable(&dir))?;
        let mut spool = Self { dir, home, boot, _lock: lock, epoch: highest, tombstones, tombstones_file, next_run: 1 };
        spool.next_run = spool.runs()?.last().map_or(1, |id| id.0 + 1);
        Ok(spool)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its runs, the oldest first.
    pub fn runs(&self) -> Result<Vec<RunId>, AgentError> {
        let dir = self.dir.join("runs");
        // The running attempts of an unreadable run would be taken for never begun.
        let entries = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unusable(&dir))?;
        let mut ids: Vec<RunId> =
            entries.iter().filter_map(|e| e.file_name().to_str()?.parse().ok().map(RunId)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The directory of a run.
    pub fn run_dir(&self, id: RunId) -> PathBuf {
        self.dir.join("runs").join(id.0.to_string())
    }

    /// A new run with an empty journal, locked through the descriptor that is returned.
    pub fn make_run(&mut self, lane: LaneId) -> io::Result<(RunId, File)> {
        let id = RunId(self.next_run);
        self.next_run += 1;
        let dir = self.run_dir(id);
        DirBuilder::new().mode(0o700).create(&dir)?;
        let made = || {
            let options = OpenOptions::new().append(true).create_new(true).mode(0o600).clone();
            let mut file = options.open(dir.join("journal"))?;
            file.lock()?;
            let header = Header { journal: journal::VERSION, boot: self.boot.clone(), home: self.home, lane };
            let mut text = Vec::new();
            journal::line(&header, &mut text);
            file.write_all(&text)?;
            CancelNote::prepare(&dir)?;
            Ok(file)
        };
        made().map(|file| (id, file)).inspect_err(|_| drop(fs::remove_dir_all(&dir)))
    }

    /// Was it cancelled before it began?
    pub fn has_tombstone(&self, attempt: AttemptId) -> bool {
        self.tombstones.contains(&attempt)
    }

    /// Refuses this attempt from now on, durably.
    pub fn add_tombstone(&mut self, attempt: AttemptId) -> io::Result<()> {
        if self.tombstones.contains(&attempt) {
            return Ok(());
        }
        self.tombstones_file.write_all(format!("{attempt}\n").as_bytes())?;
        self.tombstones_file.sync_data()?;
        self.tombstones.insert(attempt);
        Ok(())
    }
}

/// For `map_err`: this path of the spool can't be used.
pub fn unusable(path: &Path) -> impl FnOnce(io::Error) -> AgentError {
    let path = path.to_owned();
    move |error| AgentError::Unfit(why_unusable(&path, &error))
}

/// Why this path of a spool can't be used, and what to do on its host.
pub fn why_unusable(path: &Path, error: &io::Error) -> String {
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("; `chmod -R u+rwX {}` lets it be written", dir.display()),
        io::ErrorKind::ReadOnlyFilesystem => "; mount its file system to be written".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space there".to_owned(),
        _ => String::new(),
    };
    format!("the spool {} can't be used: {error}{remedy}", path.display())
}

fn read_generation(dir: &Path) -> io::Result<Generation> {
    let incarnation = read_number(dir, "incarnation")?;
    Ok(Generation { incarnation, epoch: Epoch(read_number(dir, "epoch")?) })
}

/// The number in a file; 0 if there is none.
fn read_number(dir: &Path, name: &str) -> io::Result<u64> {
    Ok(read_if_there(&dir.join(name))?.trim().parse().unwrap_or(0))
}

/// The text of a file; empty if there is none.
fn read_if_there(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The first line is the boot id: starts from before a reboot are refused anyway, so their tombstones are dropped.
fn read_tombstones(dir: &Path, boot: &BootId) -> io::Result<(HashSet<AttemptId>, File)> {
    let path = dir.join("tombstones");
    let text = read_if_there(&path)?;
    let mut lines = text.lines();
    let mut known = HashSet::new();
    if lines.next() == Some(&boot.0) {
        known.extend(lines.filter_map(|line| line.parse::<AttemptId>().ok()));
    } else {
        write_atomically(dir, "tombstones", format!("{boot}\n").as_bytes())?;
    }
    let mut file = OpenOptions::new().append(true).open(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        // A torn last line must not swallow the next.
        file.write_all(b"\n")?;
    }
    Ok((known, file))
}

/// Writes a file that appears complete or not at all, also after a power cut.
pub fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(new, dir.join(name))
}

/// Writes a text of a fixed length into a file, in place. To truncate or replace a file may wait for the disk, and a caller waits for
/// us.
pub fn write_over(file: &File, text: &str) -> io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_spool_is_reported_with_its_path_and_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let lock = home.path().join("lock");
        let said = |kind: io::ErrorKind| why_unusable(&lock, &kind.into());
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.contains(&format!("the spool {}", lock.display())), "{denied}");
        assert!(denied.contains(&format!("`chmod -R u+rwX {}`", home.path().display())), "{denied}");
        assert!(said(io::ErrorKind::ReadOnlyFilesystem).contains("mount"));
    }
}
