//! Waits for the locks of a spool: its own, which one agent has at a time, and those of its runs' journals.

use super::AgentError;
use super::process::{self, myself};
use super::spool::{unusable, write_over};
use crate::model::attempt::ProcessId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a new agent waits for the one before it to leave.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// After this it sends it TERM: an agent with a half-open link would stay for hours.
const LOCK_ASK: Duration = Duration::from_secs(3);

/// Takes the lock of a home's spool. `may_ask`: we serve a dispatcher that is not older than the spool has seen, and may ask another
/// agent to leave.
pub fn take_lock(dir: &Path, may_ask: bool) -> Result<File, AgentError> {
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

/// Waits until no process holds the journal's lock. False: one still does.
pub fn wait_until_unlocked(journal: &Path, patience: Duration) -> bool {
    let file = match File::open(journal) {
        Ok(file) => file,
        // Where it can't be opened, a process may hold it.
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let began = Instant::now();
    while file.try_lock().is_err() {
        if began.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
