//! A home's directory on a server: `SPOOL/HOME_ID/` with `lock`, `incarnation`, `epoch`, `tombstones`, `runs/N/`.
//! Nothing here survives by fsync alone: after a power cut the boot id is another one, and every start of before is refused.

use super::AgentError;
use super::journal::{self, Header};
use super::process::{self, myself};
use crate::model::attempt::ProcessId;
use crate::model::id::{AttemptId, BootId, Epoch, HomeId, LaneId};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a new agent waits for the one before it to leave.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// After this it asks it to: an agent whose link died half-open would stay for hours.
const LOCK_ASK: Duration = Duration::from_secs(3);

/// Names a run's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// The open and locked spool of one home.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    home: HomeId,
    boot: BootId,
    /// Held for as long as this agent lives.
    _lock: File,
    /// The highest that this host has seen from the home.
    pub epoch: Epoch,
    tombstones: HashSet<AttemptId>,
    tombstones_file: File,
    next_run: u64,
}

impl Spool {
    /// Makes the directories, waits for the agent before us, and stores incarnation and epoch if they are newer. An older
    /// incarnation is a home that was restored elsewhere since: it has no say here any more.
    pub fn open(
        root: &Path,
        home: HomeId,
        (incarnation, epoch): (u64, Epoch),
        boot: BootId,
    ) -> Result<Self, AgentError> {
        let dir = root.join(home.to_string());
        let runs = dir.join("runs");
        DirBuilder::new().recursive(true).mode(0o700).create(&runs).map_err(unusable(&runs))?;
        let seen = || {
            let numbers =
                read_number(&dir, "incarnation").and_then(|first| Ok((first, Epoch(read_number(&dir, "epoch")?))));
            numbers.map_err(unusable(&dir))
        };
        let older = || {
            let words = "this home was restored from a backup since, and that one goes on: this one is refused";
            AgentError::Unfit(words.to_owned())
        };
        let stored = seen()?;
        if incarnation < stored.0 {
            // Without a wait for the agent of the newer one, which may stay for long.
            return Err(older());
        }
        let lock = take_lock(&dir, (incarnation, epoch) >= stored)?;
        let stored = seen()?;
        if incarnation < stored.0 {
            return Err(older());
        }
        let highest = if incarnation > stored.0 { epoch } else { stored.1.max(epoch) };
        // The epoch first: a new incarnation with an old epoch would only be asked to raise it.
        let epoch = format!("{:020}\n", highest.0);
        if incarnation != stored.0 {
            write_atomically(&dir, "epoch", epoch.as_bytes()).map_err(unusable(&dir))?;
            write_atomically(&dir, "incarnation", incarnation.to_string().as_bytes()).map_err(unusable(&dir))?;
        } else if highest != stored.1 {
            // This need not outlast a power cut: what was sent under an older one names another boot.
            let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
            let written = options.open(dir.join("epoch")).and_then(|file| write_over(&file, &epoch));
            written.map_err(unusable(&dir))?;
        }
        let (tombstones, tombstones_file) = read_tombstones(&dir, &boot).map_err(unusable(&dir))?;
        let mut spool = Self { dir, home, boot, _lock: lock, epoch: highest, tombstones, tombstones_file, next_run: 1 };
        spool.next_run = spool.runs()?.last().map_or(1, |id| id.0 + 1);
        Ok(spool)
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The runs that are there, the oldest first.
    pub fn runs(&self) -> Result<Vec<RunId>, AgentError> {
        let dir = self.dir.join("runs");
        // Of those that can't be seen now, what runs would be taken for never begun.
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
            Ok(file)
        };
        made().map(|file| (id, file)).inspect_err(|_| drop(fs::remove_dir_all(&dir)))
    }

    /// Was it cancelled before it began?
    pub fn has_tombstone(&self, attempt: AttemptId) -> bool {
        self.tombstones.contains(&attempt)
    }

    /// Refuses this attempt from now on, durably.
    pub fn bury(&mut self, attempt: AttemptId) -> io::Result<()> {
        if self.tombstones.contains(&attempt) {
            return Ok(());
        }
        self.tombstones_file.write_all(format!("{attempt}\n").as_bytes())?;
        self.tombstones_file.sync_data()?;
        self.tombstones.insert(attempt);
        Ok(())
    }
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> AgentError {
    let path = path.to_owned();
    move |error| AgentError::Unfit(why_unusable(&path, &error))
}

/// Why this of a spool can't be used, and what to do on its host.
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

/// 0 where none is noted.
fn read_number(dir: &Path, name: &str) -> io::Result<u64> {
    Ok(read_if_there(&dir.join(name))?.trim().parse().unwrap_or(0))
}

/// Empty where there is none.
fn read_if_there(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// One agent at a time. `may_ask`: we serve a dispatcher that is not older than the spool has seen.
fn take_lock(dir: &Path, may_ask: bool) -> Result<File, AgentError> {
    let path = dir.join("lock");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let file = options.open(&path).map_err(unusable(&path))?;
    let began = Instant::now();
    let mut asked = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(unusable(&path)(error)),
            Err(TryLockError::WouldBlock) if began.elapsed() > LOCK_WAIT => {
                let who = fs::read_to_string(&path).unwrap_or_default();
                let who = who.split(' ').next().unwrap_or_default().to_owned();
                return Err(AgentError::Unfit(format!(
                    "another agent of this home (process {who}) holds {} and does not leave",
                    path.display()
                )));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if may_ask && !asked && began.elapsed() > LOCK_ASK {
            asked = true;
            let text = fs::read_to_string(&path).unwrap_or_default();
            let mut words = text.split_ascii_whitespace().map(str::parse::<u64>);
            if let (Some(Ok(pid)), Some(Ok(start_time))) = (words.next(), words.next()) {
                let pid = i32::try_from(pid).unwrap_or(0);
                process::signal(&ProcessId { pid, start_time }, rustix::process::Signal::TERM);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let me = myself();
    write_over(&file, &format!("{:<32}\n", format!("{} {}", me.pid, me.start_time))).map_err(unusable(&path))?;
    Ok(file)
}

/// The first line is the boot id: starts of before a reboot are refused anyhow, so their tombstones may go.
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

/// A file appears whole or not at all, also after a power cut.
pub fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(new, dir.join(name))
}

/// Writes a text of a fixed length into a file, in place. Where one is cut off, or replaced by another, a file system may wait
/// for the disk, and somebody waits for us.
fn write_over(file: &File, text: &str) -> io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spool_that_can_not_be_written_is_told_with_its_path_and_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let lock = home.path().join("lock");
        let said = |kind: io::ErrorKind| why_unusable(&lock, &kind.into());
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.contains(&format!("the spool {}", lock.display())), "{denied}");
        assert!(denied.contains(&format!("`chmod -R u+rwX {}`", home.path().display())), "{denied}");
        assert!(said(io::ErrorKind::ReadOnlyFilesystem).contains("mount"));
    }
}
